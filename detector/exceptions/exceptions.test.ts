import { eventTypes, type SensorEvent } from "@picket/protocol/event";
import {
  ExceptionRequest,
  type HeldException,
  isProtectedRule,
  proposalOf,
  protectedEvents,
  whatIsTooWide,
} from "@picket/protocol/exception";
import { seeded } from "@picket/protocol/seeded";
import { builtinRules } from "@picket/rules/builtin";
import { conditionOf } from "@picket/rules/where";
import { describe, expect, test } from "vitest";
import { createPipeline } from "../pipeline.ts";
import { BOOT, child, connects, event, exec, idOf, opens, proc, T0, testRules } from "../testing/events.ts";
import { Exceptions } from "./exceptions.ts";

const cron = proc(10, "/usr/sbin/cron");
const tar = (pid: number, more = {}) => child(pid, "/usr/bin/tar", cron, { argv: ["tar", "czf", "/backup/a.tgz"], user: "root", ...more });
const at = (offset: number, receivedMs = T0) => ({ offset, receivedMs, silent: false });
const held = (more: Partial<HeldException> = {}): HeldException => ({
  ...{ id: 1, rule: "r-1", where: {}, devices: [], expiresMs: T0 + 1e9, from: 0, end: null, ...more },
});
const rule = { id: "r-1", title: "t", level: "medium", attack: { tactics: [], techniques: [] }, score: 35, alerts: true } as const;
const fail = (_: unknown, why: string) => {
  throw new Error(why);
};

function hides(exception: Partial<HeldException>, of: SensorEvent, where = at(5), engine: "sigma" | "yara" | "onnx" = "sigma"): boolean {
  const exceptions = new Exceptions();
  exceptions.put([held(exception)], fail);
  return exceptions.hides("r-1", engine, of, where);
}

describe("an exception", () => {
  const one = exec(0, tar(11));
  test.each<[string, Partial<HeldException>, boolean]>([
    ["holds for its program", { where: { Image: ["/usr/bin/tar"] } }, true],
    ["holds for no other program", { where: { Image: ["/usr/bin/ta"] } }, false],
    ["is case-sensitive", { where: { Image: ["/usr/bin/TAR"] } }, false],
    ["needs all its conditions", { where: { Image: ["/usr/bin/tar"], ParentImage: ["/usr/bin/bash"] } }, false],
    ["takes any of the values of one", { where: { Image: ["/bin/x", "/usr/bin/tar"] } }, true],
    ["needs all of them with |all", { where: { "CommandLine|contains|all": ["czf", "/nowhere"] } }, false],
    ["takes wildcards", { where: { Image: ["/usr/*/tar"] } }, true],
    ["takes an escaped wildcard as it is", { where: { Image: ["/usr/\\*/tar"] } }, false],
    ["knows beginnings", { where: { "CommandLine|startswith": ["tar czf"] } }, true],
    ["asks nothing of a field the event does not have", { where: { DestinationIp: ["*"] } }, false],
    ["holds on its devices", { devices: ["gw-1"] }, true],
    ["holds on no other device", { devices: ["gw-2"] }, false],
    ["holds from its offset on", { where: { Image: ["/usr/bin/tar"] }, from: 6 }, false],
    ["ends at its end", { where: { Image: ["/usr/bin/tar"] }, end: 5 }, false],
    ["holds until its end", { where: { Image: ["/usr/bin/tar"] }, end: 6 }, true],
    ["expires by the time of receipt", { where: { Image: ["/usr/bin/tar"] }, expiresMs: T0 }, false],
    ["is for its rule only", { rule: "r-2", where: { Image: ["/usr/bin/tar"] } }, false],
    ["may be for an engine", { rule: "engine:sigma", where: { Image: ["/usr/bin/tar"] } }, true],
    ["is not for another engine", { rule: "engine:yara", where: { Image: ["/usr/bin/tar"] } }, false],
    ["may be for any rule", { rule: "*", where: { Image: ["/usr/bin/tar"] } }, true],
  ])("%s", (_, exception, expected) => {
    expect(hides(exception, one)).toBe(expected);
  });

  test("knows networks and ports", () => {
    const connection = connects(0, tar(12), "198.51.100.7", 4444);
    expect(hides({ where: { "DestinationIp|cidr": ["198.51.100.0/24"], DestinationPort: ["4444"] } }, connection)).toBe(true);
    expect(hides({ where: { "DestinationIp|cidr": ["198.51.101.0/24"] } }, connection)).toBe(false);
  });

  test("never hides what Picket says of itself", () => {
    const wide = { rule: "*", where: {} };
    const exceptions = new Exceptions();
    exceptions.put([held({ ...wide, where: { Computer: ["gw-1"] } })], fail);
    expect(exceptions.hides("r-1", "sigma", one, at(5))).toBe(true);
    const off = event("sensor.state", 0, { collector: "exec", level: "off", why: "stopped" });
    expect(exceptions.hides("r-1", "sigma", off, at(5))).toBe(false);
    expect(exceptions.hides("picket-alert-overflow", "correlation", one, at(5))).toBe(false);
  });

  test("that cannot be read hides nothing, and says so", () => {
    const problems: string[] = [];
    const exceptions = new Exceptions();
    exceptions.put(
      [held({ where: { Nonsense: ["x"] } }), held({ id: 2, where: { "DestinationIp|cidr": ["nowhere"] } }), held({ id: 3, rule: "*" })],
      (of, why) => problems.push(`${of.id} ${why}`),
    );
    expect(exceptions.hides("r-1", "sigma", one, at(5))).toBe(false);
    expect(problems).toEqual([
      expect.stringContaining("1 Nonsense: no event has a field Nonsense"),
      expect.stringContaining("2 "),
      expect.stringContaining("3 "),
    ]);
  });
});

test("the rules that cannot be excepted by id are those that look at what Picket says of itself", () => {
  const own = builtinRules().filter(({ detection }) => detection.events.some((type) => protectedEvents.has(type)));
  expect(own.length).toBeGreaterThan(0);
  expect(own.filter(({ id }) => !isProtectedRule(id)).map(({ title }) => title)).toEqual([]);
});

/** What a condition means, written again as plainly as can be. */
function naive(where: Record<string, string[]>, process: ReturnType<typeof proc>): boolean {
  const fields: Record<string, string | undefined> = {
    Image: process.exe,
    CommandLine: process.argv.join(" "),
    ParentImage: process.parent?.exe,
    User: process.user,
  };
  return Object.entries(where).every(([key, values]) => {
    const [field = "", how] = key.split("|");
    const text = fields[field];
    if (text === undefined) return false;
    return values.some((value) =>
      how === "contains"
        ? text.includes(value)
        : how === "startswith"
          ? text.startsWith(value)
          : how === "endswith"
            ? text.endsWith(value)
            : text === value,
    );
  });
}

test("an exception never hides anything outside of its conditions, devices and time", () => {
  const random = seeded(61);
  const pick = <T>(of: readonly T[]): T => of[Math.floor(random() * of.length)]!;
  const exes = ["/usr/bin/tar", "/usr/bin/TAR", "/usr/bin/tarx", "/tmp/tar", "/bin/sh"];
  const lines = ["tar czf a", "tar xf a", "sh -c tar", ""];
  const users = ["root", "www", undefined];
  let hidden = 0;
  for (let round = 0; round < 4000; round++) {
    const where: Record<string, string[]> = {};
    for (const [key, values] of [
      [pick(["Image", "Image|endswith", "Image|startswith"]), exes],
      [pick(["CommandLine", "CommandLine|contains"]), ["tar czf a", "tar", "czf"]],
      ["ParentImage", exes],
      ["User", ["root", "www"]],
    ] as const)
      if (random() < 0.4) where[key] = [pick(values), ...(random() < 0.3 ? [pick(values)] : [])];
    const exception = held({
      where,
      devices: random() < 0.5 ? [pick(["gw-1", "gw-2"])] : [],
      from: pick([0, 5, 6]),
      end: pick([null, 5, 6]),
      expiresMs: pick([T0, T0 + 1]),
    });
    const user = pick(users);
    const process = child(1, pick(exes), proc(2, pick(exes)), { argv: pick(lines).split(" "), ...(user ? { user } : {}), uid: 33 });
    const one = exec(0, process, { device: pick(["gw-1", "gw-2"]) });
    const expected =
      naive(where, process) &&
      (exception.devices.length === 0 || exception.devices.includes(one.device)) &&
      exception.from <= 5 &&
      (exception.end === null || exception.end > 5) &&
      exception.expiresMs > T0;
    expect(hides(exception, one), JSON.stringify({ exception, process })).toBe(expected);
    if (expected) hidden++;
  }
  expect(hidden).toBeGreaterThan(40);
});

describe("in the pipeline", () => {
  const { rules, matcher } = testRules("medium tar", "high nc");
  const [tarRule] = rules;
  const run = (exceptions: readonly HeldException[], events: readonly SensorEvent[]) => {
    const pipeline = createPipeline({ site: "lab", rules, matcher, warmUpExecs: 0 });
    pipeline.exceptions.put(exceptions, fail);
    for (const one of events) pipeline.handle(one, { id: idOf(one), boot: BOOT, offset: 5, receivedMs: one.timeMs, silent: false });
    return {
      alerts: pipeline.take().alerts.map(({ detection }) => `${detection.rule.id} x${detection.count}`),
      uses: pipeline.exceptions.take(),
    };
  };
  const only = held({ rule: tarRule!.id, where: { ParentImage: ["/usr/sbin/cron"] } });

  test("what is excepted makes no alert, and is counted; the same by somebody else alerts", () => {
    const byCron = [0, 1, 2].map((nth) => exec(nth, tar(20 + nth)));
    expect(run([only], byCron)).toEqual({ alerts: [], uses: [{ id: 1, count: 3, lastMs: T0 + 2 }] });
    const byShell = exec(5, child(30, "/usr/bin/tar", proc(29, "/bin/bash")));
    expect(run([only], [...byCron, byShell]).alerts).toEqual([`${tarRule!.id} x1`]);
  });

  test("what a device reports is excepted like what is found here", () => {
    const hit = exec(0, tar(40), { hits: [{ rule: "on-device", version: "1" }] });
    const mine = held({ rule: "on-device", where: { Image: ["/usr/bin/tar"] } });
    expect(run([only], [hit]).alerts).toEqual(["on-device x1"]);
    expect(run([only, { ...mine, id: 2 }], [hit]).alerts).toEqual([]);
  });

  test("it adds nothing to the score of its process, and a sequence is excepted by the process it is about", () => {
    const shell = child(50, "/bin/bash", proc(49, "/usr/sbin/nginx"));
    const chain = [exec(0, shell), connects(100, shell), exec(200, child(51, "/bin/sh", shell))];
    const before = run([], chain).alerts;
    expect(before).toEqual(["picket-chain-reverse-shell x1"]);
    const on = (where: HeldException["where"]) => run([held({ rule: "picket-chain-reverse-shell", where })], chain).alerts;
    expect(on({ Image: ["/bin/bash"] })).toEqual([]);
    expect(on({ Image: ["/bin/zsh"] })).toEqual(before);
  });

  test("findings of other engines", () => {
    const pipeline = createPipeline({ site: "lab", rules, matcher, warmUpExecs: 0 });
    pipeline.exceptions.put([held({ rule: "r-1", where: { Image: ["/usr/bin/vi"] } })], fail);
    const vi = exec(0, proc(60, "/usr/bin/vi"));
    const vim = exec(0, proc(61, "/usr/bin/vim"));
    for (const one of [vi, vim])
      pipeline.handle(one, { id: idOf(one), boot: BOOT, offset: 5, receivedMs: T0, silent: false }, [
        { engine: "onnx", rule, summary: "odd" },
      ]);
    expect(pipeline.take().alerts.map(({ detection }) => detection.process?.exe)).toEqual(["/usr/bin/vim"]);
  });

  test("a thousand identical events are one alert that counts a thousand; after ten minutes another one", () => {
    const events = Array.from({ length: 1000 }, (_, nth) => exec(nth * 10, tar(1000 + nth)));
    expect(run([], events).alerts).toEqual([`${tarRule!.id} x1000`]);
    const later = exec(11 * 60_000, tar(5000));
    expect(run([], [...events, later]).alerts).toEqual([`${tarRule!.id} x1000`, `${tarRule!.id} x1`]);
  });
});

describe("what an operator may ask for", () => {
  const ask = (change: object) =>
    ExceptionRequest.safeParse({ rule: "r-1", where: { Image: ["/usr/bin/tar"] }, reason: "backup", ...change });
  test("a month, when nobody says otherwise", () => {
    expect(ask({}).data?.ttlS).toBe(30 * 86_400);
  });
  test.each<[string, object, RegExp]>([
    ["no reason", { reason: " " }, /reason|>=1|Too small/i],
    ["for ever", { ttlS: 366 * 86_400 }, /Too big/],
    ["nothing at all", { where: {} }, /at least one condition/],
    ["any rule without devices", { rule: "*" }, /names 1 to 10 devices/],
    ["an engine on many devices", { rule: "engine:sigma", devices: Array.from({ length: 11 }, (_, nth) => `d-${nth}`) }, /1 to 10 devices/],
    ["any rule with wildcards", { rule: "*", devices: ["d"], where: { Image: ["/usr/*"], User: ["root"] } }, /two conditions without/],
    ["any rule by one condition", { rule: "*", devices: ["d"] }, /two conditions without/],
    ["an engine that is none", { rule: "engine:broker", devices: ["d"] }, /an engine is/],
    ["half a rule", { rule: "picket-*" }, /whole id/],
    ["a rule of the broker", { rule: "picket-broker-loss" }, /cannot be excepted/],
    ["a forged command", { rule: "783d8d46-e2df-5a88-af4f-0adecefaa115" }, /cannot be excepted/],
    ["a star", { where: { Image: ["*"] } }, /nearly anything/],
    ["a letter anywhere", { where: { "CommandLine|contains": ["a"] } }, /nearly anything/],
    ["a regular expression", { where: { "CommandLine|re": ["(a+)+$"] } }, /regular expressions are not taken/],
    ["a modifier that is none", { where: { "Image|like": ["/usr"] } }, /a condition is a field/],
    ["a field with a space", { where: { "Image ": ["/usr"] } }, /a condition is a field/],
    ["no value", { where: { Image: [] } }, /Too small/],
    ["eleven conditions", { where: Object.fromEntries(Array.from({ length: 11 }, (_, nth) => [`F${nth}`, ["abc"]])) }, /at most 10/],
    ["twenty-one values", { where: { Image: Array.from({ length: 21 }, (_, nth) => `/bin/${nth}`) } }, /Too big/],
    ["more text than an exception has", { where: { Image: Array.from({ length: 20 }, () => "x".repeat(1000)) } }, /longer than 8192/],
    ["a device that is no name", { devices: ["../x"] }, /inner hyphens/],
  ])("not %s", (_, change, words) => {
    const asked = ask(change);
    expect(asked.success).toBe(false);
    expect(JSON.stringify(asked.error?.issues)).toMatch(words);
  });
  test.each(["__proto__", "constructor", "toString"])("a field called %s is none", (name) => {
    expect(() => conditionOf(JSON.parse(`{"${name}":["abc"]}`))).toThrow(`no event has a field ${name}`);
  });
});

describe("a proposal", () => {
  const alertOf = (process: ReturnType<typeof proc> | undefined, id = "r-1") => ({
    ...{ rule: { id, title: "t", engine: "sigma" as const }, device: "gw-1" },
    ...(process ? { process } : {}),
  });
  test.each([
    ["a program", tar(1), ["Image", "ParentImage"]],
    [
      "an interpreter: what it runs, too",
      child(1, "/bin/bash", cron, { argv: ["bash", "-c", "echo *"] }),
      ["Image", "ParentImage", "CommandLine"],
    ],
    ["a program whose parent is not known", proc(1, "/usr/bin/tar"), ["Image"]],
  ])("of %s", (_, process, keys) => {
    const proposal = proposalOf(alertOf(process))!;
    expect(Object.keys(proposal.where)).toEqual(keys);
    expect(proposal.devices).toEqual(["gw-1"]);
    expect(whatIsTooWide(proposal)).toBeUndefined();
    expect(hides({ where: proposal.where, devices: proposal.devices }, exec(0, process))).toBe(true);
    expect(hides({ where: proposal.where, devices: proposal.devices }, exec(0, { ...process, exe: `${process.exe}2` }))).toBe(false);
  });
  test("of names with wildcards and backslashes means these names only", () => {
    const odd = child(1, "/tmp/a*b?c\\d", cron);
    const { where } = proposalOf(alertOf(odd))!;
    expect(hides({ where }, exec(0, odd))).toBe(true);
    expect(hides({ where }, exec(0, { ...odd, exe: "/tmp/aXbYc\\d" }))).toBe(false);
  });
  test("of what Picket says of itself there is none", () => {
    expect(proposalOf(alertOf(undefined, "picket-broker-offline"))).toBeUndefined();
  });
});

test("every type of event can be asked, whatever the conditions", () => {
  const exceptions = new Exceptions();
  exceptions.put([held({ where: { Image: ["/bin/sh"], TargetFilename: ["/x"], DestinationIp: ["1"] } })], fail);
  for (const type of eventTypes) {
    const blank = { v: 1, device: "gw-1", epoch: "abcdefgh", seq: 0, timeMs: 0, type, body: {} } as unknown as SensorEvent;
    if (type.startsWith("process.") || type.startsWith("file.") || type.startsWith("net.")) continue;
    expect(exceptions.hides("r-1", "sigma", blank, at(5))).toBe(false);
  }
  expect(exceptions.hides("r-1", "sigma", opens(0, tar(1), "/x"), at(5))).toBe(false);
});
