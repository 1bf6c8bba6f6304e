import { expect, test } from "vitest";
import { alertsOf, child, connects, exec, feed, pipelineOf, proc, T0, testRules } from "../testing/events.ts";
import { alertScore, bandOf, decay, pairPoints, rarityPoints } from "./score.ts";

const rules = testRules("low low", "low meh", "low third", "medium medium", "high high");
const root = proc(300, "/opt/app/server");

test.each([
  [0, 0],
  [60_000, 0],
  [119_999, 0],
  [120_000, 10],
  [180_000, 20],
])("after %i ms without a hit %i points are gone", (gap, gone) => expect(decay(gap)).toBe(gone));

test.each([
  [1, 25],
  [2, 15],
  [3, 15],
  [4, 8],
  [6, 8],
  [7, 0],
])("the sighting no. %i of a pair adds %i", (ordinal, points) => expect(rarityPoints(ordinal)).toBe(points));

test.each([
  [49, undefined, 24],
  [50, "medium", 25],
  [99, "medium", 49],
  [100, "high", 50],
  [150, "critical", 75],
  [260, "critical", 100],
])("%i points are %s, shown as %i", (points, band, shown) => {
  expect(bandOf(points)).toBe(band);
  expect(alertScore(points)).toBe(shown);
});

/** A process that becomes one program after the other, so that several rules match on it. */
const becomes = (times: readonly number[], names: readonly string[], warm = 0) => {
  const pipeline = pipelineOf(rules, warm);
  feed(
    pipeline,
    times.map((atMs, at) => exec(atMs, proc(412, `/usr/bin/${names[at]}`, { ppid: 300 }))),
  );
  return pipeline.take().alerts.map(({ detection: { rule, count, score, severity } }) => `${rule.id} x${count} ${severity} ${score}`);
};

test("weak signs add up", () => {
  expect(becomes([0, 1], ["low", "meh"])).toEqual([]);
  expect(becomes([0, 1, 2, 3], ["low", "meh", "third", "medium"])).toContain("picket-process-score x1 medium 40");
});

test("a rule counts once a process, however often it matches", () => {
  expect(
    becomes(
      [0, 3, 6, 9, 12, 15, 18].map((s) => s * 1000),
      Array(7).fill("low"),
    ),
  ).toEqual([]);
});

test("what is past fades", () => {
  expect(becomes([0, 1, 119_000], ["medium", "x", "low"])).toContain("picket-process-score x1 medium 25");
  expect(becomes([0, 1, 120_000], ["medium", "x", "low"]).join()).not.toContain("picket-process-score");
});

test("one rule that alerts by itself makes no second alert", () => {
  expect(becomes([0], ["high"])).toEqual(["00000000-0000-4000-8000-000000000004 x1 high 55"]);
});

test("five points a hop to a suspicious ancestor, twenty at most", () => {
  // low + low = 30 on the last process; its parent is plain, its grandparent matched: 10 more. 55 - 15 = 40 without the first connection.
  const suspicious = child(310, "/usr/bin/third", root);
  const plain = child(320, "/usr/bin/plain", suspicious);
  const leaf = (name: string) => child(330, `/usr/bin/${name}`, plain);
  const line = [exec(0, suspicious), exec(1, plain), exec(2, leaf("low")), exec(3, leaf("meh"))];
  const score = (events: typeof line) => {
    const pipeline = pipelineOf(rules, 900);
    feed(pipeline, events);
    return pipeline
      .take()
      .alerts.map(({ detection }) => detection.summary)
      .join();
  };
  expect(score(line)).toBe("");
  const more = exec(4, leaf("medium"));
  expect(score([...line, more])).toContain("reached score 75:");
  expect(score([...line.slice(2), more])).toContain("reached score 65:");
});

test("rarity adds to what matched, and is nothing alone", () => {
  const one = (name: string) => [exec(0, child(412, `/usr/bin/${name}`, root))];
  expect(alertsOf(one("never-seen"), rules)).toEqual([]);
  // low 15 + first sighting 25 = 40; with the first connection of the program 55.
  expect(alertsOf(one("low"), rules)).toEqual([]);
  expect(alertsOf([...one("low"), connects(1, child(412, "/usr/bin/low", root))], rules)).toEqual(["picket-process-score x1"]);
});

test("a pair seen often is not rare, and a program that connected before is not new", () => {
  const often = Array.from({ length: 7 }, (_, at) => exec(at * 3000, child(500 + at, "/usr/bin/low", root)));
  const last = child(600, "/usr/bin/low", root);
  expect(
    alertsOf([...often, connects(21_000, child(499, "/usr/bin/low", root)), exec(22_000, last), connects(23_000, last)], rules),
  ).toEqual([]);
});

test("on a new device everything is rare: nothing counts until it has started enough programs", () => {
  const events = [exec(0, child(412, "/usr/bin/low", root)), connects(1, child(412, "/usr/bin/low", root))];
  const pipeline = pipelineOf(rules, 100);
  feed(pipeline, events);
  expect(pipeline.take().alerts).toEqual([]);
  const warm = pipelineOf(rules, 100);
  warm.seed({ open: [], seen: [{ device: "gw-1", kind: "exec", key: "all", count: 100 }] });
  feed(warm, events);
  expect(warm.take().alerts.map(({ detection }) => detection.rule.id)).toEqual(["picket-process-score"]);
});

test("what the broker remembers is not rare after a restart", () => {
  const pipeline = pipelineOf(rules);
  pipeline.seed({
    open: [],
    seen: [
      { device: "gw-1", kind: "pair", key: "/opt/app/server\n/usr/bin/low", count: 6 },
      { device: "gw-1", kind: "connect", key: "/usr/bin/low", count: 1 },
    ],
  });
  const low = child(412, "/usr/bin/low", root);
  feed(pipeline, [exec(0, low), connects(1, low)]);
  const { alerts, seen } = pipeline.take();
  expect(alerts).toEqual([]);
  expect(seen).toContainEqual({ device: "gw-1", kind: "pair", key: "/opt/app/server\n/usr/bin/low", count: 7 });
  expect(seen).toContainEqual({ device: "gw-1", kind: "connect", key: "/usr/bin/low", count: 2 });
});

test("the silent re-read counts nothing twice", () => {
  const low = child(412, "/usr/bin/low", root);
  const pipeline = pipelineOf(rules);
  pipeline.seed({
    open: [],
    seen: [
      { device: "gw-1", kind: "pair", key: "/opt/app/server\n/usr/bin/low", count: 1 },
      { device: "gw-1", kind: "exec", key: "all", count: 1 },
    ],
  });
  feed(pipeline, [exec(0, low)], { silent: true });
  expect(pipeline.take()).toMatchObject({ alerts: [], seen: [], closed: [] });
  // The exec read again was the first of its pair: 15 + 25 + 15 for the connection.
  feed(pipeline, [connects(1, low)], { receivedMs: T0 + 1 });
  expect(pipeline.take().alerts.map(({ detection }) => detection.summary)[0]).toContain("reached score 55:");
});

test("a device that invents programs gets no rarity and no memory for them", () => {
  const pipeline = pipelineOf(rules);
  for (let at = 0; at < 5000; at++) {
    feed(pipeline, [exec(at * 3000, child(10_000 + at, `/tmp/${at}`, root))]);
    if (at % 1000 === 0) pipeline.take();
  }
  const low = child(9000, "/usr/bin/low", root);
  feed(pipeline, [exec(15_000_000, low), connects(15_000_001, low)]);
  expect(pipeline.take().alerts).toEqual([]);
});

test.each([
  // sighting on this device, devices of the site that have the pair, devices of the site: points
  [1, 1, 1, 25],
  [1, 1, 2, 25],
  [1, 1, 3, 35],
  [2, 1, 3, 25],
  [4, 1, 3, 8],
  [1, 2, 3, 25],
  [1, 3, 3, 0],
  [2, 40, 90, 0],
  [7, 1, 90, 0],
])("sighting no. %i of a pair that %i of %i devices have adds %i %i", (ordinal, on, devices, points) => {
  expect(pairPoints(ordinal, on, devices)).toBe(points);
});

const onSite = (devices: readonly string[], kind: string, key: string) => devices.map((device) => ({ device, kind, key, count: 1 }));
const scoreAfter = (seen: ReturnType<typeof onSite>): string => {
  const pipeline = pipelineOf(rules);
  pipeline.seed({ open: [], seen });
  const low = child(412, "/usr/bin/low", root);
  feed(pipeline, [exec(0, low), connects(1, low)]);
  return pipeline
    .take()
    .alerts.map(({ detection }) => /score (\d+):/.exec(detection.summary)?.[1])
    .join();
};

test.each([
  ["alone on its site: 15, 25 for the pair, 15 for the connection", [], "55"],
  ["two others have the pair: none for it", onSite(["gw-2", "gw-3", "gw-4"], "pair", "/opt/app/server\n/usr/bin/low"), ""],
  ["one other has it", onSite(["gw-2"], "pair", "/opt/app/server\n/usr/bin/low"), "55"],
  ["three devices, none of which has it: 10 more", onSite(["gw-2", "gw-3"], "exec", "all"), "65"],
  ["the program connects elsewhere on the site: none for that", onSite(["gw-2", "gw-3"], "connect", "/usr/bin/low"), ""],
  ["others of the site connect there: none for that", onSite(["gw-2", "gw-3"], "far", "198.51.100:4444"), ""],
])("%s", (_, seen, score) => expect(scoreAfter(seen)).toBe(score));

test("what one device invents makes nothing a habit of the site", () => {
  const pipeline = pipelineOf(rules);
  for (let at = 0; at < 9; at++) feed(pipeline, [exec(at, child(500 + at, "/usr/bin/low", root), { device: "gw-2" })]);
  const low = child(412, "/usr/bin/low", root);
  feed(pipeline, [exec(0, low), connects(1, low)]);
  expect(pipeline.take().alerts.map(({ detection }) => detection.device)).toContain("gw-1");
});
