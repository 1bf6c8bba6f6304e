import { Detection } from "@picket/protocol/alert";
import type { SensorEvent } from "@picket/protocol/event";
import { builtinRules } from "@picket/rules/builtin";
import { compileRules } from "@picket/rules/engine";
import { expect, test } from "vitest";
import { MAX_GROUPS } from "./alerts.ts";
import { child, connects, event, exec, feed, idOf, pipelineOf, proc, T0, testRules } from "./testing/events.ts";

const rules = testRules("medium medium", "low low");
const SENSOR_OFF = "e1c65d22-e041-52a8-9f08-7a028fcf162b";
const root = proc(300, "/opt/app/server");
const medium = (atMs: number, pid: number, parent = root, more: Partial<SensorEvent> = {}) =>
  exec(atMs, child(pid, "/usr/bin/medium", parent), more);

function after(events: readonly SensorEvent[]): Detection[] {
  const pipeline = pipelineOf(rules, 900);
  feed(pipeline, events);
  return pipeline.take().alerts.map(({ detection }) => Detection.parse(detection));
}

test("an alert says who, what, whence and by whose rule", () => {
  const first = medium(0, 412);
  const [alert] = after([first]);
  expect(alert).toMatchObject({
    device: "gw-1",
    timeMs: T0,
    rule: { title: "medium medium", engine: "sigma", author: "A. Uthor" },
    severity: "medium",
    score: 35,
    attack: { tactics: ["execution"], techniques: ["T1059.004"] },
    events: [idOf(first)],
    summary: "medium (pid 412), started by server, ran: medium",
    count: 1,
    revision: 0,
    tree: [
      { depth: 0, pid: 300, exe: "/opt/app/server", matched: [] },
      { depth: 1, pid: 412, exe: "/usr/bin/medium", matched: ["medium medium"] },
    ],
  });
});

test("the same thing again grows the alert", () => {
  const [alert, ...others] = after([medium(0, 412), medium(1000, 413), medium(599_000, 414)]);
  expect(others).toEqual([]);
  expect(alert).toMatchObject({ count: 3, revision: 2, firstMs: T0, lastMs: T0 + 599_000, timeMs: T0 });
});

test("a process that becomes another program makes no second alert of the same rule", () => {
  const process = child(412, "/usr/bin/medium", root);
  const [alert, ...others] = after([exec(0, process), exec(10, { ...process, exe: "/opt/medium" }), medium(20, 413)]);
  expect(others).toEqual([]);
  expect(alert).toMatchObject({ count: 3, process: { pid: 412, exe: "/usr/bin/medium" } });
});

test("processes of a recording that names none are not one process", () => {
  const unknown = { pid: 0, startTicks: 0, ppid: 0, uid: -1 };
  const alerts = after([1, 2].map((at) => exec(at, { ...child(0, "/usr/bin/medium", proc(0, `/opt/${at}`)), ...unknown })));
  expect(alerts).toHaveLength(2);
});

test.each([
  ["after ten minutes", [medium(0, 412), medium(600_001, 413)]],
  ["started by something else", [medium(0, 412), medium(1, 413, proc(301, "/opt/other"))]],
  ["on another device", [medium(0, 412), medium(1, 413, root, { device: "gw-2" })]],
])("it is another alert %s", (_, events) => {
  const alerts = after(events);
  expect(alerts.map(({ count }) => count)).toEqual([1, 1]);
  expect(new Set(alerts.map(({ id }) => id)).size).toBe(2);
});

test("the same events make the same ids", () => {
  const events = [medium(0, 412), medium(1, 413, proc(301, "/opt/other"))];
  expect(after(events)).toEqual(after(events));
});

test("a hit of the device counts even when the rule is unknown here, once with the local match", () => {
  const login = event("auth.login", 0, { user: "root", method: "password", ok: false }, { hits: [{ rule: "site-x-7", version: "3" }] });
  const known = medium(1, 412, root, { hits: [{ rule: "00000000-0000-4000-8000-000000000000", version: "1" }] });
  const alerts = after([login, known]);
  expect(alerts.map(({ rule, severity, count }) => [rule.id, rule.title, severity, count])).toEqual([
    ["site-x-7", "site-x-7", "medium", 1],
    ["00000000-0000-4000-8000-000000000000", "medium medium", "medium", 1],
  ]);
  expect(alerts[0]!.summary).toBe("login of root by password: refused");
});

test("a rule that does not alert stays silent, hit or match", () => {
  expect(
    after([exec(0, child(412, "/usr/bin/low", root), { hits: [{ rule: "00000000-0000-4000-8000-000000000001", version: "1" }] })]),
  ).toEqual([]);
});

test("the chain's alert tells the story in order and holds all its events", () => {
  const python = child(400, "/usr/bin/python3", root, { argv: ["python3", "app.py"] });
  const bash = child(412, "/usr/bin/bash", python);
  const events = [exec(-1, python), exec(0, bash), connects(2000, bash), exec(3000, child(413, "/bin/sh", bash, { argv: ["sh", "-i"] }))];
  const [alert] = after(events);
  expect(alert).toMatchObject({
    rule: { id: "picket-chain-reverse-shell", engine: "correlation" },
    timeMs: T0,
    lastMs: T0 + 3000,
    severity: "high",
    score: 55,
  });
  expect(alert!.summary).toContain(
    "bash (pid 412) ran bash, then bash (pid 412) connected to 198.51.100.7:4444, then sh (pid 413) ran sh -i.",
  );
  expect(alert!.tree.map(({ depth, pid }) => [depth, pid])).toEqual([
    [0, 300],
    [1, 400],
    [2, 412],
    [3, 413],
  ]);
  expect(alert!.events.toSorted()).toEqual(events.slice(1).map(idOf).toSorted());
  expect(alert!.attack.techniques).toEqual(["T1059", "T1071"]);
});

test("no more than so many alerts grow at once; the rest is counted in one that says so", () => {
  const events = Array.from({ length: MAX_GROUPS + 50 }, (_, at) => medium(at, 1000 + at, proc(500 + at, `/opt/app-${at}`)));
  const alerts = after(events);
  expect(alerts).toHaveLength(MAX_GROUPS + 1);
  expect(alerts.at(-1)).toMatchObject({ rule: { id: "picket-alert-overflow" }, count: 50, severity: "high" });
});

/** Alerts of 205 programs, more than a device may have at once. */
const flood = Array.from({ length: MAX_GROUPS + 5 }, (_, at) => medium(at, 1000 + at, proc(500 + at, `/opt/app-${at}`)));

test("who floods a device with small alerts hides nothing worse behind them, and what was too much is as bad as the worst of it", () => {
  const bad = (at: number, name: string) => exec(1000 + at, child(3000 + at, `/usr/bin/${name}`, proc(9000 + at, `/opt/bad-${at}`)));
  const pipeline = pipelineOf(testRules("medium medium", "high high", "critical critical"), 900);
  feed(pipeline, [...flood, ...Array.from({ length: 30 }, (_, at) => bad(at, "high")), bad(40, "critical")]);
  const alerts = pipeline.take().alerts.map(({ detection }) => detection);
  const bySeverity = (of: Detection["severity"]) =>
    alerts.filter(({ severity, rule }) => severity === of && rule.engine === "sigma").length;
  expect([bySeverity("medium"), bySeverity("high"), bySeverity("critical")]).toEqual([200, 19, 1]);
  expect(alerts.find(({ rule }) => rule.id === "picket-alert-overflow")).toMatchObject({ severity: "high", count: 16 });
  feed(
    pipeline,
    Array.from({ length: 40 }, (_, at) => bad(100 + at, "critical")),
  );
  const [overflow, ...others] = pipeline.take().alerts.filter(({ detection }) => detection.rule.id === "picket-alert-overflow");
  expect(others).toEqual([]);
  expect(overflow!.detection).toMatchObject({
    severity: "critical",
    summary: expect.stringContaining("The worst of it: critical critical"),
  });
});

test("a sensor that was switched off is told however many alerts there are, and however often a device says it", () => {
  const rules = [...builtinRules(), ...testRules("medium medium").rules];
  const off = (at: number, collector: string) => event("sensor.state", at, { collector, level: "off", why: "asked" });
  const told = (events: readonly SensorEvent[]) => {
    const pipeline = pipelineOf({ rules, matcher: compileRules(rules) }, 900);
    feed(pipeline, events);
    return pipeline.take().alerts.some(({ detection }) => detection.rule.id === SENSOR_OFF && detection.summary.includes("exec"));
  };
  expect(told([...flood, off(1000, "exec")])).toBe(true);
  // A rule that matches everything is left out; not this one.
  expect(told([...Array.from({ length: 100 }, (_, at) => off(at, `c${at % 12}`)), off(2000, "exec")])).toBe(true);
});

test("a device does not speak in the names of what the site decides", () => {
  const pipeline = pipelineOf(undefined, 900);
  const ids = ["picket-alert-overflow", "picket-broker-killed", "picket-process-score"];
  // Every third only: a rule that matches everything would be left out.
  const events = Array.from({ length: 3000 }, (_, at) =>
    exec(at * 60, proc(1000 + at, `/opt/${at}`), at % 3 === 0 ? { hits: [{ rule: ids[at % 9 ? 0 : 1]!, version: "1" }] } : {}),
  );
  feed(pipeline, events);
  const alerts = pipeline.take().alerts.map(({ detection }) => detection);
  expect(alerts.length).toBeLessThanOrEqual(MAX_GROUPS + 1);
  const engines = new Set(alerts.filter(({ rule }) => rule.engine === "sigma").map(({ rule }) => rule.id));
  expect(engines).toEqual(new Set(["reported:picket-alert-overflow", "reported:picket-broker-killed"]));
});

test.each([
  ["escape sequences and newlines", "\u001B[8m\nx\u009B31m"],
  ["half a surrogate", "\uD800"],
  ["four thousand letters", "x".repeat(4096)],
  ["line separators", "a\u2028b"],
])("hostile text: %s", (_, text) => {
  const process = child(412, "/usr/bin/medium", proc(300, `/tmp/${text}`.slice(0, 4096), { argv: [text] }), { argv: Array(32).fill(text) });
  const [alert] = after([exec(0, process, { hits: [{ rule: text.slice(0, 128), version: "" }] })]);
  expect(alert!.summary).not.toMatch(/[\p{Control}\u2028]/u);
  expect(alert!.summary.length).toBeLessThanOrEqual(1000);
  expect(alert!.summary.isWellFormed()).toBe(true);
  expect(JSON.stringify(alert).length).toBeLessThan(30_000);
});
