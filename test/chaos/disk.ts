// Small disks that can be filled up: tmpfs, one for whoever's disk is to be full.
import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export type Disk = Disposable & {
  readonly path: string;
  /** Takes all room there is. */
  fill(): void;
  free(): void;
};

/** Mounts an empty disk; disposing unmounts it, whoever still has files open there. Needs root. */
export function createDisk(path: string, sizeMb: number): Disk {
  mkdirSync(path, { recursive: true });
  const { exitCode, stderr } = Bun.spawnSync(["mount", "-t", "tmpfs", "-o", `size=${sizeMb}m,mode=700`, "picket-chaos", path]);
  if (exitCode !== 0) throw new Error(`mount ${path}: ${stderr.toString().trim()}`);
  const ballast = join(path, "ballast");
  return {
    path,
    fill: () => {
      // What writes here meanwhile takes from the same room: a little at a time, until nothing fits.
      for (let bytes = 1 << 20; bytes >= 4096; bytes /= 2) while (tryToAppend(ballast, bytes));
    },
    free: () => rmSync(ballast, { force: true }),
    [Symbol.dispose]: () => void Bun.spawnSync(["umount", "-l", path], { stderr: "ignore" }),
  };
}

function tryToAppend(path: string, bytes: number): boolean {
  const { bavail, bsize } = statfsSync(join(path, ".."));
  if (bavail * bsize < bytes) return false;
  try {
    writeFileSync(path, new Uint8Array(bytes), { flag: "a" });
    return true;
  } catch {
    return false;
  }
}
