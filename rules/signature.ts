// Whether rule files have changed, told from what stat(2) says: nothing is read.
import { readdir, stat } from "node:fs/promises";
import { extname, join } from "node:path";

const MAX_FOLDERS_DEEP = 32;
const endings = new Set([".yml", ".yaml", ".yar", ".yara"]);

/** Another text whenever a rule file among `paths`, or in folders among them, was made, changed, replaced, removed, or cannot be looked at. Never throws. */
export async function signatureOf(paths: readonly string[]): Promise<string> {
  const hash = new Bun.CryptoHasher("sha256");
  for (const path of paths) await look(path, hash, 0);
  return hash.digest("hex");
}

async function look(path: string, hash: Bun.CryptoHasher, depth: number): Promise<void> {
  try {
    const info = await stat(path, { bigint: true });
    if (!info.isDirectory()) {
      hash.update(`${path}\0${info.size}\0${info.mtimeNs}\0${info.ino}\n`);
      return;
    }
    hash.update(`${path}/\n`);
    if (depth >= MAX_FOLDERS_DEEP) return;
    const entries = await readdir(path, { withFileTypes: true });
    for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1)))
      if (entry.isDirectory() || (entry.isFile() && endings.has(extname(entry.name).toLowerCase())))
        await look(join(path, entry.name), hash, depth + 1);
  } catch (error) {
    hash.update(`${path}\0${(error as NodeJS.ErrnoException).code ?? "unreadable"}\n`);
  }
}
