// Pages of our own program. Of Bun's 100 MB a start touches 40, in steps of 64 KiB; running then needs half of that.
import { readFileSync, readlinkSync } from "node:fs";
import { forgetPages } from "./bpf/libc.ts";

export type Range = { readonly address: number; readonly length: number };

const mapping = /^([0-9a-f]+)-([0-9a-f]+) (r--p|r-xp) \S+ \S+ \d+ +(.+)$/m;

/** Where `program` is mapped read-only and unchanged, from the text of /proc/PID/smaps (proc_pid_smaps(5)). */
export function codeRanges(smaps: string, program: string): Range[] {
  return smaps.split(/\n(?=[0-9a-f]+-)/).flatMap((part) => {
    const [, from = "", to = "", , path] = mapping.exec(part) ?? [];
    if (path !== program || !/^Anonymous:\s+0 kB$/m.test(part)) return [];
    const address = Number.parseInt(from, 16);
    return [{ address, length: Number.parseInt(to, 16) - address }];
  });
}

/** A function that takes the program's code out of this process' memory. It stays in the page cache: what is needed comes back by itself, without reading. */
export function codeForgetter(): () => void {
  let ranges: Range[] | undefined;
  return () => {
    // Not before it is needed: where everything lies is settled then. Nothing changes later what may not be written.
    ranges ??= codeRanges(readFileSync("/proc/self/smaps", "latin1"), readlinkSync("/proc/self/exe"));
    for (const { address, length } of ranges) forgetPages(address, length);
  };
}
