// A real systemd-journald in a mount namespace of its own, real programs that log to it, and forged lines.
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EventDraft } from "@picket/protocol/event";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { startLogs } from "./auth.ts";
import { parseJournal } from "./journal-records.ts";

const journald = "/lib/systemd/systemd-journald";
const missing =
  process.getuid?.() !== 0
    ? "needs root for a mount namespace"
    : !existsSync(journald) || !existsSync("/etc/machine-id")
      ? "systemd-journald is not installed"
      : spawnSync("unshare", ["-m", "true"]).status !== 0
        ? "no mount namespaces here"
        : undefined;

/** Everything it touches is its own: /run, /var/log and /dev. */
const room = `set -e
mount --make-rprivate /
mount -t tmpfs none /run; mount -t tmpfs none /var/log; mount -t tmpfs none /dev
mknod -m 666 /dev/null c 1 3; mknod -m 666 /dev/urandom c 1 9; mknod -m 666 /dev/zero c 1 5
mkdir -p /run/systemd/journal /run/log/journal
ln -s /run/systemd/journal/dev-log /dev/log
exec ${journald}`;

let dir: string;
let server: ChildProcess | undefined;
const inRoom = () => ["nsenter", "-t", String(server!.pid), "-m"];
function run(...command: string[]) {
  const [program = "", ...args] = [...inRoom(), ...command];
  return execFileSync(program, args, { stdio: ["ignore", "pipe", "ignore"] });
}

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), "picket-journal-"));
  if (missing !== undefined) return;
  server = spawn("unshare", ["-m", "bash", "-c", room], { stdio: "ignore" });
  await vi.waitFor(() => expect(spawnSync("nsenter", [...inRoom().slice(1), "test", "-S", "/dev/log"]).status).toBe(0), 10_000);
  // A journalctl that begins before there is any journal hears of none later. On a host there always is one.
  run("logger", "the first line makes the file");
  await vi.waitFor(() => expect(run("sh", "-c", "ls /run/log/journal/*/system.journal").length).toBeGreaterThan(0), 10_000);
});
afterAll(() => {
  server?.kill();
  rmSync(dir, { recursive: true });
});

const becomesSu = `my $log = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => "/dev/log") or die;
for (@ARGV) { $log->send("<37>Nov 22 16:18:35 su[$$]: $_") or die }
exec "/bin/su", "root" or die`;

const open = () => {
  const told: EventDraft[] = [];
  const logs = startLogs({
    source: "journal",
    path: join(dir, "logs.json"),
    everyMs: 20,
    isCalled: (uid, name) => ({ 0: "root", 65534: "nobody" })[uid] === name,
    journalctl: [...inRoom(), "journalctl"],
    emit: (draft) => told.push(draft),
  });
  const messages = () => told.flatMap(({ type, body }) => (type === "log.line" ? [(body as { message: string }).message] : []));
  return { logs, told, messages, [Symbol.dispose]: () => logs[Symbol.dispose]() };
};

test.skipIf(missing)("su's own line is a login; the same line by logger is not, whoever calls it", { timeout: 30_000 }, async () => {
  using rig = open();
  // It reads from now on, and on a busy machine it takes a while until it does.
  const said = () => {
    run("logger", "-p", "auth.notice", "it reads");
    return rig.messages();
  };
  await expect.poll(said, { timeout: 20_000, interval: 200 }).toContain("it reads");
  run("su", "nobody", "-s", "/bin/true");
  await expect
    .poll(() => rig.told, { timeout: 10_000 })
    .toContainEqual({
      type: "auth.login",
      timeMs: expect.any(Number),
      body: { user: "nobody", method: "su", ok: true },
    });
  const forged = "(to root) mallory on pts/0";
  // It stays until the journal has looked at it: a process of root that is gone by then is believed, for nobody but root could have been it.
  run("sh", "-c", `(echo '${forged}'; sleep 1) | logger -t su -p authpriv.notice`);
  run("setpriv", "--reuid=65534", "--clear-groups", "logger", "-t", "su", "-p", "auth.notice", forged);
  await expect.poll(() => rig.messages().filter((message) => message === forged).length).toBe(2);
  for (const { type, body } of rig.told) if (type === "log.line" && body.message === forged) expect(body.source).toBe("claimed:su");
  expect(rig.told.filter(({ type }) => type === "auth.login")).toHaveLength(1);
  expect(rig.logs.capability()).toMatchObject({ level: "live" });
});

test.skipIf(missing)(
  "a line by who then becomes the real su: about himself at most, not about another user",
  { timeout: 30_000 },
  async () => {
    using rig = open();
    const [about, self] = ["(to root) mallory on pts/0", "(to root) nobody on pts/0"];
    // It looks only when the writer has become su, which waits for a password from the pipe.
    server!.kill("SIGSTOP");
    const writer = spawn(
      "nsenter",
      [
        ...inRoom().slice(1),
        "setpriv",
        "--reuid=65534",
        "--clear-groups",
        "perl",
        "-MIO::Socket::UNIX",
        "-MSocket",
        "-e",
        becomesSu,
        about,
        self,
      ],
      {
        stdio: ["pipe", "ignore", "ignore"],
      },
    );
    try {
      await expect.poll(() => readlinkSync(`/proc/${writer.pid}/exe`)).toMatch(/\/su$/);
      server!.kill("SIGCONT");
      await expect.poll(rig.messages, { timeout: 10_000 }).toContain(about);
      expect(rig.told).toContainEqual({ type: "log.line", timeMs: expect.any(Number), body: { source: "claimed:su", message: about } });
      // What cannot be told from su's own words.
      await expect.poll(() => rig.told.filter(({ type }) => type === "auth.login"), { timeout: 10_000 }).toHaveLength(1);
      expect(rig.messages()).not.toContain(self);
    } finally {
      server!.kill("SIGCONT");
      writer.kill("SIGKILL");
    }
  },
);

test.skipIf(missing)(
  "a restart reads on behind the last line; a journalctl that is killed is started again",
  { timeout: 30_000 },
  async () => {
    {
      using rig = open();
      run("logger", "-p", "auth.info", "one");
      await expect.poll(rig.messages, { timeout: 10_000 }).toContain("one");
    }
    expect(JSON.parse(readFileSync(join(dir, "logs.json"), "utf8")).journal.cursor).toEqual(expect.any(String));
    run("logger", "-p", "auth.info", "while away");
    using rig = open();
    await expect.poll(rig.messages, { timeout: 10_000 }).toEqual(["while away"]);
    const child = execFileSync("pgrep", ["-P", String(process.pid), "-x", "journalctl"], { encoding: "utf8" }).trim();
    process.kill(Number(child), "SIGKILL");
    await expect
      .poll(() => rig.logs.capability(), { timeout: 10_000 })
      .toMatchObject({ level: "off", why: expect.stringContaining("SIGKILL") });
    run("logger", "-p", "auth.info", "after");
    await expect.poll(rig.messages, { timeout: 10_000 }).toEqual(["while away", "after"]);
    expect(rig.logs.capability().level).toBe("live");
  },
);

test("a journalctl that cannot be run is said, and nothing else happens", async () => {
  const told: EventDraft[] = [];
  using logs = startLogs({
    source: "journal",
    path: join(dir, "none.json"),
    journalctl: ["/nowhere/journalctl"],
    isCalled: () => true,
    emit: (draft) => told.push(draft),
  });
  await expect.poll(() => logs.capability()).toMatchObject({ level: "off", why: expect.stringContaining("/nowhere/journalctl") });
  expect(told).toEqual([]);
});

const entry = (fields: Record<string, unknown>) =>
  parseJournal(
    JSON.stringify({ __CURSOR: "c", __REALTIME_TIMESTAMP: "1795357971140614", MESSAGE: "m", SYSLOG_IDENTIFIER: "sshd", ...fields }),
  )?.record;

test.each([
  ["root's sshd", { _UID: "0", _COMM: "sshd", _EXE: "/usr/sbin/sshd" }, true],
  ["a program of that name elsewhere", { _UID: "0", _COMM: "sshd", _EXE: "/tmp/sshd" }, false],
  ["a user's process under the right path", { _UID: "1000", _COMM: "sshd", _EXE: "/usr/sbin/sshd" }, false],
  ["somebody else's program", { _UID: "0", _COMM: "logger", _EXE: "/usr/bin/logger" }, false],
  ["a root process that was gone when the journal looked", { _UID: "0" }, true],
  ["a user's process that was gone when the journal looked", { _UID: "1000" }, false],
  ["sudo, called by a user", { SYSLOG_IDENTIFIER: "sudo", _UID: "1000", _COMM: "sudo", _EXE: "/usr/bin/sudo" }, true],
  ["a user's process of unknown path that calls itself sudo", { SYSLOG_IDENTIFIER: "sudo", _UID: "1000", _COMM: "sudo" }, false],
  ["the kernel, whatever the line claims", { _TRANSPORT: "kernel" }, true],
  ["a line that claims to be the kernel's", { SYSLOG_IDENTIFIER: "kernel", _TRANSPORT: "syslog", _UID: "1000" }, false],
])("believed or not: %s", (_, fields, trusted) => {
  expect(entry(fields)?.trusted).toBe(trusted);
});

test("messages as bytes, as a list, too long or missing; entries that are none", () => {
  expect(entry({ MESSAGE: [104, 105, 255] })?.message).toBe("hi\ufffd");
  expect(entry({ MESSAGE: ["first", "second"] })?.message).toBe("first");
  expect(entry({ MESSAGE: null })?.message).toContain("4096");
  expect(entry({ MESSAGE: undefined })?.message).toBe("");
  for (const bad of ["", "null", "[]", "{}", "{", '{"__CURSOR":7}']) expect(parseJournal(bad)).toBeUndefined();
});
