import { Detection } from "@picket/protocol/alert";
import type { SensorEvent } from "@picket/protocol/event";
import { expect, test } from "vitest";
import { MAX_GROUPS } from "./alerts.ts";
import { child, connects, event, exec, feed, idOf, pipelineOf, proc, T0, testRules } from "./testing/events.ts";

const rules = testRules("medium medium", "low low");
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
