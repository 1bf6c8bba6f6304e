// Against an evaluator that tries every window of everything it was ever given.
import { seeded } from "@picket/protocol/seeded";
import { expect, test } from "vitest";
import { correlationsOf, stream } from "../testing/correlations.ts";
import { idOf, T0 } from "../testing/events.ts";
import { type At, SigmaCorrelations } from "./correlations.ts";

const T = 60_000;
const bodies = {
  count: "{ type: event_count, rules: [a, b], group-by: [User], timespan: 1m, condition: { gt: 2 } }",
  perDevice: "{ type: event_count, rules: [a], group-by: [User, Computer], timespan: 1m, condition: { gte: 3 } }",
  all: "{ type: temporal, rules: [a, b, c], group-by: [User], timespan: 1m }",
  two: "{ type: temporal, rules: [a, b, c], group-by: [], timespan: 1m, condition: { gte: 2 } }",
  seq: "{ type: temporal_ordered, rules: [a, b, c], group-by: [User], timespan: 1m }",
  sum: "{ type: value_sum, rules: [a, b, c], group-by: [User], timespan: 1m, condition: { field: ProcessId, gte: 400 } }",
};
const inOrderOnly = {
  values: "{ type: value_count, rules: [a, b, c], group-by: [User], timespan: 1m, condition: { field: Image, gte: 3 } }",
};

type One = { readonly name: string; readonly user: string; readonly device: string; readonly timeMs: number };

const groups: Record<string, (of: One) => string> = {
  count: ({ user }) => user,
  perDevice: ({ user, device }) => `${user} ${device}`,
  all: ({ user }) => user,
  two: () => "",
  seq: ({ user }) => user,
  sum: ({ user }) => user,
  values: ({ user }) => user,
};

/** Whether some window of a minute that holds the last one says so. `seen`: in the order in which they came. */
function naive(id: string, seen: readonly One[]): boolean {
  const last = seen.at(-1)!;
  const mine = seen.filter((one) => groups[id]!(one) === groups[id]!(last) && rulesOf(id).includes(one.name));
  if (!rulesOf(id).includes(last.name)) return false;
  if (id === "seq") return chain(mine, last);
  return mine.some(({ timeMs: start }) => {
    if (last.timeMs < start || last.timeMs > start + T) return false;
    const window = mine.filter(({ timeMs }) => timeMs >= start && timeMs <= start + T);
    const names = new Set(window.map(({ name }) => name)).size;
    if (id === "sum") return window.length * 100 >= 400;
    return id === "two" ? names >= 2 : id === "all" || id === "values" ? names === 3 : window.length >= 3;
  });
}

const rulesOf = (id: string): string[] => (id === "count" ? ["a", "b"] : id === "perDevice" ? ["a"] : ["a", "b", "c"]);

/** Of the same time the order is that of their device, and of devices that of their names. */
function chain(mine: readonly One[], last: One): boolean {
  const sorted = mine
    .map((one, at) => ({ one, at }))
    .sort((x, y) => x.one.timeMs - y.one.timeMs || (x.one.device === y.one.device ? x.at - y.at : x.one.device < y.one.device ? -1 : 1))
    .map(({ one }) => one);
  for (const [i, a] of sorted.entries())
    for (const [j, b] of sorted.entries())
      for (const [k, c] of sorted.entries())
        if (i < j && j < k && a.name + b.name + c.name === "abc" && c.timeMs - a.timeMs <= T && [a, b, c].includes(last)) return true;
  return false;
}

function drawn(seed: number, isShuffled: boolean): One[] {
  const random = seeded(seed);
  const pick = <X>(of: readonly X[]): X => of[Math.floor(random() * of.length)]!;
  let atMs = 0;
  const all = Array.from({ length: 45 }, (): One => {
    atMs += Math.floor(random() ** 2 * 40_000);
    return { name: pick(["a", "b", "c"]), user: pick(["root", "pi"]), device: pick(["gw-1", "gw-2", "gw-3"]), timeMs: atMs };
  });
  if (!isShuffled) return all;
  // Each device in its own order; some come late.
  const lateMs: Record<string, number> = { "gw-1": 0, "gw-2": random() * 90_000, "gw-3": random() * 300_000 };
  return all.sort((x, y) => x.timeMs + lateMs[x.device]! - y.timeMs - lateMs[y.device]!);
}

test.each(Array.from({ length: 60 }, (_, seed) => seed))("stream %i: every event that makes a correlation true, and no other", (seed) => {
  const isShuffled = seed % 2 === 1;
  const of = isShuffled ? bodies : { ...bodies, ...inOrderOnly };
  const { correlations, rules, matcher } = correlationsOf(of);
  // Killed after some events: the next one has what was kept, in whatever order.
  const random = seeded(seed + 1000);
  const kept = new Map<string, ReturnType<SigmaCorrelations["changes"]>[number]>();
  const fresh = () => {
    const made = new SigmaCorrelations(correlations, rules, () => true);
    made.seed([...kept.values()].sort((a, b) => (a.group < b.group ? -1 : 1)));
    return made;
  };
  let running = fresh();
  const make = stream();
  const seen: One[] = [];
  for (const one of drawn(seed, isShuffled)) {
    const event = make.runs(one.name, one.timeMs, one.user, one.device);
    const at: At = { id: idOf(event), receivedMs: T0 + one.timeMs, remember: false };
    seen.push(one);
    const fired = running.take(event, matcher.match(event), at).map(({ of }) => of.id);
    expect(fired.toSorted(), `event ${seen.length}`).toEqual(
      Object.keys(of)
        .filter((id) => naive(id, seen))
        .sort(),
    );
    for (const row of running.changes()) {
      const key = `${row.device} ${row.rule} ${row.group}`;
      if (row.body === "") kept.delete(key);
      else kept.set(key, row);
    }
    if (random() < 0.2) running = fresh();
  }
});

test("the streams make what they are to test", () => {
  const told = new Set<string>();
  for (let seed = 0; seed < 20; seed++) {
    const all = drawn(seed, false);
    for (let count = 1; count <= all.length; count++)
      for (const id of Object.keys(groups)) if (naive(id, all.slice(0, count))) told.add(id);
  }
  expect([...told].sort()).toEqual(Object.keys(groups).sort());
});
