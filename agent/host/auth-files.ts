// Follows text logs as syslog daemons write them: through rotation by rename and by truncation, and over restarts.
import { closeSync, constants, fstatSync, openSync, readSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import type { LogRecord } from "./auth-lines.ts";

/** Where reading goes on. A file is the same one while it is the same inode. */
export type Position = { readonly ino: number; readonly offset: number };

/** Bytes taken at a turn: a flood waits in its file, where the next turn finds it. */
const TURN_BYTES = 256 << 10;
const MAX_LINE_BYTES = 16 << 10;

export class LogFile implements Disposable {
  readonly path: string;
  readonly #nowMs: () => number;
  #fd: number | undefined;
  #ino = 0;
  #offset = 0;
  #rest: Buffer = Buffer.alloc(0);
  #lost = 0;
  #trouble: string | undefined;
  readonly #buffer = Buffer.alloc(64 << 10);

  /** Without a position it begins at the file's end; what another file was read to does not count for this one. */
  constructor(path: string, position: Position | undefined, nowMs: () => number = Date.now) {
    this.path = path;
    this.#nowMs = nowMs;
    this.#open();
    if (this.#fd === undefined) return;
    const { size } = fstatSync(this.#fd);
    if (!position) this.#offset = size;
    // Cut short since: from its new beginning. Another file by now: its predecessor's end is read first, where it still lies.
    else if (position.ino === this.#ino) this.#offset = position.offset <= size ? position.offset : 0;
    else this.#rotatedWhileDown(position);
  }

  /** Of what has been given out; half a line is read again. */
  position(): Position | undefined {
    return this.#fd === undefined ? undefined : { ino: this.#ino, offset: this.#offset - this.#rest.length };
  }

  trouble(): string | undefined {
    return this.#trouble;
  }

  /** Lines that were too long, since the last call. */
  takeLost(): number {
    const lost = this.#lost;
    this.#lost = 0;
    return lost;
  }

  /** Every whole line since the last call, up to some hundred kilobytes. Never throws. */
  read(onRecord: (record: LogRecord) => void): void {
    try {
      if (this.#fd === undefined) this.#open();
      if (this.#fd === undefined) return;
      const { size } = fstatSync(this.#fd);
      if (size < this.#offset) this.#startOver();
      if (!this.#take(onRecord) || !this.#isReplaced()) return;
      // Renamed, and read to its end: nothing more will be written to it once its writer has the new one.
      this.#close();
      this.#open();
      this.#take(onRecord);
    } catch (error) {
      this.#trouble = `${this.path}: ${error instanceof Error ? error.message : error}`;
      this.#close();
    }
  }

  [Symbol.dispose](): void {
    this.#close();
  }

  #open(): void {
    try {
      const fd = openSync(this.path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
      const stat = fstatSync(fd);
      if (!stat.isFile()) {
        closeSync(fd);
        throw new Error("is no plain file");
      }
      this.#fd = fd;
      this.#ino = stat.ino;
      this.#startOver();
      this.#trouble = undefined;
    } catch (error) {
      this.#trouble = `${this.path}: ${error instanceof Error ? error.message : error}`;
    }
  }

  #close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
  }

  #startOver(): void {
    this.#offset = 0;
    this.#rest = Buffer.alloc(0);
  }

  /** logrotate's first older file, when it is the one that was being read. It is read to its end; then `read` finds it replaced. */
  #rotatedWhileDown({ ino, offset }: Position): void {
    try {
      const older = openSync(`${this.path}.1`, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
      const stat = fstatSync(older);
      if (stat.ino !== ino || !stat.isFile() || stat.size < offset) {
        closeSync(older);
        return;
      }
      this.#close();
      this.#fd = older;
      this.#ino = ino;
      this.#offset = offset;
    } catch {
      // Compressed or gone: what was in it is not read.
    }
  }

  #isReplaced(): boolean {
    const now = statSync(this.path, { throwIfNoEntry: false });
    return now !== undefined && now.ino !== this.#ino;
  }

  /** True when the file's end was reached. */
  #take(onRecord: (record: LogRecord) => void): boolean {
    for (let taken = 0; this.#fd !== undefined && taken < TURN_BYTES; ) {
      const count = readSync(this.#fd, this.#buffer, 0, this.#buffer.length, this.#offset);
      if (count === 0) return true;
      taken += count;
      this.#offset += count;
      this.#lines(Buffer.concat([this.#rest, this.#buffer.subarray(0, count)]), onRecord);
    }
    return false;
  }

  #lines(bytes: Buffer, onRecord: (record: LogRecord) => void): void {
    let from = 0;
    for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, from)) {
      const record = end - from > MAX_LINE_BYTES ? undefined : parseLine(bytes.toString("utf8", from, end), this.#nowMs());
      if (record) onRecord(record);
      else if (end > from) this.#lost++;
      from = end + 1;
    }
    this.#rest = Buffer.from(bytes.subarray(from));
    if (this.#rest.length <= MAX_LINE_BYTES) return;
    this.#lost++;
    // The rest of it, when it comes, has no head: it is no line, and counts once more.
    this.#rest = Buffer.alloc(0);
  }
}

const head =
  /^(?:(\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d))|([A-Z][a-z]{2}) +(\d{1,2}) (\d\d:\d\d:\d\d)) (\S+) ([^\s:[\]]{1,128})(?:\[(\d{1,10})\])?: ?(.*)$/s;

/** A line in rsyslog's own or the traditional form; undefined for anything else. The program's name is what the writer said. */
export function parseLine(line: string, nowMs: number): LogRecord | undefined {
  const [, iso, month, day, time, , program, pid, text] = head.exec(line) ?? [];
  if (program === undefined || text === undefined) return undefined;
  return {
    program: basename(program).toLowerCase(),
    pid: pid === undefined ? undefined : Number(pid),
    // The time since boot that the kernel puts in front.
    message: program === "kernel" ? text.replace(/^\[ *\d+\.\d+\] /, "") : text,
    timeMs: iso === undefined ? yearless(`${month} ${day}`, time!, nowMs) : Date.parse(iso) || nowMs,
    trusted: true,
  };
}

/** The traditional form has no year: it is the one that does not lie in the future. */
function yearless(date: string, time: string, nowMs: number): number {
  const year = new Date(nowMs).getFullYear();
  const at = Date.parse(`${date} ${year} ${time}`);
  if (Number.isNaN(at)) return nowMs;
  return at <= nowMs + 24 * 3_600_000 ? at : Date.parse(`${date} ${year - 1} ${time}`) || nowMs;
}

/** The files that hold what the journal would be asked for, of those that exist: Debian's names, then Red Hat's. */
export function logFilesOf(root = "/"): { readonly path: string; readonly takes: (program: string) => boolean }[] {
  const folder = join(root, "var/log");
  const exists = (name: string) => statSync(join(folder, name), { throwIfNoEntry: false })?.isFile() ?? false;
  const all = () => true;
  const auth = ["auth.log", "secure"].filter(exists).slice(0, 1);
  if (auth.length === 0) return [];
  const kernel = exists("kern.log") ? ["kern.log"] : [];
  const cron = ["cron.log", "cron"].filter(exists).slice(0, 1);
  // The general log holds all of them; the same line must not be told twice.
  const missing = [...(kernel.length === 0 ? ["kernel"] : []), ...(cron.length === 0 ? ["cron", "crond"] : [])];
  const general = missing.length === 0 ? [] : ["syslog", "messages"].filter(exists).slice(0, 1);
  return [
    ...[...auth, ...kernel, ...cron].map((name) => ({ path: join(folder, name), takes: all })),
    ...general.map((name) => ({ path: join(folder, name), takes: (program: string) => missing.includes(program) })),
  ];
}
