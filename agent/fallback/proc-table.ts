// Programs that started and ended between two looks into /proc, where the kernel tells nobody.

export type Proc = {
  pids(): number[];
  stat(pid: number): { ppid: number; comm: string; kernelThread: boolean; startTicks: number } | undefined;
  uid(pid: number): number | undefined;
  argv(pid: number): string[] | undefined;
  link(pid: number, name: string): string | undefined;
  threads(pid: number): number;
};

export type Difference =
  /** `sinceStart`: it began with this program; otherwise it changed to it since the last look. */
  | { readonly kind: "exec"; readonly pid: number; readonly startTicks: number; readonly sinceStart: boolean }
  | { readonly kind: "fork"; readonly pid: number; readonly startTicks: number }
  | { readonly kind: "exit"; readonly pid: number };

type Seen = { startTicks: number; exe: string | undefined; argv: number | bigint; looks: number };

/** Looks for which a new process is looked at each time: it may still become what it was started for. */
const YOUNG_LOOKS = 10;
/** An older process is looked at in one of so many. */
const OLD_EVERY = 8;

/** Remembers who ran. */
export class ProcTable {
  readonly #proc: Proc;
  readonly #seen = new Map<number, Seen>();
  #look = 0;

  constructor(proc: Proc) {
    this.#proc = proc;
    for (const pid of proc.pids()) this.#remember(pid, YOUNG_LOOKS);
  }

  /** What changed since the last look. */
  compare(): Difference[] {
    this.#look++;
    const found: Difference[] = [];
    const running = this.#proc.pids();
    const alive = new Set(running);
    for (const pid of this.#seen.keys()) {
      if (alive.has(pid)) continue;
      this.#seen.delete(pid);
      found.push({ kind: "exit", pid });
    }
    for (const pid of running) found.push(...this.#compareOne(pid));
    return found;
  }

  #compareOne(pid: number): Difference[] {
    const before = this.#seen.get(pid);
    if (!before) return this.#arrived(pid);
    if (before.looks++ >= YOUNG_LOOKS && pid % OLD_EVERY !== this.#look % OLD_EVERY) return [];
    const stat = this.#proc.stat(pid);
    if (!stat) return []; // It ends just now: the next look says so.
    const { startTicks } = stat;
    if (startTicks !== before.startTicks) {
      this.#seen.delete(pid);
      return [{ kind: "exit", pid }, ...this.#arrived(pid)];
    }
    const { exe, argv } = this.#image(pid, stat.comm);
    // What ends has neither any more.
    if (exe === undefined || (exe === before.exe && argv === before.argv)) return [];
    const program = exe !== before.exe;
    Object.assign(before, { exe, argv });
    // A program may write over its own arguments, as servers do to tell what they are at.
    return program ? [{ kind: "exec", pid, startTicks, sinceStart: false }] : [];
  }

  #arrived(pid: number): Difference[] {
    const now = this.#remember(pid, 0);
    if (!now) return [];
    const parent = this.#seen.get(this.#proc.stat(pid)?.ppid ?? 0);
    const copy = now.exe === undefined || (parent !== undefined && parent.exe === now.exe && parent.argv === now.argv);
    if (copy) return [{ kind: "fork", pid, startTicks: now.startTicks }];
    return [{ kind: "exec", pid, startTicks: now.startTicks, sinceStart: true }];
  }

  #remember(pid: number, looks: number): Seen | undefined {
    const stat = this.#proc.stat(pid);
    if (!stat) return undefined;
    const image = stat.kernelThread ? { exe: undefined, argv: 0 } : this.#image(pid, stat.comm);
    const seen = { startTicks: stat.startTicks, ...image, looks };
    this.#seen.set(pid, seen);
    return seen;
  }

  /** `exe` is undefined for a process that ends, and for a kernel thread. */
  #image(pid: number, comm: string): { exe: string | undefined; argv: number | bigint } {
    const argv = this.#proc.argv(pid);
    // A program that is replaced or removed while it runs is still the same. The link of another user's process may not be ours to read.
    const exe = this.#proc.link(pid, "exe")?.replace(/ \(deleted\)$/, "") ?? (argv && comm);
    return { exe, argv: Bun.hash(argv?.join("\0") ?? "") };
  }
}
