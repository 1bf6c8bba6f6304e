import { expect, test } from "vitest";
import { type OwnState, watchOwnUse } from "./own-use.ts";
import type { Strain } from "./shed.ts";

const MIB = 2 ** 20;

function rig() {
  const at = { cpuMs: 0, nowMs: 0, rss: 50 * MIB, after: 50 * MIB, trims: 0 };
  const strains: Strain[] = [];
  const states: OwnState[] = [];
  const own = watchOwnUse({
    limits: { cpuPercent: 20, rssBytes: 96 * MIB },
    cpuMs: () => at.cpuMs,
    rss: () => at.rss,
    nowMs: () => at.nowMs,
    trim: () => {
      at.trims++;
      at.rss = at.after;
    },
    onStrain: (strain) => strains.push(strain),
    onState: (state) => states.push(state),
  });
  /** Ten seconds in which the agent took that share of a core. */
  const pass = (percent: number) => {
    at.nowMs += 10_000;
    at.cpuMs += percent * 100;
    own.look();
    return { strains: strains.splice(0), states: states.splice(0) };
  };
  return { at, pass, capability: own.capability };
}
const nothing = { strains: [], states: [] };

test("an agent within its limits says nothing", () => {
  const { at, pass } = rig();
  for (const percent of [0, 19, 20, 5]) expect(pass(percent)).toEqual(nothing);
  expect(at.trims).toBe(0);
});

test("above its share of a core it lets go of more at each look, then of less when it has been calm for half a minute", () => {
  const { pass } = rig();
  const first = pass(27);
  expect(first.strains).toEqual([1]);
  expect(first.states).toEqual([{ level: "degraded", why: "took 27 % of a core (limit 20 %): lets go of events of files, ends and logs" }]);
  expect(pass(18)).toEqual(nothing); // Below the limit, but not calm: what helps is kept up.
  expect(pass(40)).toMatchObject({
    strains: [2],
    states: [{ level: "degraded", why: expect.stringContaining("all events without hits") }],
  });
  expect(pass(90)).toEqual(nothing); // There is no more to let go of.
  for (const percent of [3, 3, 15, 3, 3]) expect(pass(percent)).toEqual(nothing);
  expect(pass(3)).toMatchObject({ strains: [1], states: [{ level: "degraded" }] });
  for (const percent of [3, 3]) expect(pass(percent)).toEqual(nothing);
  expect(pass(3)).toMatchObject({ strains: [0], states: [{ level: "live", why: expect.stringContaining("lets go of nothing") }] });
  for (const percent of [3, 3, 3]) expect(pass(percent)).toEqual(nothing);
});

test("above its memory it gives back what it can, and says so only when that is not enough", () => {
  const { at, pass } = rig();
  at.rss = 120 * MIB;
  expect(pass(1)).toEqual(nothing);
  expect(at.trims).toBe(1);
  at.rss = at.after = 130 * MIB;
  expect(pass(1)).toEqual({ strains: [], states: [{ level: "degraded", why: "has 130 MiB of memory, limit 96 MiB" }] });
  expect(pass(1)).toEqual(nothing);
  at.after = 60 * MIB;
  expect(pass(1).states).toEqual([{ level: "live", why: "has 60 MiB of memory, limit 96 MiB" }]);
});

test("it is live again when both are", () => {
  const { at, pass } = rig();
  at.rss = at.after = 130 * MIB;
  expect(pass(50).states).toMatchObject([{ level: "degraded", why: expect.stringMatching(/core.*; has 130 MiB/) }]);
  at.rss = 50 * MIB;
  expect(pass(1).states).toMatchObject([{ level: "degraded" }]);
  expect(pass(1)).toEqual(nothing);
  expect(pass(1).states).toMatchObject([{ level: "live" }]);
});

test("the capability says all that holds now, and what to do", () => {
  const { at, pass, capability } = rig();
  expect(capability()).toEqual({ name: "agent", level: "live", why: expect.stringContaining("keeps to 20 % of a core and 96 MiB") });
  pass(50);
  at.rss = at.after = 130 * MIB;
  pass(18);
  expect(capability()).toMatchObject({
    level: "degraded",
    why: expect.stringMatching(/^took 50 %.*; has 130 MiB/),
    todo: expect.stringContaining("own.cpuPercent"),
  });
  at.rss = 50 * MIB;
  pass(18);
  expect(capability().why).not.toContain("MiB");
  for (const percent of [1, 1, 1]) pass(percent);
  expect(capability().level).toBe("live");
});
