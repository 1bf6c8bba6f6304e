import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { EventBuffer } from "./buffer.ts";
import { boot, hit, plain } from "./testing/events.ts";
import { Wear, writtenBytes } from "./wear.ts";

const HOUR_MS = 3_600_000;

/** A kernel that counts what it is told, and a clock that goes when it is told. */
function world(budgetBytes = 1000) {
  const now = { ms: 0, bytes: 0 };
  const of = { budgetBytes, writtenBytes: () => now.bytes, monotonicMs: () => now.ms };
  return { now, of, wear: new Wear(of) };
}

test("what the kernel counts for this process grows when it writes to a disk", () => {
  const dir = mkdtempSync(join(tmpdir(), "pkagt-wear-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const before = writtenBytes();
  using buffer = new EventBuffer({
    path: join(dir, "buffer.db"),
    maxEvents: 1e5,
    maxBytes: 1e8,
    epoch: { epoch: "aaaaaaaa", boot, device: "pi" },
  });
  for (let seq = 0; seq < 2000; seq++) buffer.append(plain("aaaaaaaa", seq, "x".repeat(500)));
  buffer.flush();
  expect(before).toBeDefined();
  expect(writtenBytes()! - before!).toBeGreaterThan(1_000_000);
  expect(buffer.flash()!.wroteBytes).toBeGreaterThan(1_000_000);
});

test("the sum is that of the last 24 hours of running, by hours", () => {
  const { now, wear } = world();
  for (let hour = 0; hour < 30; hour++) {
    now.bytes += 10;
    expect(wear.flash()).toEqual({ wroteBytes: Math.min(24, hour + 1) * 10, budgetBytes: 1000 });
    now.ms += HOUR_MS;
    wear.flash();
  }
  now.ms += 100 * HOUR_MS;
  expect(wear.flash()?.wroteBytes).toBe(0);
});

test("a run that follows goes on where the one before it was: a crash loop makes no room", () => {
  const { now, of } = world();
  let saved = "";
  for (let run = 0; run < 200; run++) {
    const wear = new Wear(of);
    wear.restore(saved);
    now.bytes += 7;
    saved = wear.save();
    // The device may be off for as long as it likes.
    now.ms += 10 * HOUR_MS;
  }
  const wear = new Wear(of);
  wear.restore(saved);
  expect(wear.flash()?.wroteBytes).toBe(1400);
  expect(wear.isOver()).toBe(true);
});

test.each(["", "x", "[]", "[1,2]", `[${"-1,".repeat(24)}1]`, `[${"1e300,".repeat(24)}1]`, "null"])(
  "what a damaged file says of it counts as nothing: %s",
  (saved) => {
    const { wear } = world();
    wear.restore(saved);
    expect(wear.flash()?.wroteBytes).toBe(0);
  },
);

test("a kernel that does not count is not guessed for", () => {
  const wear = new Wear({ budgetBytes: 1, writtenBytes: () => undefined, monotonicMs: () => 0 });
  expect([wear.flash(), wear.isOver()]).toEqual([undefined, false]);
});

test("above the budget plain events stay in memory and the oldest go, counted; hits still go to disk; it ends by itself, and a restart does not end it", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  onTestFinished(() => void vi.useRealTimers());
  const dir = mkdtempSync(join(tmpdir(), "pkagt-wear-"));
  onTestFinished(() => rmSync(dir, { recursive: true }));
  const now = { ms: 0, bytes: 0 };
  const open = (epoch: string, troubles: (string | undefined)[]) =>
    new EventBuffer({
      path: join(dir, "buffer.db"),
      maxEvents: 1e5,
      maxBytes: 1e8,
      flashBytesPerDay: 1000,
      epoch: { epoch, boot, device: "pi" },
      onTrouble: (why) => troubles.push(why),
      monotonicMs: () => now.ms,
      writtenBytes: () => now.bytes,
    });
  const pass = async (ms: number) => {
    now.ms += ms;
    await vi.advanceTimersByTimeAsync(ms);
  };
  const troubles: (string | undefined)[] = [];
  {
    using buffer = open("aaaaaaaa", troubles);
    now.bytes = 1000;
    for (let seq = 0; seq < 5000; seq++) {
      buffer.append(seq === 1000 ? hit("aaaaaaaa", seq) : plain("aaaaaaaa", seq));
      if (seq % 100 === 0) await pass(200);
    }
    await pass(2000);
    expect(troubles).toEqual([expect.stringContaining("flashBytesPerDay")]);
    const [lost] = buffer.takeLost();
    expect(lost!.by).toEqual({ plain: 5000 - 1 - 4096, hit: 0, result: 0 });
    expect(buffer.waiting()).toEqual({ events: 4097, urgent: 1 });
    expect(buffer.lease({ events: 5, bytes: 1e6 })?.events.map(({ seq }) => seq)).toEqual([1000]);
    expect(buffer.lease({ events: 2, bytes: 1e6 })?.events.map(({ seq }) => seq)).toEqual([903, 904]);
  }
  const again: (string | undefined)[] = [];
  using buffer = open("bbbbbbbb", again);
  buffer.append(plain("bbbbbbbb", 0));
  await pass(1100);
  expect(again).toEqual([expect.stringContaining("flashBytesPerDay")]);
  await pass(1000);
  now.ms += 25 * HOUR_MS;
  await pass(1100);
  expect(again.at(-1)).toBeUndefined();
});
