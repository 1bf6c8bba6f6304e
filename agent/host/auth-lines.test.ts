import { expect, test } from "vitest";
import { authLines, type LogRecord } from "./auth-lines.ts";

const at = (program: string, message: string, more: Partial<LogRecord> = {}): LogRecord => ({
  program,
  message,
  pid: 7,
  timeMs: 1,
  trusted: true,
  ...more,
});
/** What one line becomes. */
const told = (program: string, message: string, more?: Partial<LogRecord>) =>
  authLines(() => true)(at(program, message, more)).map(({ type, body }) => [type, body]);

const login = (user: string, method: string, ok: boolean, remoteIp?: string) => [
  ["auth.login", { user, ...(remoteIp ? { remoteIp } : {}), method, ok }],
];
const sudo = (user: string, command: string, ok: boolean) => [["auth.sudo", { user, command, ok }]];

test.each([
  ["sshd", "Accepted password for pi from 203.0.113.9 port 52222 ssh2", login("pi", "password", true, "203.0.113.9")],
  ["sshd", "Accepted publickey for root from 2001:db8::1 port 5 ssh2: ED25519 SHA256:abc", login("root", "publickey", true, "2001:db8::1")],
  [
    "sshd",
    "Accepted keyboard-interactive/pam for a b from fe80::1%eth0 port 5 ssh2",
    login("a b", "keyboard-interactive/pam", true, "fe80::1"),
  ],
  ["sshd", "Failed password for root from 203.0.113.9 port 1 ssh2", login("root", "password", false, "203.0.113.9")],
  ["sshd-session", "Failed password for invalid user admin from 203.0.113.9 port 1 ssh2", login("admin", "password", false, "203.0.113.9")],
  ["sshd", "Failed password for invalid user  from 203.0.113.9 port 1 ssh2", login("", "password", false, "203.0.113.9")],
  ["sshd", "Connection closed by invalid user admin 203.0.113.9 port 1 [preauth]", login("admin", "none", false, "203.0.113.9")],
  ["sshd", "Disconnected from authenticating user root 203.0.113.9 port 1 [preauth]", login("root", "none", false, "203.0.113.9")],
  ["su", "(to root) pi on pts/0", login("root", "su", true)],
  ["su", "FAILED SU (to root) pi on pts/0", login("root", "su", false)],
  ["login", "FAILED LOGIN (1) on '/dev/tty1' FOR 'pi', Authentication failure", login("pi", "console", false)],
  ["login", "FAILED LOGIN 1 FROM tty1 FOR pi, Authentication failure", login("pi", "console", false)],
  ["login", "pam_unix(login:session): session opened for user pi(uid=1000) by LOGIN(uid=0)", login("pi", "console", true)],
  ["systemd-logind", "New session 12 of user pi.", login("pi", "session", true)],
  ["sudo", "      pi : TTY=pts/0 ; PWD=/home/pi ; USER=root ; COMMAND=/usr/bin/apt update", sudo("pi", "/usr/bin/apt update", true)],
  ["sudo", "pi : PWD=/ ; USER=root ; COMMAND=/usr/bin/id", sudo("pi", "/usr/bin/id", true)],
  ["sudo", "pi : 3 incorrect password attempts ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh", sudo("pi", "/bin/sh", false)],
  ["sudo", "www : user NOT in sudoers ; TTY=unknown ; PWD=/ ; USER=root ; COMMAND=/bin/sh", sudo("www", "/bin/sh", false)],
])("%s: %s", (program, message, expected) => {
  expect(told(program, message)).toEqual(expected);
});

test("a name chosen to look like the rest of the line does not decide where it came from", () => {
  const name = "root from 192.0.2.1 port 1 ssh2: x";
  expect(told("sshd", `Failed password for invalid user ${name} from 203.0.113.9 port 22 ssh2`)).toEqual(
    login(name, "password", false, "203.0.113.9"),
  );
});

test("a folder named like a command cannot hide the command", () => {
  const line = "pi : TTY=pts/0 ; PWD=/tmp/x ; USER=root ; COMMAND=/bin/true ; USER=root ; COMMAND=/bin/sh -p";
  expect(told("sudo", line)).toEqual(sudo("pi", "/bin/true ; USER=root ; COMMAND=/bin/sh -p", true));
});

test("leaving after refused passwords is not one more refusal; each connection counts by itself", () => {
  const lines = authLines(() => true);
  const types = (message: string, pid: number) => lines(at("sshd", message, { pid })).map(({ type }) => type);
  expect(types("Failed password for root from 203.0.113.9 port 1 ssh2", 7)).toEqual(["auth.login"]);
  expect(types("Connection closed by authenticating user root 203.0.113.9 port 2 [preauth]", 8)).toEqual(["auth.login"]);
  expect(types("Connection closed by authenticating user root 203.0.113.9 port 1 [preauth]", 7)).toEqual(["log.line"]);
});

test("rsyslog's repeated lines count as often as they were, within reason", () => {
  const inner = "Failed password for root from 203.0.113.9 port 1 ssh2";
  expect(told("sshd", `message repeated 3 times: [ ${inner}]`)).toHaveLength(3);
  expect(told("sshd", `message repeated 99999999 times: [ ${inner}]`)).toHaveLength(100);
});

test("what nobody vouches for is a line of somebody who claims to be that program, whatever it says", () => {
  const message = "Accepted password for root from 192.0.2.1 port 1 ssh2";
  expect(told("sshd", message, { trusted: false })).toEqual([["log.line", { source: "claimed:sshd", message }]]);
});

test("other lines are lines; of the kernel's only those that tell of trouble", () => {
  expect(told("cron", "(root) CMD (/bin/x)")).toEqual([["log.line", { source: "cron", message: "(root) CMD (/bin/x)" }]]);
  expect(told("kernel", "x[4]: segfault at 0 ip 0 sp 0 error 4")).toHaveLength(1);
  expect(told("kernel", "eth0: link up")).toEqual([]);
  expect(told("constructor", "x")).toEqual([["log.line", { source: "constructor", message: "x" }]]);
});

test("long and strange text stays within the bounds of an event", () => {
  const long = "x".repeat(100_000);
  for (const [, body] of told("sshd", `Failed password for ${long} from 203.0.113.9 port 1 ssh2`))
    expect(JSON.stringify(body).length).toBeLessThan(4300);
  expect(told(long, long)).toEqual([["log.line", { source: long.slice(0, 128), message: long.slice(0, 4096) }]]);
});

test("sudo and su may speak of who called them only as of the user who wrote the line", () => {
  const lines = authLines((uid, name) => uid === 1000 && name === "pi");
  const told = (program: string, message: string, writers?: readonly number[]) => lines(at(program, message, { writers }))[0];
  const sudo = (user: string) => `${user} : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/id`;
  expect(told("sudo", sudo("pi"), [1000])?.type).toBe("auth.sudo");
  expect(told("sudo", sudo("alice"), [1000])).toMatchObject({ type: "log.line", body: { source: "claimed:sudo" } });
  expect(told("sudo", sudo("alice"), [])).toMatchObject({ type: "log.line", body: { source: "claimed:sudo" } });
  expect(told("sudo", sudo("alice"))?.type).toBe("auth.sudo");
  expect(told("su", "(to root) pi on pts/0", [1001, 1000])?.type).toBe("auth.login");
  expect(told("su", "FAILED SU (to root) alice on pts/0", [1000])?.body).toMatchObject({ source: "claimed:su" });
  expect(told("sudo", "pam_unix(sudo:session): session opened", [1000])?.body).toMatchObject({ source: "sudo" });
});
