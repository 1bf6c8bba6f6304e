// Follows the system's journal through journalctl(1), the one program whose reading of its files is right on every version.
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { LogRecord } from "./auth-lines.ts";
import { journalFields, journalMatches, parseJournal } from "./journal-records.ts";

/** An entry in JSON is at most some 8 KiB with the fields asked for. */
const MAX_LINE_BYTES = 64 << 10;
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 5 * 60_000;
/** A child that lived this long had no trouble with its cursor. */
const HEALTHY_MS = 10_000;

export type Followed = Disposable & {
  position(): JournalPosition;
  /** What is wrong now. */
  trouble(): string | undefined;
};

/** True where a journal is kept that can be read here. */
export function hasJournal(root = "/"): boolean {
  return ["run/log/journal", "var/log/journal"].some((folder) =>
    list(join(root, folder)).some((machine) => list(join(root, folder, machine)).some((name) => name.endsWith(".journal"))),
  );
}

/** Where reading goes on: behind the entry named by `cursor`, or, while there was none, at what was written since `sinceMs`. */
export type JournalPosition = { readonly cursor?: string | undefined; readonly sinceMs: number };

/**
 * Reads on from `position`. The child ends with the returned object, and is started again when it dies: then it
 * goes on where it was. `onLost` gets entries that could not be read.
 */
export function followJournal(of: {
  readonly position: JournalPosition;
  readonly onRecord: (record: LogRecord) => void;
  readonly onLost: (count: number) => void;
  /** journalctl and what comes before its options; another in tests. */
  readonly command?: readonly string[];
}): Followed {
  const [program = "journalctl", ...first] = of.command ?? ["journalctl"];
  let { cursor, sinceMs } = of.position;
  let child: ChildProcess | undefined;
  let timer: NodeJS.Timeout | undefined;
  let retryMs = FIRST_RETRY_MS;
  let trouble: string | undefined;
  let stopped = false;

  const start = () => {
    const startedMs = performance.now();
    const from = cursor === undefined ? `--since=@${(sinceMs / 1000).toFixed(3)}` : `--after-cursor=${cursor}`;
    const fields = `--output-fields=${journalFields.join(",")}`;
    const options = ["--follow", "--quiet", "--output=json", fields, "--lines=all", from, ...journalMatches];
    // Nothing of our own environment: its messages in English, and the system's own program.
    const env = { PATH: "/usr/bin:/bin", LC_ALL: "C.UTF-8" };
    const started = spawn(program, [...first, ...options], { stdio: ["ignore", "pipe", "pipe"], cwd: "/", env });
    child = started;
    let said = "";
    started.stderr.on("data", (bytes: Buffer) => {
      said = (said + bytes.toString("utf8")).slice(0, 256);
    });
    splitLines(started.stdout, MAX_LINE_BYTES, {
      onLine: (line) => {
        const parsed = parseJournal(line);
        if (!parsed) {
          of.onLost(1);
          return;
        }
        cursor = parsed.cursor;
        trouble = undefined;
        if (!parsed.record) return;
        sinceMs = parsed.record.timeMs;
        of.onRecord(parsed.record);
      },
      onLost: of.onLost,
    });
    let ended = false;
    const onEnd = (why: string) => {
      if (ended || stopped) return;
      ended = true;
      const shortly = performance.now() - startedMs < HEALTHY_MS;
      trouble = `${program} ended: ${said.trim() || why}`;
      // A cursor it does not take would stop it every time.
      if (shortly && /cursor/i.test(said)) cursor = undefined;
      retryMs = shortly ? Math.min(MAX_RETRY_MS, retryMs * 2) : FIRST_RETRY_MS;
      timer = setTimeout(start, retryMs);
    };
    started.on("error", (error) => onEnd(error.message));
    started.on("close", (code, signal) => onEnd(signal ?? `exit code ${code}`));
  };
  start();
  return {
    position: () => ({ ...(cursor === undefined ? {} : { cursor }), sinceMs }),
    trouble: () => trouble,
    [Symbol.dispose]: () => {
      stopped = true;
      clearTimeout(timer);
      child?.kill();
    },
  };
}

/** Lines of UTF-8, each at most `max` bytes; a longer one is let go and counted. What comes after the last line end waits. */
function splitLines(
  stream: NodeJS.ReadableStream,
  max: number,
  of: { readonly onLine: (line: string) => void; readonly onLost: (count: number) => void },
): void {
  let rest: Buffer = Buffer.alloc(0);
  let skipping = false;
  stream.on("data", (bytes: Buffer) => {
    rest = rest.length === 0 ? bytes : Buffer.concat([rest, bytes]);
    let from = 0;
    for (let end = rest.indexOf(10); end >= 0; end = rest.indexOf(10, from)) {
      if (skipping) skipping = false;
      else if (end > from) of.onLine(rest.toString("utf8", from, end));
      from = end + 1;
    }
    rest = rest.subarray(from);
    if (rest.length <= max) return;
    rest = Buffer.alloc(0);
    if (!skipping) of.onLost(1);
    skipping = true;
  });
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}
