import { expect, test } from "vitest";
import type { Sighting } from "../store/absences.ts";
import { judgeAbsences, networkOf, OFFLINE_AFTER_MS } from "./absence.ts";
import { blackoutWords } from "./absence-words.ts";
import { lossAlert } from "./loss.ts";

const NOW = 1_800_000_000_000;
const device = (n: number, of: Partial<Sighting> = {}): Sighting => ({
  ...{
    device: `gw-${n}`,
    presence: "online",
    lastSeenMs: NOW,
    how: null,
    goneMs: null,
    address: `10.0.${n % 3}.7`,
    judged: 0,
    blackout: null,
  },
  ...of,
});
const silentFor = (seconds: number, of: Partial<Sighting> = {}): Partial<Sighting> => ({ lastSeenMs: NOW - seconds * 1000, ...of });
const killedFor = (seconds: number): Partial<Sighting> => ({ presence: "offline", how: "killed", goneMs: NOW - seconds * 1000 });
const fleet = (count: number, gone: number, of: Partial<Sighting>) =>
  Array.from({ length: count }, (_, n) => device(n, n < gone ? of : {}));
const judge = (all: readonly Sighting[], hearingSinceMs = 0) => {
  const { blackouts, alone } = judgeAbsences(all, () => hearingSinceMs, NOW);
  return {
    many: blackouts.map(({ members, base }) => `${members.length} of ${base}`),
    alone: alone.map(({ device: of, how }) => `${of} ${how}`),
  };
};

test.each<[string, Sighting[], { many: string[]; alone: string[] }]>([
  ["silent for less than three heartbeats", fleet(9, 1, silentFor(44)), { many: [], alone: [] }],
  ["one that is silent", fleet(9, 1, silentFor(45)), { many: [], alone: ["gw-0 silent"] }],
  [
    "four of nine: too few to be many",
    fleet(9, 4, silentFor(60)),
    { many: [], alone: ["gw-0 silent", "gw-1 silent", "gw-2 silent", "gw-3 silent"] },
  ],
  ["five of nine", fleet(9, 5, silentFor(60)), { many: ["5 of 9"], alone: [] }],
  ["all three of a small site", fleet(3, 3, silentFor(60)), { many: ["3 of 3"], alone: [] }],
  ["both of a site of two", fleet(2, 2, silentFor(60)), { many: [], alone: ["gw-0 silent", "gw-1 silent"] }],
  ["five of 40, here and there", fleet(40, 5, silentFor(60)), { many: [], alone: [0, 1, 2, 3, 4].map((n) => `gw-${n} silent`) }],
  [
    "five of 40, all there are in their network",
    [...fleet(35, 0, {}), ...fleet(5, 5, silentFor(60, { address: "10.9.9.1" }))],
    { many: ["5 of 40"], alone: [] },
  ],
  ["one killed, for whose start there is still time", fleet(9, 1, killedFor(19)), { many: [], alone: [] }],
  ["one killed", fleet(9, 1, killedFor(20)), { many: [], alone: ["gw-0 killed"] }],
  ["200 of 500 killed in one moment", fleet(500, 200, killedFor(20)), { many: ["200 of 500"], alone: [] }],
  [
    "six that fell silent minutes apart",
    Array.from({ length: 6 }, (_, n) => device(n, silentFor(60 + n * 100))),
    { many: [], alone: [5, 4, 3, 2, 1, 0].map((n) => `gw-${n} silent`) },
  ],
  [
    "judged already, or in a blackout",
    [device(0, silentFor(60, { judged: 1 })), device(1, silentFor(60, { blackout: 1 }))],
    { many: [], alone: [] },
  ],
  [
    "six stopped cleanly: an update, not a blackout",
    fleet(6, 6, silentFor(599, { presence: "stopped", how: "stopped" })),
    { many: [], alone: [] },
  ],
])("%s", (_, all, expected) => {
  expect(judge(all)).toEqual(expected);
});

test("one that is due waits for others that are only suspected, but not for ever", () => {
  const others = Array.from({ length: 5 }, (_, n) => device(n + 1, silentFor(25)));
  expect(judge([device(0, silentFor(50)), ...others])).toEqual({ many: [], alone: [] });
  expect(judge([device(0, silentFor(50)), ...others.map((one) => ({ ...one, lastSeenMs: NOW }))])).toEqual({
    many: [],
    alone: ["gw-0 silent"],
  });
  expect(judge([device(0, silentFor(76)), ...others.map((one) => ({ ...one, lastSeenMs: NOW - 31_500 }))])).toEqual({
    many: [],
    alone: ["gw-0 silent"],
  });
});

test("nobody is missed for what the broker could not hear", () => {
  const all = [...fleet(9, 9, silentFor(500)), device(20, killedFor(500))];
  expect(judge(all, NOW - OFFLINE_AFTER_MS + 1)).toEqual({ many: [], alone: [] });
});

test.each([
  ["10.1.2.3", "10.1.2.0/24"],
  ["::ffff:10.1.2.3", "10.1.2.0/24"],
  ["fd77:1::9", "fd77:1:0:0::/64"],
  ["fe80::1%eth0", "fe80:0:0:0::/64"],
  ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
  ["", ""],
])("the network of %s is %s", (address, network) => {
  expect(networkOf(address)).toBe(network);
});

test("500 names do not fit into an alert, and it says how many are left out", () => {
  const members = Array.from({ length: 500 }, (_, n) => ({
    ...{ device: `device-with-a-long-name-${n}`, how: "lost" as const, backMs: n < 3 ? NOW : null, network: n < 400 ? "10.0.0.0/24" : "" },
  }));
  const words = blackoutWords({ members, base: 600, firstMs: NOW, lastMs: NOW + 9000, nowMs: NOW });
  expect(words.length).toBeLessThanOrEqual(1000);
  expect(words).toMatch(
    /^500 of 600 devices .* within 9 s: their power or network is lost\. 400 are in 10\.0\.0\.0\/24\. 3 of 500 are back\. Still away: .* and 4\d\d more\.$/,
  );
});

const news = { hour: 1, caused: 10_000, lost: 0, kernel: 0, shed: 0, evicted: 0, power: 0, unexplained: 0, hits: 0, results: 0, fresh: 0 };
test.each([
  ["a few of many", { lost: 9, kernel: 9 }, "low", /0\.09 %.*9 in the kernel/],
  ["one in a hundred", { lost: 100, shed: 100 }, "medium", /1 %.*100 let go of/],
  ["half of all", { lost: 5000, kernel: 4000, evicted: 1000 }, "high", /50 %.*4000 in the kernel.*; 1000 dropped from its full buffer\./],
  ["one that had a hit", { lost: 1, evicted: 1, hits: 1 }, "high", /1 with hits of rules/],
  [
    "one that nobody explains comes first",
    { lost: 3, kernel: 2, unexplained: 1 },
    "high",
    /: 1 are missing without a report.*; 2 in the kernel/,
  ],
])("loss: %s", (_, changes, severity, words) => {
  const alert = lossAlert("gw-1", { ...news, ...changes });
  expect(alert.severity).toBe(severity);
  expect(alert.summary(changes.lost)).toMatch(words);
});
