// Real files, written as syslog daemons and logrotate write them.
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EventDraft } from "@picket/protocol/event";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Logs, startLogs } from "./auth.ts";
import { parseLine } from "./auth-files.ts";

let root: string;
let auth: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "picket-auth-"));
  mkdirSync(join(root, "var/log"), { recursive: true });
  auth = join(root, "var/log/auth.log");
  writeFileSync(auth, line("before we came"));
});
afterEach(() => rmSync(root, { recursive: true }));

const line = (message: string, program = "sshd[7]") => `2026-11-22T14:28:24.123456+00:00 host ${program}: ${message}\n`;

function start(): { logs: Logs; told: string[]; drafts: EventDraft[]; [Symbol.dispose](): void } {
  const told: string[] = [];
  const drafts: EventDraft[] = [];
  const logs = startLogs({
    source: "files",
    path: join(root, "logs.json"),
    root,
    everyMs: 5,
    isCalled: () => true,
    emit: (draft) => {
      drafts.push(draft);
      told.push(draft.type === "log.line" ? draft.body.message : draft.type);
    },
  });
  return { logs, told, drafts, [Symbol.dispose]: () => logs[Symbol.dispose]() };
}

test("what is written is told, once its line is whole; what was there before is not", async () => {
  using rig = start();
  appendFileSync(auth, line("Failed password for root from 203.0.113.9 port 1 ssh2") + line("half and half").slice(0, -6));
  await expect.poll(() => rig.told).toEqual(["auth.login"]);
  appendFileSync(auth, " half\n");
  await expect.poll(() => rig.told).toEqual(["auth.login", "half and half"]);
  expect(rig.drafts[0]).toMatchObject({
    timeMs: Date.parse("2026-11-22T14:28:24.123Z"),
    body: { user: "root", remoteIp: "203.0.113.9", ok: false },
  });
  expect(rig.logs.capability()).toMatchObject({ level: "live", why: expect.stringContaining("auth.log") });
});

test("rotation by renaming: the end of the old file and all of the new one", async () => {
  using rig = start();
  appendFileSync(auth, line("one"));
  await expect.poll(() => rig.told).toEqual(["one"]);
  renameSync(auth, `${auth}.1`);
  appendFileSync(`${auth}.1`, line("two"));
  writeFileSync(auth, line("three"));
  await expect.poll(() => rig.told).toEqual(["one", "two", "three"]);
});

test("rotation by copying and truncating", async () => {
  using rig = start();
  appendFileSync(auth, line("one"));
  await expect.poll(() => rig.told).toEqual(["one"]);
  copyFileSync(auth, `${auth}.1`);
  truncateSync(auth);
  appendFileSync(auth, line("2"));
  await expect.poll(() => rig.told).toEqual(["one", "2"]);
});

test("a restart repeats nothing and skips nothing, also over a rotation", async () => {
  {
    using rig = start();
    appendFileSync(auth, line("one"));
    await expect.poll(() => rig.told).toEqual(["one"]);
  }
  expect(statSync(join(root, "logs.json")).mode & 0o777).toBe(0o600);
  appendFileSync(auth, line("two"));
  {
    using rig = start();
    await expect.poll(() => rig.told).toEqual(["two"]);
  }
  appendFileSync(auth, line("three"));
  renameSync(auth, `${auth}.1`);
  writeFileSync(auth, line("four"));
  using rig = start();
  await expect.poll(() => rig.told).toEqual(["three", "four"]);
});

test("an agent that was killed right after a line was told repeats some lines and skips none", async () => {
  const memory = join(root, "logs.json");
  {
    using rig = start();
    appendFileSync(auth, line("one"));
    await expect.poll(() => rig.told).toEqual(["one"]);
    await expect.poll(() => readFileSync(memory, "utf8")).toContain(`"offset":${statSync(auth).size}`);
    appendFileSync(auth, line("two"));
    await expect.poll(() => rig.told).toEqual(["one", "two"]);
    // What a kill now would leave: "two" may not be on disk yet.
    copyFileSync(memory, `${memory}.killed`);
  }
  renameSync(`${memory}.killed`, memory);
  appendFileSync(auth, line("three"));
  using rig = start();
  await expect.poll(() => rig.told.at(-1)).toBe("three");
  expect([["two", "three"], ["three"]]).toContainEqual(rig.told);
});

test("a memory torn by a power cut begins at the end of the file", async () => {
  start()[Symbol.dispose]();
  writeFileSync(join(root, "logs.json"), readFileSync(join(root, "logs.json")).subarray(0, 9));
  using rig = start();
  appendFileSync(auth, line("one"));
  await expect.poll(() => rig.told).toEqual(["one"]);
});

test("bytes that are no text, lines that are none, and lines without end: told or counted, and reading goes on", async () => {
  using rig = start();
  appendFileSync(auth, Buffer.concat([Buffer.from(line("x").slice(0, -1)), Buffer.from([0xff, 0xfe, 10])]));
  appendFileSync(auth, `no head\n${"y".repeat(100_000)}\n${line("after")}`);
  await expect.poll(() => rig.told.filter((text) => text !== "sensor.lost")).toEqual(["x\ufffd\ufffd", "after"]);
  await expect.poll(() => rig.drafts.some(({ type }) => type === "sensor.lost")).toBe(true);
});

test("a flood is cut to its rate and counted: nothing is let go without being said", async () => {
  using rig = start();
  appendFileSync(auth, Array.from({ length: 3000 }, (_, at) => line(`noise ${at}`)).join(""));
  const count = () => rig.drafts.reduce((sum, { type, body }) => sum + (type === "sensor.lost" ? (body as { count: number }).count : 1), 0);
  await expect.poll(count).toBe(3000);
  expect(rig.told.filter((text) => text !== "sensor.lost").length).toBeLessThan(1500);
});

test("the general log is asked only for what has no file of its own", async () => {
  writeFileSync(join(root, "var/log/syslog"), "");
  writeFileSync(join(root, "var/log/kern.log"), "");
  using rig = start();
  appendFileSync(
    join(root, "var/log/syslog"),
    line("(root) CMD (x)", "CRON[9]") + line("[ 1.5] x: segfault at 0", "kernel") + line("hello", "app"),
  );
  appendFileSync(join(root, "var/log/kern.log"), line("[ 1.5] x: segfault at 0", "kernel"));
  await expect.poll(() => rig.told.toSorted()).toEqual(["(root) CMD (x)", "x: segfault at 0"]);
});

test("without any log it is off and says so", () => {
  rmSync(auth);
  using rig = start();
  expect(rig.logs.capability()).toMatchObject({ level: "off", todo: expect.any(String) });
});

test("the traditional form has no year: the one that does not lie in the future", () => {
  const now = new Date(2026, 0, 2, 12).getTime();
  expect(parseLine("Dec 31 23:59:59 host sshd[1]: x", now)).toMatchObject({ timeMs: new Date(2025, 11, 31, 23, 59, 59).getTime(), pid: 1 });
  expect(parseLine("Jan  2 11:00:00 host sshd[1]: x", now)?.timeMs).toBe(new Date(2026, 0, 2, 11).getTime());
});
