// What a line of sshd, sudo, su, login or logind says. Pure: who wrote the line is decided before (journal-records.ts, auth-files.ts).
import { isIP } from "node:net";
import type { EventDraft } from "@picket/protocol/event";

/** A line of a log, as far as it is known who wrote it. */
export type LogRecord = {
  /** Name of the program, in lower case. */
  readonly program: string;
  readonly pid?: number | undefined;
  readonly message: string;
  readonly timeMs: number;
  /** False: somebody else may have written it in this program's name. Then it is no more than a line. */
  readonly trusted: boolean;
  /** User ids by which the writer is known, where others than root may write in this program's name: what it says of who called it has to fit one. */
  readonly writers?: readonly number[] | undefined;
};

const MAX_USER = 64;
const MAX_SOURCE = 128;
/** Of a line: more than any of these programs writes at once. */
const MAX_MESSAGE = 4096;
/** Events that one "message repeated N times" becomes. */
const MAX_REPEATS = 100;
/** Connections whose refused attempts are remembered, so that their end is not told as one more. */
const MAX_REFUSED = 1024;

type Login = Extract<EventDraft, { type: "auth.login" }>["body"];
type Sudo = Extract<EventDraft, { type: "auth.sudo" }>["body"];
/** `caller`: who started sudo or su, in its own words. */
type Told = (({ login: Login } | { sudo: Sudo }) & { readonly caller?: string }) | undefined;

/**
 * Tells what happened: an attempt as auth.login or auth.sudo, everything else as log.line. Remembers which connections were refused already.
 * `isCalled`: whether a user id may go by a name.
 */
export function authLines(isCalled: (uid: number, name: string) => boolean): (record: LogRecord) => EventDraft[] {
  const refused = new Set<number>();
  const told = (program: string, message: string, pid: number | undefined): Told => {
    if (program !== "sshd") return (own(byProgram, program) ?? byPam(program))(message);
    const line = sshd(message);
    if (!line || line.login.ok) return line;
    // Who is refused and then leaves has failed once for each password, and not once more for leaving.
    if (line.login.method !== NO_METHOD) remember(refused, pid);
    else if (pid !== undefined && refused.delete(pid)) return undefined;
    return line;
  };
  return (record) => {
    const { message, count } = unrepeated(record.message.slice(0, MAX_MESSAGE));
    const { timeMs } = record;
    const program = programs.get(record.program) ?? record.program;
    if (program === "kernel" && !tellingOfKernel.test(message)) return [];
    const line = record.trusted ? told(program, message, record.pid) : undefined;
    const { writers } = record;
    // Whoever wrote it may have become sudo only after that (journal-records.ts); he cannot have been another user.
    const forged = line?.caller !== undefined && writers !== undefined && !writers.some((uid) => isCalled(uid, line.caller!));
    const what = forged ? undefined : line;
    const source = (record.trusted && !forged ? program : `claimed:${program}`).slice(0, MAX_SOURCE);
    return Array.from({ length: what ? count : 1 }, (): EventDraft => {
      if (!what) return { type: "log.line", timeMs, body: { source, message } };
      if ("sudo" in what) return { type: "auth.sudo", timeMs, body: what.sudo };
      return { type: "auth.login", timeMs, body: what.login };
    });
  };
}

/** OpenSSH 9.8 and later have a program for each connection. */
const programs = new Map([
  ["sshd-session", "sshd"],
  ["sshd-auth", "sshd"],
  ["crond", "cron"],
]);

const tellingOfKernel =
  /segfault|general protection|trap |out of memory|oom-kill|oom_reaper|killed process|taint|module verification|lockdown|promiscuous mode|bad page|call trace|undervoltage|under-voltage/i;

function remember(pids: Set<number>, pid: number | undefined): void {
  if (pid === undefined) return;
  pids.add(pid);
  if (pids.size > MAX_REFUSED) pids.delete(pids.values().next().value!);
}

/** rsyslog's short form for lines that come again. */
function unrepeated(message: string): { message: string; count: number } {
  const [, times, inner] = /^message repeated (\d{1,9}) times: \[ ?(.*)\]$/s.exec(message) ?? [];
  return inner === undefined ? { message, count: 1 } : { message: inner, count: Math.max(1, Math.min(MAX_REPEATS, Number(times))) };
}

const login = (user: string, method: string, ok: boolean, from?: string): { login: Login } => {
  // fe80::1%eth0: the zone is this host's own business.
  const ip = from?.replace(/%.*$/, "");
  const remote = ip !== undefined && isIP(ip) !== 0 ? { remoteIp: ip } : {};
  return { login: { user: user.slice(0, MAX_USER), ...remote, method: method.slice(0, 64), ok } };
};

/** No method was tried, or none that the daemon tells of: a key it does not know. */
const NO_METHOD = "none";

// The name is what the other side says: it may hold " from 192.0.2.1 port 1". The last one is sshd's own (auth.c, packet.c).
const attempt = /^(Accepted|Failed) (\S+) for (?:invalid user |illegal user )?(.*) from (\S+) port \d+(?: ssh2)?(?:: .*)?$/s;
const left =
  /^(?:Connection (?:closed|reset) by|Disconnected from) (?:invalid|illegal|authenticating) user (.*) (\S+) port \d+(?: \[preauth\])?$/s;

function sshd(message: string): { login: Login } | undefined {
  const [, what, method = "", user = "", from] = attempt.exec(message) ?? [];
  if (what !== undefined) return login(user, method, what === "Accepted", from);
  const [, leaver, leftFrom] = left.exec(message) ?? [];
  return leaver === undefined ? undefined : login(leaver, NO_METHOD, false, leftFrom);
}

/**
 * sudo's own line (plugins/sudoers/logging.c): `pi : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id`, with a reason in front of
 * TTY when it refused. The folder's name is the user's: from the first COMMAND= on everything is shown, so that nothing hides behind another.
 */
function sudo(message: string): Told {
  const [, user = "", reason, command] = /^\s*(\S+) : (?:(?!TTY=)(.*?) ; )?(?:TTY|PWD)=.*? ; COMMAND=(.*)$/s.exec(message) ?? [];
  return command === undefined ? undefined : { sudo: { user: user.slice(0, MAX_USER), command, ok: reason === undefined }, caller: user };
}

/** util-linux: `(to root) pi on pts/0`, and `FAILED SU (to root) pi on pts/0`. */
function su(message: string): Told {
  const [, failed, user = "", caller = ""] = /^(FAILED SU )?\(to ([^)]*)\) (.*) on \S+$/s.exec(message) ?? [];
  return user === "" ? undefined : { ...login(user, "su", failed === undefined), caller };
}

/** shadow's login: `FAILED LOGIN (1) on '/dev/tty1' FOR 'pi', ...`; util-linux's: `FAILED LOGIN 1 FROM tty1 FOR pi, ...`. */
function console(message: string): Told {
  const [, user] = /^FAILED LOGIN (?:SESSION|\(?\d+\)?).*? FOR '?(.*?)'?, [^,]*$/s.exec(message) ?? [];
  return user === undefined ? byPam("login")(message) : login(user, "console", false);
}

/** `pam_unix(login:session): session opened for user pi(uid=1000) by LOGIN(uid=0)`. */
function byPam(program: string): (message: string) => Told {
  if (program !== "login") return () => undefined;
  return (message) => {
    const [, user] = /^pam_unix\(login:session\): session opened for user (\S+?)(?:\(uid=\d+\))? by /.exec(message) ?? [];
    return user === undefined ? undefined : login(user, "console", true);
  };
}

/** `New session 12 of user pi.`: sshd's and login's, and those of a display manager, which says nothing itself. */
function logind(message: string): Told {
  const [, user] = /^New session \S+ of user (.+?)\.$/.exec(message) ?? [];
  return user === undefined ? undefined : login(user, "session", true);
}

const byProgram: Record<string, (message: string) => Told> = { sudo, su, login: console, "systemd-logind": logind };
const own = <T>(table: Record<string, T>, key: string): T | undefined => (Object.hasOwn(table, key) ? table[key] : undefined);
