// auth.login, auth.sudo and log.line, from the journal where there is one, else from the text logs.
import { readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import type { EventDraft } from "@picket/protocol/event";
import type { Capability } from "@picket/protocol/status";
import * as z from "zod";
import { LogFile, logFilesOf } from "./auth-files.ts";
import { authLines, type LogRecord } from "./auth-lines.ts";
import { followJournal, hasJournal } from "./journal.ts";

type LogSource = "auto" | "journal" | "files";

/** Of each, on average and at once. What is more is let go and counted. */
const LINES = { perS: 20, burst: 400 };
const ATTEMPTS = { perS: 100, burst: 2000 };
const READ_MS = 1000;
/** cron alone writes every hour: a log that rests for longer than a day is no longer written. */
const SILENT_MS = 25 * 3_600_000;

const Saved = z.object({
  journal: z.object({ cursor: z.string().max(1024).optional(), sinceMs: z.number() }).optional(),
  files: z.record(z.string(), z.object({ ino: z.number(), offset: z.number().nonnegative() })).default({}),
});
type Saved = z.infer<typeof Saved>;

export type Logs = Disposable & { capability(): Capability };

const fromJournal = "logins, sudo and log lines from the journal, which knows who wrote them";
const fromFiles = (paths: readonly string[]) =>
  `logins, sudo and log lines from ${paths.join(", ")}: whoever may log can write in another program's name`;
const noLog = { trouble: "neither a journal nor /var/log/auth.log is kept here", todo: "install systemd-journald or rsyslog" };

/** What `auto` would read here. */
export function checkLogs(root?: string): Capability {
  if (hasJournal(root)) return { name: "logs", level: "live", why: fromJournal };
  const paths = logFilesOf(root).map(({ path }) => path);
  if (paths.length > 0) return { name: "logs", level: "live", why: fromFiles(paths) };
  return { name: "logs", level: "off", why: noLog.trouble, todo: noLog.todo };
}

/**
 * Starts reading. `path`: where it remembers how far it has read, so that a restart repeats and skips nothing; an agent that was killed
 * repeats at most the last two seconds. Without one it begins now. Never throws.
 */
export function startLogs(of: {
  readonly source: LogSource;
  readonly path: string | undefined;
  readonly emit: (draft: EventDraft) => void;
  readonly root?: string;
  /** journalctl; another in tests. */
  readonly journalctl?: readonly string[];
  readonly everyMs?: number;
  /** Whether a user id may go by a name. */
  readonly isCalled: (uid: number, name: string) => boolean;
}): Logs {
  const source = of.source === "auto" ? (hasJournal(of.root) ? "journal" : "files") : of.source;
  const saved = load(of.path);
  const bounded = bound(of.emit);
  const lines = authLines(of.isCalled);
  const take = (record: LogRecord) => {
    for (const draft of lines(record)) bounded.emit(draft);
  };
  const reader =
    source === "journal" ? readJournal(saved, take, bounded.lost, of.journalctl) : readFiles(saved, take, bounded.lost, of.root);
  let before = JSON.stringify(reader.position());
  let written: string | undefined;
  let unsaved: string | undefined;
  const remember = (position: string) => {
    if (of.path === undefined || position === written) return;
    try {
      writeFileSync(`${of.path}.new`, position, { mode: 0o600 });
      renameSync(`${of.path}.new`, of.path);
      written = position;
      unsaved = undefined;
    } catch (error) {
      unsaved = `how far was read cannot be remembered: ${error instanceof Error ? error.message : error}`;
    }
  };
  const timer = setInterval(() => {
    reader.read();
    bounded.tell();
    // One turn late: by then the events themselves are on disk, and a kill between repeats some instead of losing them.
    remember(before);
    before = JSON.stringify(reader.position());
  }, of.everyMs ?? READ_MS);
  return {
    capability: () => {
      const trouble = reader.trouble() ?? unsaved;
      if (trouble === undefined) return { name: "logs", level: "live", why: reader.why };
      return { name: "logs", level: reader.level(), why: trouble.slice(0, 512), todo: reader.todo };
    },
    [Symbol.dispose]: () => {
      clearInterval(timer);
      reader.read();
      bounded.tell();
      remember(JSON.stringify(reader.position()));
      reader[Symbol.dispose]();
    },
  };
}

type Reader = Disposable & {
  readonly why: string;
  read(): void;
  position(): Saved;
  trouble(): string | undefined;
  level(): "degraded" | "off";
  readonly todo: string;
};

function readJournal(
  saved: Saved,
  take: (record: LogRecord) => void,
  onLost: (count: number) => void,
  command?: readonly string[],
): Reader {
  const journal = followJournal({
    position: saved.journal ?? { sinceMs: Date.now() },
    onRecord: take,
    onLost,
    ...(command ? { command } : {}),
  });
  return {
    why: fromJournal,
    read: () => {},
    position: () => ({ journal: journal.position(), files: {} }),
    trouble: journal.trouble,
    level: () => "off",
    todo: 'see why journalctl does not run, or set logs.source = "files"',
    [Symbol.dispose]: () => journal[Symbol.dispose](),
  };
}

function readFiles(saved: Saved, take: (record: LogRecord) => void, onLost: (count: number) => void, root?: string): Reader {
  const files = logFilesOf(root).map(({ path, takes }) => ({ file: new LogFile(path, saved.files[path]), takes }));
  const paths = files.map(({ file }) => file.path);
  const silence = () =>
    files.slice(0, 1).flatMap(({ file }) => {
      const mtimeMs = statSync(file.path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
      return Date.now() - mtimeMs > SILENT_MS ? [`${file.path} has not been written for a day`] : [];
    });
  const troubles = () => [...files.flatMap(({ file }) => file.trouble() ?? []), ...silence()];
  return {
    why: fromFiles(paths),
    read: () => {
      for (const { file, takes } of files) {
        file.read((record) => takes(record.program) && take(record));
        onLost(file.takeLost());
      }
    },
    position: () => ({ files: Object.fromEntries(files.flatMap(({ file }) => [[file.path, file.position()]]).filter(([, at]) => at)) }),
    trouble: () => (files.length === 0 ? noLog.trouble : troubles().join("; ") || undefined),
    level: () => (files.length === 0 ? "off" : "degraded"),
    todo: files.length === 0 ? noLog.todo : "see whether the syslog daemon runs, and which of logs.source fits",
    [Symbol.dispose]: () => {
      for (const { file } of files) file[Symbol.dispose]();
    },
  };
}

/** Lets through what fits into the rates, and tells what did not. */
function bound(emit: (draft: EventDraft) => void) {
  const lines = bucket(LINES);
  const attempts = bucket(ATTEMPTS);
  let lost = 0;
  return {
    emit: (draft: EventDraft) => {
      if ((draft.type === "log.line" ? lines : attempts)()) emit(draft);
      else lost++;
    },
    lost: (count: number) => {
      lost += count;
    },
    tell: () => {
      if (lost > 0) emit({ type: "sensor.lost", timeMs: Date.now(), body: { collector: "logs", count: lost, where: "shed" } });
      lost = 0;
    },
  };
}

function bucket({ perS, burst }: { perS: number; burst: number }): () => boolean {
  let left = burst;
  let lastMs = performance.now();
  return () => {
    const now = performance.now();
    left = Math.min(burst, left + ((now - lastMs) / 1000) * perS);
    lastMs = now;
    if (left < 1) return false;
    left--;
    return true;
  };
}

function load(path: string | undefined): Saved {
  try {
    if (path !== undefined) return Saved.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch {} // Torn by a power cut, or the first start.
  return { files: {} };
}
