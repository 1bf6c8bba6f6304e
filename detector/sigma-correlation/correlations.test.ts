import type { SensorEvent } from "@picket/protocol/event";
import { expect, test } from "vitest";
import type { Pipeline } from "../pipeline.ts";
import { correlating, stream } from "../testing/correlations.ts";
import { feed } from "../testing/events.ts";

const S = 1000;
const M = 60 * S;
const H = 60 * M;

/** Alerts after these events: rule, device, how often, how many events, and the sentence. */
function alertsOf(pipeline: Pipeline, events: readonly SensorEvent[]) {
  feed(pipeline, events);
  return pipeline.take().alerts.map(({ detection: { rule, device, count, events, summary } }) => ({
    rule: rule.id,
    device,
    count,
    events: events.length,
    summary,
  }));
}
const brief = (pipeline: Pipeline, events: readonly SensorEvent[]) =>
  alertsOf(pipeline, events).map(({ rule, device, count }) => `${rule} ${device} x${count}`);

test("twelve refused logins of one user from one address are one alert with counts, names, author and techniques", () => {
  const pipeline = correlating({
    brute: "{ type: event_count, rules: [login], group-by: [User, SourceIp], timespan: 5m, condition: { gte: 10 } }",
  });
  const { refused } = stream();
  const others = Array.from({ length: 9 }, (_, at) => refused("root", "198.51.100.7", at * S));
  feed(pipeline, [...others, ...Array.from({ length: 12 }, (_, at) => refused("root", "203.0.113.9", 20 * S + at * 20 * S))]);
  const [first, ...rest] = pipeline.take().alerts;
  const { detection } = first!;
  expect(rest).toEqual([]);
  expect(detection).toMatchObject({
    rule: { id: "brute", title: "Correlation brute", engine: "correlation", author: "A. Uthor" },
    severity: "high",
    device: "gw-1",
    count: 3,
    attack: { tactics: ["credential-access"], techniques: ["T1110"] },
    summary: '12 times "Refused" for root from 203.0.113.9 within 4 minutes',
  });
  expect(detection.events).toHaveLength(12);
});

test("the rules it rests on neither alert nor score", () => {
  const pipeline = correlating({ many: "{ type: event_count, rules: [a], group-by: [User], timespan: 5m, condition: { gte: 9 } }" });
  expect(alertsOf(pipeline, [stream().runs("a", 0)])).toEqual([]);
});

test("the timespan slides: what is too old does not count, whatever its distance from a full minute", () => {
  const of = { many: "{ type: event_count, rules: [a], group-by: [User], timespan: 1m, condition: { gte: 3 } }" };
  const { runs } = stream();
  expect(
    brief(
      correlating(of),
      [0, 30, 61].map((s) => runs("a", s * S)),
    ),
  ).toEqual([]);
  expect(
    brief(
      correlating(of),
      [0, 30, 60].map((s) => runs("a", s * S)),
    ),
  ).toEqual(["many gw-1 x1"]);
});

test("an hour and a day are windows like others", () => {
  const { runs } = stream();
  const slow = correlating({ slow: "{ type: event_count, rules: [a], group-by: [User], timespan: 1d, condition: { gte: 5 } }" });
  expect(
    brief(
      slow,
      [0, 5, 10, 15, 20].map((h) => runs("a", h * H)),
    ),
  ).toEqual(["slow gw-1 x1"]);
});

test("what goes on is told once in its timespan, and again after it", () => {
  const { runs } = stream();
  const pipeline = correlating({ many: "{ type: event_count, rules: [a], group-by: [User], timespan: 1h, condition: { gte: 3 } }" });
  // Every minute for three hours; each alert grows for ten minutes.
  const told = alertsOf(
    pipeline,
    Array.from({ length: 180 }, (_, at) => runs("a", at * M)),
  );
  expect(told.map(({ count }) => count)).toEqual([9, 11, 11]);
});

test("without the device in the group it is of the site, with it of each device", () => {
  const body = (group: string) => ({
    many: `{ type: event_count, rules: [login], group-by: ${group}, timespan: 5m, condition: { gte: 3 } }`,
  });
  const { refused } = stream();
  const events = ["gw-1", "gw-2", "gw-3", "gw-4"].map((device, at) => refused("root", "203.0.113.9", at * S, device));
  expect(brief(correlating(body("[User]")), events)).toEqual(["many gw-3 x2"]);
  expect(brief(correlating(body("[User, Computer]")), events)).toEqual([]);
  expect(brief(correlating(body("[]")), events)).toEqual(["many gw-3 x2"]);
});

test("different values are counted once each", () => {
  const pipeline = correlating({
    spray: "{ type: value_count, rules: [login], group-by: [SourceIp], timespan: 10m, condition: { field: User, gte: 3 } }",
  });
  const { refused } = stream();
  const users = ["root", "root", "admin", "root", "admin", "pi"];
  expect(
    alertsOf(
      pipeline,
      users.map((user, at) => refused(user, "203.0.113.9", at * S)),
    ),
  ).toMatchObject([
    { rule: "spray", count: 1, summary: '3 different User (root, admin, pi) in "Refused" from 203.0.113.9 within 2 seconds' },
  ]);
});

test("a flood of one value does not push out the others", () => {
  const pipeline = correlating({
    spray: "{ type: value_count, rules: [login], group-by: [SourceIp], timespan: 1h, condition: { field: User, gte: 3 } }",
  });
  const { refused } = stream();
  const flood = Array.from({ length: 5000 }, (_, at) => refused("root", "203.0.113.9", S + at));
  expect(brief(pipeline, [refused("pi", "203.0.113.9", 0), ...flood, refused("admin", "203.0.113.9", 10 * S)])).toEqual(["spray gw-1 x1"]);
});

test("temporal: all rules, in whatever order, each group for itself", () => {
  const of = { all: "{ type: temporal, rules: [a, b, c], group-by: [Computer, User], timespan: 5m }" };
  const { runs } = stream();
  expect(brief(correlating(of), [runs("c", 0), runs("a", S), runs("a", 2 * S), runs("b", 3 * S)])).toEqual(["all gw-1 x1"]);
  expect(brief(correlating(of), [runs("c", 0), runs("a", S, "pi"), runs("b", 3 * S)])).toEqual([]);
  expect(brief(correlating(of), [runs("c", 0), runs("a", 4 * M), runs("b", 6 * M)])).toEqual([]);
});

test("temporal with a number: so many of its rules", () => {
  const { runs } = stream();
  const pipeline = correlating({ two: "{ type: temporal, rules: [a, b, c], group-by: [User], timespan: 5m, condition: { gte: 2 } }" });
  expect(brief(pipeline, [runs("c", 0), runs("c", S), runs("a", 2 * S)])).toEqual(["two gw-1 x1"]);
});

test("temporal_ordered: in this order only, with whatever between", () => {
  const of = { seq: "{ type: temporal_ordered, rules: [a, b, c], group-by: [User], timespan: 5m }" };
  const { runs } = stream();
  expect(alertsOf(correlating(of), [runs("a", 0), runs("c", S), runs("b", 2 * S), runs("a", 3 * S), runs("c", 4 * S)])).toMatchObject([
    { rule: "seq", count: 1, events: 3, summary: '"Runs a", then "Runs b", then "Runs c" for root within 4 seconds' },
  ]);
  expect(brief(correlating(of), [runs("c", 0), runs("b", S), runs("a", 2 * S)])).toEqual([]);
  const flood = Array.from({ length: 3000 }, (_, at) => runs("a", 2 * S + at * 10));
  expect(brief(correlating(of), [runs("a", 0), runs("b", S), ...flood, runs("c", M)])).toEqual(["seq gw-1 x1"]);
});

test("aliases join rules of different log sources", () => {
  const of = {
    both: "{ type: temporal_ordered, rules: [login, a], aliases: { who: { login: User, a: User }, at: { login: Computer, a: Computer } }, group-by: [who, at], timespan: 5m }",
  };
  const { runs, refused } = stream();
  expect(brief(correlating(of), [refused("pi", "203.0.113.9", 0), runs("a", S, "root"), runs("a", 2 * S, "pi")])).toEqual(["both gw-1 x1"]);
});

test("a correlation of a correlation: many refusals, then a program", () => {
  const of = {
    many: "{ type: event_count, rules: [login], group-by: [User], timespan: 1m, condition: { gte: 3 } }",
    after: "{ type: temporal_ordered, rules: [many, a], group-by: [User], timespan: 10m }",
  };
  const { runs, refused } = stream();
  const three = [0, 1, 2].map((s) => refused("pi", "203.0.113.9", s * S));
  expect(brief(correlating(of), [...three.slice(1), runs("a", 3 * S, "pi")])).toEqual([]);
  expect(brief(correlating(of), [...three, runs("a", 3 * S, "pi")])).toEqual(["after gw-1 x1"]);
});

test("a sum is told at once", () => {
  const { runs } = stream();
  const pipeline = correlating({
    sum: "{ type: value_sum, rules: [a], group-by: [User], timespan: 5m, condition: { field: ProcessId, gt: 250 } }",
  });
  expect(alertsOf(pipeline, [runs("a", 0), runs("a", S), runs("a", 2 * S)])).toMatchObject([
    { rule: "sum", count: 1, summary: 'ProcessId of 3 times "Runs a" adds up to 300 for root within 2 seconds' },
  ]);
});

test("thousands are counted in steps of the timespan", () => {
  const { runs } = stream();
  const pipeline = correlating({ much: "{ type: event_count, rules: [a], group-by: [User], timespan: 1h, condition: { gte: 5000 } }" });
  const events = Array.from({ length: 4999 }, (_, at) => runs("a", at * 100));
  expect(brief(pipeline, events)).toEqual([]);
  expect(brief(pipeline, [runs("a", 4999 * 100)])).toEqual(["much gw-1 x1"]);
});

test.each([
  ["fewer than three", "event_count", "{ lt: 3 }", 2, true],
  ["not fewer than three", "event_count", "{ lt: 3 }", 3, false],
  ["just two", "event_count", "{ eq: 2 }", 2, true],
  ["two and one more", "event_count", "{ eq: 2 }", 3, false],
  ["a range", "event_count", "{ gte: 2, lte: 4 }", 4, true],
  ["beyond a range", "event_count", "{ gte: 2, lte: 4 }", 5, false],
  ["an average", "value_avg", "{ field: ProcessId, gte: 100 }", 3, true],
  ["another average", "value_avg", "{ field: ProcessId, lt: 100 }", 3, false],
  ["few different ones", "value_count", "{ field: ProcessId, lt: 2 }", 3, true],
])("what more events could make untrue is judged when its time is over: %s", (_, type, condition, count, expected) => {
  const { runs } = stream();
  const pipeline = correlating({ few: `{ type: ${type}, rules: [a], group-by: [User], timespan: 5m, condition: ${condition} }` });
  const events = Array.from({ length: count }, (_, at) => runs("a", at * S));
  expect(brief(pipeline, events)).toEqual([]);
  // Another user's event, when so much time of the broker has gone by.
  expect(brief(pipeline, [runs("a", 7 * M, "pi")])).toEqual(expected ? ["few gw-1 x1"] : []);
});

test("a share of the values: the program that is one in a hundred", () => {
  const { runs } = stream();
  const pipeline = correlating({
    rare: "{ type: value_percentile, rules: [a, b], group-by: [Computer], timespan: 1h, condition: { field: Image, lte: 1 } }",
  });
  feed(pipeline, [...Array.from({ length: 120 }, (_, at) => runs("a", at * S)), runs("b", 130 * S)]);
  pipeline.end();
  expect(pipeline.take().alerts.map(({ detection }) => detection.summary)).toEqual([
    'Image /bin/b makes up 0.83 % of 121 times "Runs a" or "Runs b" on gw-1 in 1 hour',
  ]);
});

test("late events of a device that was away count in the time in which they happened", () => {
  const of = { site: "{ type: temporal, rules: [a, b], group-by: [User], timespan: 5m }" };
  const { runs } = stream();
  const pipeline = correlating(of);
  feed(pipeline, [runs("a", 0, "root", "gw-1"), runs("a", 8 * M, "root", "gw-1")]);
  const late = runs("b", 2 * M, "root", "gw-2");
  feed(pipeline, [late], { receivedMs: late.timeMs + 7 * M });
  expect(pipeline.take().alerts).toHaveLength(1);
});

test("an event that matches two of the rules is one event", () => {
  const { runs } = stream();
  const pipeline = correlating({ one: "{ type: event_count, rules: [a, b], group-by: [User], timespan: 5m, condition: { gte: 2 } }" });
  const both = runs("a", 0);
  feed(pipeline, [{ ...both, hits: [{ rule: "b-id", version: "1" }] } as SensorEvent]);
  expect(pipeline.take().alerts).toEqual([]);
});
