// Values that devices choose, and more of them than anybody would keep.
import type { SensorEvent } from "@picket/protocol/event";
import { Correlated } from "@picket/protocol/feed";
import { expect, test } from "vitest";
import { correlating, correlationsOf, stream } from "../testing/correlations.ts";
import { feed, idOf, proc, T0 } from "../testing/events.ts";
import { SigmaCorrelations } from "./correlations.ts";
import { MAX_IN_ALL, MAX_OF_DEVICE, MAX_OF_RULE } from "./memory.ts";
import { OVERHEAD } from "./part.ts";

const bodies = {
  many: "{ type: event_count, rules: [a], group-by: [User], timespan: 1h, condition: { gte: 3 } }",
  lines:
    "{ type: value_count, rules: [a], group-by: [Computer], timespan: 1h, condition: { field: [CommandLine, CurrentDirectory], gte: 3 } }",
  few: "{ type: event_count, rules: [a], group-by: [CommandLine], timespan: 1h, condition: { lt: 2 } }",
};

test("values of 64 KiB, control characters, halves of characters and separators stay apart, small and harmless", () => {
  const pipeline = correlating(bodies);
  const { runs } = stream();
  const values = ["x".repeat(65_536), `${"x".repeat(65_535)}y`, "\u001b[8m\u0007\u202e\n", "\ud800", '","', "", "__proto__", "constructor"];
  const events = values.flatMap((value, index) =>
    [0, 1, 2].map((at): SensorEvent => {
      const event = runs("a", index * 10_000 + at, value);
      return { ...event, body: { process: proc(7, "/bin/a", { user: value, argv: [value], cwd: value }) } } as SensorEvent;
    }),
  );
  feed(pipeline, events);
  pipeline.end();
  const { alerts, correlated } = pipeline.take();
  const groups = alerts.filter(({ detection }) => detection.rule.id === "many");
  expect(groups).toHaveLength(values.length);
  expect(new Set(groups.map(({ group }) => group)).size).toBe(values.length);
  for (const { detection } of alerts) {
    expect(detection.summary.length).toBeLessThanOrEqual(1000);
    expect(detection.summary).not.toMatch(/\p{Control}/u);
    expect(detection.summary.isWellFormed()).toBe(true);
  }
  expect(alerts.some(({ detection }) => detection.rule.id === "lines")).toBe(true);
  expect(correlated.length).toBeGreaterThan(values.length);
  for (const row of correlated) expect(Correlated.parse(JSON.parse(JSON.stringify(row)))).toEqual(row);
});

/** Ten times what is kept. */
const COUNT = 200_000;

test("groups without end: bounded, what was touched last stays, what went is counted and said", () => {
  const { correlations, rules, matcher } = correlationsOf({ many: bodies.many });
  const made = new SigmaCorrelations(correlations, rules, () => false);
  const event = stream().runs("a", 0) as SensorEvent & { body: { process: { user: string } }; seq: number; device: string };
  const matched = matcher.match(event);
  let evicted = 0;
  let largest = 0;
  const devices = 100;
  for (let at = 0; at < COUNT; at++) {
    event.body.process.user = `user ${at}`;
    event.device = `gw-${at % devices}`;
    event.seq = at;
    made.take(event, matched, { id: idOf(event), receivedMs: T0 + at, remember: false });
    if (at % 10_000 > 0) continue;
    largest = Math.max(largest, made.pending);
    made.changes();
    for (const count of made.takeEvicted().values()) evicted += count;
  }
  for (const count of made.takeEvicted().values()) evicted += count;
  expect(made.size).toBeLessThanOrEqual(MAX_IN_ALL);
  expect(made.size / (OVERHEAD + 1) + evicted).toBe(COUNT);
  // The last of them is one of three, and the first is not.
  const again = (user: number) => {
    event.body.process.user = `user ${user}`;
    event.device = `gw-${user % devices}`;
    return [1, 2].flatMap((seq) => {
      event.seq = COUNT + seq;
      return made.take(event, matched, { id: idOf(event), receivedMs: T0 + COUNT, remember: false });
    });
  };
  expect([again(COUNT - 1).length, again(5).length]).toEqual([1, 0]);
}, 120_000);

test("one device cannot push out what others brought, nor one rule all of its own", () => {
  const { correlations, rules, matcher } = correlationsOf({ many: bodies.many, few: bodies.few, lines: bodies.lines });
  const made = new SigmaCorrelations(correlations, rules, () => false);
  const { runs } = stream();
  const take = (of: SensorEvent) => made.take(of, matcher.match(of), { id: idOf(of), receivedMs: of.timeMs, remember: false });
  for (const at of [0, 1]) take(runs("a", at, "kept", "gw-2"));
  const others = made.size;
  for (let at = 0; at < 30_000; at++) {
    const event = runs("a", 10 + at, `user ${at}`);
    take({ ...event, body: { process: proc(7, "/bin/a", { user: `user ${at}`, argv: [`${at}`], cwd: "/" }) } } as SensorEvent);
  }
  expect(made.size - others).toBeLessThanOrEqual(Math.min(MAX_OF_DEVICE, 3 * MAX_OF_RULE));
  expect(take(runs("a", 50_000, "kept", "gw-2")).map(({ of }) => of.id)).toContain("many");
});

test("what had to go is an alert of its device", () => {
  const pipeline = correlating({ many: bodies.many });
  const { runs } = stream();
  feed(
    pipeline,
    Array.from({ length: MAX_OF_RULE / (OVERHEAD + 1) + 10 }, (_, at) => runs("a", at, `user ${at}`)),
  );
  expect(pipeline.take().alerts.map(({ detection: { rule, device, count } }) => [rule.id, device, count])).toEqual([
    ["picket-correlation-overflow", "gw-1", 1],
  ]);
});

test("what was kept under another meaning, or cannot be read, is let go of", () => {
  const { runs } = stream();
  const before = correlationsOf({ many: bodies.many });
  const first = new SigmaCorrelations(before.correlations, before.rules, () => false);
  for (const at of [0, 1]) {
    const event = runs("a", at);
    first.take(event, before.matcher.match(event), { id: idOf(event), receivedMs: T0, remember: false });
  }
  const kept = first.changes();
  const event = runs("a", 2);
  const firedWith = (rows: typeof kept, timespan = "1h") => {
    const { correlations, rules, matcher } = correlationsOf({ many: bodies.many.replace("1h", timespan) });
    const next = new SigmaCorrelations(correlations, rules, () => false);
    next.seed(rows);
    const fired = next.take(event, matcher.match(event), { id: idOf(event), receivedMs: T0, remember: false });
    return { fired: fired.length, told: next.changes().length };
  };
  expect(firedWith(kept).fired).toBe(1);
  expect(firedWith(kept, "2h").fired).toBe(0);
  expect(firedWith(kept.map((row) => ({ ...row, body: row.body.slice(0, -5) }))).fired).toBe(0);
  expect(firedWith(kept.map((row) => ({ ...row, rule: "gone" })))).toEqual({ fired: 0, told: 2 });
});

test("what another reading decides is remembered once, and fires nothing", () => {
  const pipeline = correlating({ many: bodies.many });
  const { runs } = stream();
  const foreign = [runs("a", 0), runs("a", 1)];
  for (const _ of [1, 2]) feed(pipeline, foreign, { silent: true, foreign: true });
  expect(pipeline.take().alerts).toEqual([]);
  feed(pipeline, [runs("a", 2)]);
  expect(pipeline.take().alerts.map(({ detection }) => detection.events.length)).toEqual([3]);
});

test("a device that is read apart takes its own along, also of what was not committed", () => {
  const pipeline = correlating({ many: bodies.many });
  const { runs } = stream();
  feed(pipeline, [runs("a", 0, "root", "gw-1"), runs("a", 1, "root", "gw-2")]);
  pipeline.forget("gw-1");
  expect(pipeline.take().correlated.map(({ device }) => device)).toEqual(["gw-2"]);
  feed(pipeline, [runs("a", 2, "root", "gw-3")]);
  expect(pipeline.take().alerts).toEqual([]);
});
