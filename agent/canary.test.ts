import { dlopen, FFIType } from "bun:ffi";
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  rmSync,
  utimesSync,
  watch,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EventDraft } from "@picket/protocol/event";
import { describe, expect, test } from "vitest";
import { createCanary, sweepFolders, watchedCollectors } from "./canary.ts";
import { cannotRun } from "./collectors/testing/rig.ts";
import { startSensor } from "./sensor.ts";

const libc = dlopen("libc.so.6", { dup2: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 } }).symbols;

/** Descriptors of this process through which its BPF programs are attached. */
const attached = () =>
  readdirSync("/proc/self/fd").filter((fd) => {
    try {
      return /^anon_inode:(bpf_link|\[perf_event\]|bpf-link)$/.test(readlinkSync(`/proc/self/fd/${fd}`));
    } catch {
      return false;
    }
  });

describe.skipIf(cannotRun !== "")(`on this kernel${cannotRun}`, () => {
  test("what the agent does comes back; when somebody takes the programs away behind its back, it says so; its folder goes with it", async () => {
    const states: string[] = [];
    const emit = (draft: EventDraft) => {
      if (draft.type === "sensor.state") states.push(`${draft.body.collector} ${draft.body.level}`);
    };
    const before = attached();
    const canary = createCanary({ everyMs: 500, withinMs: 400, runs: () => true, emit });
    const sensor = startSensor({ ignorePid: process.pid, watchRead: [], watchWrite: [canary.dir] }, (draft) => void canary.saw(draft));
    try {
      canary.start();
      await expect.poll(() => canary.capability().why, { timeout: 10_000 }).toContain("was seen");
      const back = Date.now();
      await expect.poll(() => Date.now() - back > 1500, { timeout: 5000 }).toBe(true);
      expect(states).toEqual([]);
      const ours = attached().filter((fd) => !before.includes(fd));
      expect(ours.length).toBeGreaterThan(10);
      // Their numbers stay taken: the sensor closes them when it ends, and must not close what somebody else has by then.
      const nothing = openSync("/dev/null", "r");
      for (const fd of ours) libc.dup2(nothing, Number(fd));
      closeSync(nothing);
      await expect.poll(() => states.toSorted(), { timeout: 10_000 }).toEqual(watchedCollectors.map((name) => `${name} degraded`));
      expect(canary.capability()).toMatchObject({
        level: "degraded",
        why: expect.stringContaining("a program that the agent started was not seen"),
      });
    } finally {
      canary[Symbol.dispose]();
      sensor[Symbol.dispose]();
    }
    expect(existsSync(canary.dir)).toBe(false);
  });
});

test("a collector that is known to be off is not expected; one that comes back is live again", async () => {
  const states: string[] = [];
  let song: { path: string } | undefined;
  const canary = createCanary({
    everyMs: 150,
    withinMs: 50,
    runs: (collector) => collector === "file",
    emit: (draft) => draft.type === "sensor.state" && states.push(`${draft.body.collector} ${draft.body.level}`),
  });
  canary.start();
  await expect.poll(() => states, { timeout: 5000 }).toEqual(["file degraded"]);
  // Bring back whatever lies in its folder, as a sensor would.
  const process = { pid: 1, startTicks: 1, ppid: 0, uid: 0, exe: "/bin/sh", argv: [] };
  const timer = setInterval(() => {
    for (const name of readdirSync(canary.dir)) {
      song = { path: canary.dir + name };
      canary.saw({ type: "file.create", timeMs: 0, body: { process, file: song } });
    }
  }, 1);
  try {
    await expect.poll(() => states.slice(0, 2), { timeout: 10_000 }).toEqual(["file degraded", "file live"]);
  } finally {
    clearInterval(timer);
    canary[Symbol.dispose]();
  }
  expect(song).toBeDefined();
});

test("a program that copies the canary's arguments is still looked at", async () => {
  using canary = createCanary({ everyMs: 100, withinMs: 90, runs: () => true, emit: () => {} });
  canary.start();
  const seen: boolean[][] = [];
  // Others cannot see into its folder, but the arguments of the shell that makes the file.
  const copy = () => {
    for (const name of readdirSync(canary.dir)) {
      const path = canary.dir + name;
      const process = { pid: 1, startTicks: 1, ppid: 0, uid: 1001, exe: "/tmp/evil", argv: ["/tmp/evil", path] };
      const file = canary.saw({ type: "file.create", timeMs: 0, body: { process, file: { path } } });
      seen.push([file, canary.saw({ type: "process.exec", timeMs: 0, body: { process } })]);
    }
  };
  const timer = setInterval(copy, 1);
  try {
    await expect.poll(() => seen.some(([file]) => file), { timeout: 10_000 }).toBe(true);
  } finally {
    clearInterval(timer);
  }
  expect(seen.some(([, exec]) => exec)).toBe(false);
});

test("how often it sings changes while it runs, and does not begin it", async () => {
  const made = new Set<string>();
  using canary = createCanary({ everyMs: 3_600_000, withinMs: 5, runs: () => true, emit: () => {} });
  using _ = watching(canary.dir, (name) => made.add(name));
  canary.every(3_600_000);
  canary.start();
  await expect.poll(() => made.size).toBe(1);
  canary.every(50);
  await expect.poll(() => made.size, { timeout: 10_000 }).toBeGreaterThan(2);
});

function watching(dir: string, seen: (name: string) => void): Disposable {
  const watcher = watch(dir, (_, name) => name && seen(name));
  return { [Symbol.dispose]: () => watcher.close() };
}

test("folders of agents that were killed go after two hours, those in use and of others stay", () => {
  const parent = mkdtempSync(join(tmpdir(), "pkcanary-"));
  const make = (name: string, hoursAgo: number) => {
    mkdirSync(join(parent, name));
    utimesSync(join(parent, name), 0, Date.now() / 1000 - hoursAgo * 3600);
  };
  make("picket-canary-killed", 3);
  make("picket-canary-inuse1", 1);
  make("another", 30);
  mkdirSync(join(parent, "picket-canary-filled"));
  writeFileSync(join(parent, "picket-canary-filled", "x"), "");
  utimesSync(join(parent, "picket-canary-filled"), 0, 0);
  sweepFolders(parent, Date.now());
  expect(readdirSync(parent).toSorted()).toEqual(["another", "picket-canary-filled", "picket-canary-inuse1"]);
  rmSync(parent, { recursive: true });
});
