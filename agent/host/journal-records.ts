// A line of `journalctl -o json`: what the journal itself knows about the writer (fields with "_") decides whom to believe.
import { basename } from "node:path";
import type { LogRecord } from "./auth-lines.ts";

/** Asked for besides the cursor and the times, which always come (journalctl(1)). */
export const journalFields = [
  "MESSAGE",
  "SYSLOG_IDENTIFIER",
  "SYSLOG_PID",
  "_PID",
  "_UID",
  "_AUDIT_LOGINUID",
  "_COMM",
  "_EXE",
  "_TRANSPORT",
];

/**
 * Facilities auth, cron and authpriv (syslog(3)), the programs whose lines are read, and the kernel. Nothing else is even printed.
 */
export const journalMatches = [
  ...["4", "9", "10"].map((facility) => `SYSLOG_FACILITY=${facility}`),
  "+",
  ...["sshd", "sshd-session", "sudo", "su", "login", "systemd-logind", "cron"].map((name) => `_COMM=${name}`),
  "+",
  "_TRANSPORT=kernel",
];

export type JournalLine = { readonly cursor: string; readonly record: LogRecord | undefined };

/** Undefined when it is no entry at all. A message longer than 4096 bytes comes as null: then it says so. */
export function parseJournal(line: string): JournalLine | undefined {
  let entry: Record<string, unknown>;
  try {
    entry = JSON.parse(line);
  } catch {
    return undefined;
  }
  const cursor = entry?.__CURSOR;
  if (typeof cursor !== "string" || cursor.length > 1024) return undefined;
  const text = (name: string) => one(entry[name]);
  const kernel = text("_TRANSPORT") === "kernel";
  const claimed = kernel ? "kernel" : basename(text("SYSLOG_IDENTIFIER") ?? text("_COMM") ?? "").toLowerCase();
  if (claimed === "") return { cursor, record: undefined };
  const record = {
    program: claimed,
    pid: number(text("_PID") ?? text("SYSLOG_PID")),
    message: entry.MESSAGE === null ? "(a line of more than 4096 bytes)" : (text("MESSAGE") ?? ""),
    timeMs: Math.floor(Number(text("__REALTIME_TIMESTAMP") ?? 0) / 1000) || Date.now(),
    writers:
      kernel || text("_UID") === "0"
        ? undefined
        : [text("_UID"), text("_AUDIT_LOGINUID")].flatMap((uid) => (uid === NOBODY_LOGGED_IN ? [] : (number(uid) ?? []))),
    trusted: kernel || isBy(claimed, { uid: text("_UID"), comm: text("_COMM"), exe: text("_EXE") }),
  };
  return { cursor, record };
}

/** Where only root can put a program. */
const systemPlace = /^\/(?:usr\/)?(?:s?bin|lib|libexec)\//;
/**
 * They run as root, but the kernel tells the uid of who called them: the real one (tried: sudo 1.9.13, su of util-linux 2.38). Whom they name is by that too, or, in su, by the
 * login uid (getlogin(3)).
 */
const setUserId = new Set(["sudo", "su"]);
const COMM_BYTES = 15;
/** The login uid of what no login started (audit_loginuid, -1). */
const NOBODY_LOGGED_IN = "4294967295";

/**
 * The kernel tells the journal the writer's uid; name and path are looked up in /proc, late, and are missing when the writer was gone.
 * So all but sudo and su have to write as root, and those two have to lie where only root can put a program.
 */
function isBy(
  program: string,
  { uid, comm, exe }: { uid: string | undefined; comm: string | undefined; exe: string | undefined },
): boolean {
  if (exe !== undefined && !(systemPlace.test(exe) && basename(exe).toLowerCase() === program)) return false;
  if (uid !== "0") return exe !== undefined && setUserId.has(program);
  return exe !== undefined || comm === undefined || comm.toLowerCase() === program.slice(0, COMM_BYTES);
}

/** A field that came more than once is a list, and so are bytes that are no text. */
function one(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  if (value.every((item) => Number.isInteger(item))) return Buffer.from(value as number[]).toString("utf8");
  return one(value[0]);
}

const number = (text: string | undefined) => (text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : undefined);
