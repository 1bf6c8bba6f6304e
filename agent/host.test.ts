import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { deviceId } from "@picket/protocol/names";
import { expect, test } from "vitest";
import { hostLabel, thisHost } from "./host.ts";
import { createLog } from "./log.ts";
import { startRenewal } from "./renewal.ts";
import { type AgentStatus, describeStatus, readStatus, startTicksOf, writeStatus } from "./status-file.ts";

test.each([
  ["gw-014", "gw-014"],
  ["Raspberry Pi.local", "raspberry-pi-local"],
  ["--x--", "x"],
  ["ÄÖÜ", "localhost"],
  ["", "localhost"],
  [`${"a".repeat(62)}-b`, "a".repeat(62)],
])("host %j becomes device name %j", (host, label) => {
  expect(hostLabel(host)).toBe(label);
  expect(deviceId.safeParse(hostLabel(host)).success).toBe(true);
});

test("a log line is one line of JSON with constant keys, and less important ones are left out", () => {
  const lines: string[] = [];
  const log = createLog(
    "warn",
    (line) => lines.push(line),
    () => 0,
  );
  log("info", "quiet");
  log("warn", "two\nlines", { why: "x" });
  expect(lines).toEqual(['{"time":"1970-01-01T00:00:00.000Z","level":"warn","part":"agent","message":"two\\nlines","why":"x"}\n']);
});

const status = (pid: number): AgentStatus => ({
  pid,
  startTicks: startTicksOf(process.pid)!,
  device: "pi",
  site: "lab",
  broker: "h:1",
  connected: false,
  sinceMs: 0,
  why: "ECONNREFUSED",
  certificateExpiresMs: 0,
  online: {
    v: 1,
    state: "online",
    timeMs: 1000,
    boot: thisHost().boot,
    epoch: "aaaaaaaa",
    version: "1",
    arch: "x64",
    kernel: "6",
    uptimeS: 1,
    capabilities: [{ name: "exec", level: "off", why: "no BPF", todo: "run as root" }],
    isolation: { state: "isolated", reason: "drill" },
    keysVersion: 1,
    produced: 7,
    lost: { kernel: 1, shed: 2, buffer: 3 },
    buffer: { events: 4, bytes: 5 },
    epochs: [],
    rssBytes: 3 << 20,
    cpuS: 1.5,
  },
});

test("status tells a running agent from a dead one, also when its pid was taken by another program", () => {
  const dir = mkdtempSync(join(tmpdir(), "pkagt-status-"));
  const path = join(dir, "status.json");
  try {
    expect(readStatus(path)).toBeUndefined();
    writeStatus(path, status(process.pid));
    expect(readStatus(path)?.running).toBe(true);
    writeStatus(path, { ...status(process.pid), startTicks: 1 });
    expect(readStatus(path)?.running).toBe(false);
    writeStatus(path, status(2 ** 22 + 1));
    expect(readStatus(path)?.running).toBe(false);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

test("status in words", () => {
  const text = describeStatus({ status: status(1), running: true }, 2000);
  for (const part of ["not connected: ECONNREFUSED", "isolated (drill)", "7 made, 4 waiting", "6 lost", "3 MiB", "no BPF -> run as root"])
    expect(text).toContain(part);
  const steered = describeStatus(
    { status: { ...status(1), why: "no\u001B]0;owned\u0007\u009B2J\u202Etxt\nforged  line" }, running: true },
    2000,
  );
  expect(steered).not.toMatch(/[^\P{C}\n]/u);
  expect(steered).not.toMatch(/^forged/m);
  expect(describeStatus({ status: status(1), running: false }, 61_000)).toContain("last seen 60 s ago");
});

test("renewal waits until it is due, retries after 1, 2, 4 ... 60 minutes, and looks hourly after success", async () => {
  const waits: number[] = [];
  const answers = [false, false, false, false, false, false, false, false, true];
  let due = 5 * 3600_000;
  const done = Promise.withResolvers<void>();
  const failures: string[] = [];
  startRenewal({
    dueInMs: () => due,
    renew: () => (answers.shift() ? Promise.resolve() : Promise.reject(new Error("no"))),
    onFailure: (error, nextMs) => failures.push(`${error} ${nextMs}`),
    setTimer: (work, ms) => {
      waits.push(ms / 60_000);
      due = Math.max(0, due - ms);
      if (waits.length < 16) queueMicrotask(work);
      else done.resolve();
      if (answers.length === 0) due = 30 * 60_000;
      return () => {};
    },
  });
  await done.promise;
  expect(waits.slice(0, 14)).toEqual([60, 60, 60, 60, 60, 1, 2, 4, 8, 16, 32, 60, 60, 60]);
  expect(failures).toHaveLength(8);
});
