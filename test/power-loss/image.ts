// File systems in files: made, and read as the next boot would find them.
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../e2e/program.ts";
import type { Disk } from "./disk.ts";

async function does(...argv: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(argv, { timeoutMs: 120_000 });
  if (code !== 0) throw new Error(`${argv.join(" ")} ended with ${code}: ${(stdout + stderr).trim().slice(-2000)}`);
  return stdout;
}

/** Makes an ext4 file system of `sizeBytes` with what is in `folder`, with the defaults of this host's mkfs. */
export async function makeImage(path: string, sizeBytes: number, folder: string): Promise<void> {
  writeFileSync(path, "");
  truncateSync(path, sizeBytes);
  await does("mkfs.ext4", "-q", "-d", folder, path);
}

/** Replays the journal of the image, as mounting it does, holds the file system to be whole, and copies it into the folder `to`. Throws with what is wrong. */
async function readImage(path: string, to: string): Promise<void> {
  // 1: it had something to replay.
  const replayed = await run(["e2fsck", "-p", "-E", "journal_only", path], { timeoutMs: 120_000 });
  if (replayed.code > 1) throw new Error(`the journal cannot be replayed: ${(replayed.stdout + replayed.stderr).trim()}`);
  const checked = await run(["e2fsck", "-p", "-f", path], { timeoutMs: 120_000 });
  if (checked.code > 1) throw new Error(`the file system is damaged: ${(checked.stdout + checked.stderr).trim()}`);
  await does("debugfs", "-R", `rdump / ${to}`, path);
}

/** Tools of e2fsprogs that are missing here, or "". */
export function whyNoImages(): string {
  const missing = ["mkfs.ext4", "e2fsck", "debugfs"].filter((name) => !Bun.which(name));
  return missing.length === 0 ? "" : `${missing.join(", ")} not installed: sudo ./install.sh --test installs it`;
}

/** What `read` makes of the files on `disk` as they would be if the power failed now and nothing were lost. Works in a folder of its own in `dir`. */
export async function readDisk<T>(disk: Disk, dir: string, read: (folder: string) => T): Promise<T> {
  const copy = mkdtempSync(join(dir, "copy-"));
  try {
    const folder = join(copy, "disk");
    mkdirSync(folder);
    disk.copy(join(copy, "image"));
    await readImage(join(copy, "image"), folder);
    return read(folder);
  } finally {
    rmSync(copy, { recursive: true, force: true });
  }
}

/** Where things lie on the disk of a site and on that of a device. */
export const stateIn = (folder: string) => join(folder, "state");
export const siteIn = (folder: string) => join(folder, "site");
