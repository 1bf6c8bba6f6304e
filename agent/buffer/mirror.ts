// A copy, in the memory of the machine, of the events that are in the memory of this process only: kill -9 loses none of them. Power loss does.
// Lines of text: a header, `@ms` for when the sensor last had nothing more to read, `+seq class event` for what came, `-first last` for what is safe or
// gone, `!plain hit result` for what was lost so far, `^count next ms` for what was shed and not told by events before number `next`.

import {
  closeSync,
  constants,
  existsSync,
  fchmodSync,
  fstatSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { tryParse } from "@picket/protocol/try-parse";
import * as z from "zod";
import { runsOf } from "./store.ts";
import type { Pending } from "./tail.ts";

const TMPFS_MAGIC = 0x01021994;
/** Written anew when this much of it, and twice what it must hold, is history. */
const HISTORY_BYTES = 256 << 10;
/** So wide that no time outgrows it: it is written in place. */
const SEEN_DIGITS = 16;

const Header = z.object({
  v: z.literal(1),
  boot: z.string(),
  epoch: z.string(),
  device: z.string(),
  next: z.int().nonnegative(),
});
type Header = z.infer<typeof Header>;
export type Lost = { readonly plain: number; readonly hit: number; readonly result: number };
/** Events that were let go before they had a number, and that no event tells of yet; `timeMs`: when the last of them was. */
export type Shed = { readonly count: number; readonly timeMs: number };
export const noneShed: Shed = { count: 0, timeMs: 0 };

/** Where the mirror of a buffer can lie: the first of these folders that is in memory. Undefined when none is. */
export function mirrorPath(name: string, folders: readonly string[] = ["/run/picket", "/dev/shm"]): string | undefined {
  const folder = folders.find((path) => {
    try {
      return statfsSync(path).type === TMPFS_MAGIC;
    } catch {
      return false;
    }
  });
  return folder && join(folder, name);
}

export class Mirror implements Disposable {
  readonly #path: string;
  readonly #epoch: Omit<Header, "v" | "next">;
  #fd: number | undefined;
  #bytes = 0;
  /** Where in the file the time stands at which the sensor was last heard of, and that time, milliseconds since boot. */
  #seenAt = 0;
  #seenMs = 0;
  #shed = noneShed;

  /** Begins a new file. Throws what the folder refuses. */
  constructor(path: string, epoch: { readonly boot: string; readonly epoch: string; readonly device: string }) {
    this.#path = path;
    this.#epoch = { boot: epoch.boot, epoch: epoch.epoch, device: epoch.device };
    this.#rewrite(0, { plain: 0, hit: 0, result: 0 }, noneShed, []);
  }

  /** Notes a turn: what came and stays in memory, and which numbers need not be remembered any more. Throws when there is no room: dispose it then. */
  note(turn: {
    readonly came: readonly Pending[];
    readonly gone: readonly number[];
    readonly next: number;
    readonly lost: Lost;
    readonly shed: Shed;
    readonly all: Iterable<Pending>;
    readonly allBytes: number;
  }): void {
    const { shed } = turn;
    const isShedNews = shed.count !== this.#shed.count;
    this.#shed = shed;
    if (this.#bytes > 2 * turn.allBytes + HISTORY_BYTES) {
      this.#rewrite(turn.next, turn.lost, shed, turn.all);
      return;
    }
    const { plain, hit, result } = turn.lost;
    const lines = turn.came.map(lineOf);
    for (const [first, last] of runsOf(turn.gone.toSorted((a, b) => a - b))) lines.push(`-${first} ${last}\n`);
    if (plain + hit + result > 0) lines.push(`!${plain} ${hit} ${result}\n`);
    // After the events: of those that tell of it, none may be cut off that this line counts as told.
    if (isShedNews) lines.push(shedLine(shed, turn.next));
    this.#write(lines.join(""));
  }

  /** Whether a turn with nothing else in it has to be noted for this. */
  isNews(shed: Shed): boolean {
    return shed.count !== this.#shed.count;
  }

  /** Notes in place, without growing the file, when the sensor had nothing more to read, milliseconds since boot. Throws what the file refuses. */
  saw(atMs: number): void {
    this.#seenMs = Math.max(0, Math.floor(atMs));
    writeSync(this.#fd!, seenLine(this.#seenMs), this.#seenAt);
  }

  /** Nothing needs it any more. */
  [Symbol.dispose](): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    rmSync(this.#path, { force: true });
    rmSync(`${this.#path}.new`, { force: true });
  }

  #rewrite(next: number, lost: Lost, shed: Shed, all: Iterable<Pending>): void {
    const fresh = `${this.#path}.new`;
    rmSync(fresh, { force: true });
    // Other users may write to the folder: what they put there is never opened.
    const fd = openSync(fresh, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW, 0o600);
    fchmodSync(fd, 0o600);
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = fd;
    this.#bytes = 0;
    const header: Header = { v: 1, ...this.#epoch, next };
    const { plain, hit, result } = lost;
    const first = `${JSON.stringify(header)}\n`;
    const rest = `!${plain} ${hit} ${result}\n${[...all].map(lineOf).join("")}${shedLine(shed, next)}`;
    this.#seenAt = Buffer.byteLength(first);
    this.#write(first + seenLine(this.#seenMs) + rest);
    renameSync(fresh, this.#path);
  }

  #write(text: string): void {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd!, bytes, at, bytes.length - at, this.#bytes + at);
    this.#bytes += bytes.length;
  }
}

const lineOf = (pending: Pending) => `+${pending.seq} ${pending.class} ${pending.event}\n`;

const seenLine = (ms: number) => `@${String(ms).padStart(SEEN_DIGITS, "0")}\n`;
const shedLine = ({ count, timeMs }: Shed, next: number) => `^${count} ${next} ${timeMs}\n`;

export type Recovered = Omit<Header, "v"> & {
  readonly lost: Lost;
  readonly events: readonly Pending[];
  /** What no event numbered below `since` tells of. */
  readonly shed: Shed & { readonly since: number };
  /** When the sensor last had nothing more to read, milliseconds since boot; 0: nobody said. */
  readonly seenMs: number;
};

/** What a run that was killed left in memory since the machine booted, or undefined. A line that was being written when it ended is left out. */
export function recover(path: string, boot: string): Recovered | undefined {
  if (!existsSync(path)) return undefined;
  let text: string;
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const stat = fstatSync(fd);
      // Somebody else's file is not to become this device's events.
      if (!stat.isFile() || stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0) return undefined;
      text = readFileSync(fd, "utf8");
    } finally {
      closeSync(fd);
    }
  } catch {
    return undefined;
  }
  const lines = text.slice(0, text.lastIndexOf("\n") + 1).split("\n");
  const header = tryParse(Header, parseJson(lines.shift() ?? ""));
  if (!header.success || header.data.boot !== boot) return undefined;
  const events = new Map<number, Pending>();
  let { next } = header.data;
  let lost: Lost = { plain: 0, hit: 0, result: 0 };
  let shed = { ...noneShed, since: 0 };
  let seenMs = 0;
  for (const line of lines) {
    const came = /^\+(\d+) ([012]) /.exec(line);
    const [, first, last] = /^-(\d+) (\d+)$/.exec(line) ?? [];
    const [, plain, hit, result] = /^!(\d+) (\d+) (\d+)$/.exec(line) ?? [];
    const [, count, since, timeMs] = /^\^(\d+) (\d+) (\d+)$/.exec(line) ?? [];
    const [, seen] = /^@(\d+)$/.exec(line) ?? [];
    if (came) {
      const seq = Number(came[1]);
      const event = line.slice(came[0].length);
      if (parseJson(event) !== undefined) {
        events.set(seq, { seq, class: Number(came[2]), event, bytes: Buffer.byteLength(event), atMs: 0, leased: false });
        next = Math.max(next, seq + 1);
      }
    } else if (first !== undefined) {
      for (let seq = Number(first); seq <= Math.min(Number(last), next); seq++) events.delete(seq);
      next = Math.max(next, Number(last) + 1);
    } else if (plain !== undefined) lost = { plain: Number(plain), hit: Number(hit), result: Number(result) };
    else if (count !== undefined) {
      shed = { count: Number(count), since: Number(since), timeMs: Number(timeMs) };
      next = Math.max(next, shed.since);
    } else if (seen !== undefined) seenMs = Number(seen);
  }
  return { ...header.data, next, lost, shed, seenMs, events: [...events.values()] };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
