// Kernel modules of an unpacked kernel package. Nobody ran depmod on it, so what a module needs is read from the modules themselves.
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";

export type Module = { readonly name: string; readonly bytes: Uint8Array };

/** Modules may be compressed (Debian 13: xz). */
const SUFFIX = /\.ko(\.xz)?$/;

/**
 * `wanted` and all they need, in the order in which they can be inserted. Names as files have them, or `prefix*`; what this kernel does not have as a module
 * is built in or absent, and left out. `folder` is lib/modules/<release>.
 */
export function modulesFor(folder: string, wanted: readonly string[]): Module[] {
  const paths = new Map<string, string>();
  for (const path of readdirSync(folder, { recursive: true, encoding: "utf8" }))
    if (SUFFIX.test(path)) paths.set(plain(basename(path).replace(SUFFIX, "")), join(folder, path));
  const found = new Map<string, Module>();
  const add = (name: string): void => {
    const path = paths.get(name);
    if (!path || found.has(name)) return;
    const bytes = read(path);
    for (const needed of neededBy(bytes)) add(needed);
    found.set(name, { name, bytes });
  };
  for (const name of wanted.map(plain)) {
    if (!name.endsWith("*")) add(name);
    else for (const one of [...paths.keys()].filter((key) => key.startsWith(name.slice(0, -1)))) add(one);
  }
  return [...found.values()];
}

// The kernel takes both for the same letter.
const plain = (name: string) => name.replaceAll("-", "_");

function read(path: string): Uint8Array {
  if (!path.endsWith(".xz")) return readFileSync(path);
  const { exitCode, stdout, stderr } = Bun.spawnSync(["xz", "--decompress", "--stdout", path], { stdout: "pipe", stderr: "pipe" });
  if (exitCode !== 0) throw new Error(`${path} cannot be unpacked: ${stderr.toString().trim()}`);
  return stdout;
}

/** The section .modinfo holds `key=value` strings that end with a zero byte. */
function neededBy(bytes: Uint8Array): string[] {
  const text = Buffer.from(bytes).toString("latin1");
  const depends = /\0depends=([^\0]*)\0/.exec(text)?.[1] ?? "";
  const before = /\0softdep=pre: ([^\0]*?)(?: post:[^\0]*)?\0/.exec(text)?.[1] ?? "";
  return [...before.split(" ").map((name) => name.replace(/^crypto-crc32c$/, "crc32c_generic")), ...depends.split(",")]
    .filter(Boolean)
    .map(plain);
}
