// What of a process' memory is worth a look: what no file of a package explains, most suspicious first.

export type Region = {
  readonly start: number;
  readonly end: number;
  /** As an operator reads it: "rwx anonymous", "rw- [heap]", "r-x /memfd:x (deleted)". */
  readonly what: string;
};

/** Characters of a name in `what`. */
const MAX_NAME = 64;
/** Of the kernel itself: the same in every process. */
const OF_KERNEL = new Set(["[vvar]", "[vvar_vclock]", "[vdso]", "[vsyscall]"]);
const line = /^([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])([ps]) [0-9a-f]+ [0-9a-f]+:[0-9a-f]+ (\d+) *(.*)$/;

/**
 * The regions of /proc/PID/maps (proc_pid_maps(5)) that are anonymous, of a file that is deleted or only in memory, or code that can be written: executable ones first.
 * Devices and what cannot be read are left out, and so are programs and libraries as they lie on disk.
 */
export function regionsOf(maps: string): Region[] {
  const ranked: { region: Region; rank: number }[] = [];
  for (const text of maps.split("\n")) {
    const found = line.exec(text);
    if (!found) continue;
    const [, start = "", end = "", r, w, x, , inode, name = ""] = found;
    if (r !== "r" || OF_KERNEL.has(name)) continue;
    const anonymous = inode === "0";
    const gone = name.endsWith(" (deleted)") && !name.startsWith("/dev/");
    const inMemory = name.startsWith("/memfd:") || gone || name.startsWith("/dev/zero");
    const writableCode = w === "w" && x === "x";
    if (!anonymous && !inMemory && !writableCode) continue;
    const rank = x === "x" ? 0 : inMemory ? 1 : 2;
    const what = `${r}${w}${x} ${name === "" ? "anonymous" : name.slice(0, MAX_NAME)}`;
    ranked.push({ region: { start: Number.parseInt(start, 16), end: Number.parseInt(end, 16), what }, rank });
  }
  return ranked.sort((a, b) => a.rank - b.rank).map(({ region }) => region);
}

const PRESENT = 1n << 63n;
const SWAPPED = 1n << 62n;

/** Runs of pages that hold something, by their number in `pages`: entries of /proc/PID/pagemap. */
export function filledRuns(pages: BigUint64Array): { readonly from: number; readonly to: number }[] {
  const runs: { from: number; to: number }[] = [];
  for (const [at, page] of pages.entries()) {
    if ((page & (PRESENT | SWAPPED)) === 0n) continue;
    const last = runs.at(-1);
    if (last?.to === at) last.to = at + 1;
    else runs.push({ from: at, to: at + 1 });
  }
  return runs;
}
