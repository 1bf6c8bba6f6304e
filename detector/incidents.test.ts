// Which alerts become one incident, and what its story says.
import type { SensorEvent } from "@picket/protocol/event";
import { LONGEST_MS, MAX_HANDLES, MAX_PROCESSES, MAX_SENTENCES, OpenIncident, QUIET_MS } from "@picket/protocol/incident";
import { expect, test } from "vitest";
import { BOOT, child, connects, event, exec, feed, idOf, pipelineOf, proc, testRules } from "./testing/events.ts";

const rules = testRules("high bad", "medium odd", "high x");
const sshd = proc(50, "/usr/sbin/sshd");
const bash = (pid: number) => child(pid, "/usr/bin/bash", sshd, { user: "pi", uid: 1000 });

function told(events: readonly SensorEvent[]) {
  const pipeline = pipelineOf(rules);
  feed(pipeline, events);
  const { alerts, incidents } = pipeline.take();
  return { of: alerts.map(({ detection }) => detection.incident), incidents, pipeline };
}

test("alerts of one session are one incident, those of another session of the device another, though one of them counts up what was seen in the first", () => {
  const [one, two] = [bash(100), bash(200)];
  const { of, incidents } = told([
    exec(0, one),
    exec(1, two),
    exec(10, child(101, "/usr/bin/bad", one)),
    exec(20, child(201, "/usr/bin/bad", two)),
    exec(30, child(102, "/usr/bin/odd", one)),
    exec(40, child(202, "/usr/bin/x", two)),
  ]);
  expect(incidents.map(({ open }) => open.processes.map(({ pid }) => pid).includes(200))).toEqual([false, true]);
  expect(of).toEqual([of[0], of[0], of[2]]);
  expect(of[2]).not.toBe(of[0]);
});

test("the story says who started whom, and what each did", () => {
  const shell = bash(100);
  const curl = child(101, "/usr/bin/curl", shell);
  const bad = child(102, "/tmp/x", shell, { argv: ["/tmp/x", "-q"] });
  const { incidents } = told([
    exec(0, shell),
    exec(5, curl),
    event("file.create", 6, { process: curl, file: { path: "/tmp/x" } }),
    connects(7, curl, "203.0.113.9", 80),
    exec(10, bad),
    exec(11, child(103, "/usr/bin/id", bad)),
    connects(12, bad, "198.51.100.4", 4444),
  ]);
  expect(incidents).toHaveLength(1);
  const story = incidents[0]!.story.join(" ");
  expect(story).toMatch(/^sshd \(pid 50\) started bash \(pid 100\), which started curl \(pid 101\), which .*wrote \/tmp\/x/);
  expect(story).toContain('bash started /tmp/x (pid 102, "/tmp/x -q"), which connected to 198.51.100.4:4444 and ran id.');
  expect(incidents[0]!.tree.map(({ depth, pid }) => [depth, pid])).toEqual([
    [0, 50],
    [1, 100],
    [2, 101],
    [2, 102],
    [3, 103],
  ]);
});

test("the story begins with what alerts are about; what else its session did comes last, and a command whose deed says it is left out", () => {
  const runner = child(100, "/srv/tool", sshd);
  const other = child(101, "/srv/tool", runner);
  const bad = child(102, "/usr/bin/bad", runner, { argv: ["bad", "-o", "/tmp/y"] });
  const { incidents } = told([
    exec(0, runner),
    connects(1, runner, "203.0.113.9", 443),
    exec(2, other),
    connects(3, other, "203.0.113.8", 443),
    exec(10, bad),
    event("file.create", 11, { process: bad, file: { path: "/tmp/y" } }),
  ]);
  expect(incidents[0]!.story).toEqual([
    "sshd (pid 50) started /srv/tool (pid 100), which started bad (pid 102), which wrote /tmp/y.",
    "Beside it, tool connected to 203.0.113.9:443.",
    "Beside it, tool started tool (pid 101), which connected to 203.0.113.8:443.",
  ]);
});

test("half an hour without an alert ends an incident, a day ends it in any case", () => {
  const shell = bash(100);
  const at = (ms: number, pid: number) =>
    exec(ms, child(pid, "/usr/bin/bad", shell, { parent: { pid: 100, startTicks: 1000, exe: "/usr/bin/bash" } }));
  expect(new Set(told([at(0, 101), at(QUIET_MS, 102)]).of).size).toBe(1);
  expect(new Set(told([at(0, 101), at(QUIET_MS + 1, 102)]).of).size).toBe(2);
  const busy = Array.from({ length: 60 }, (_, n) => at((n * LONGEST_MS) / 50, 101 + n));
  expect(new Set(told(busy).of).size).toBe(2);
});

test("alerts about logins join by address or user, and nothing else on the device joins them", () => {
  const login = (ms: number, user: string, remoteIp: string) =>
    event("auth.login", ms, { user, remoteIp, method: "password", ok: false }, { hits: [{ rule: "local-login", version: "1" }] });
  const usb = event("device.usb", 40, { vendor: "a", product: "b", action: "add" }, { hits: [{ rule: "local-usb", version: "1" }] });
  const { of } = told([
    login(0, "pi", "192.0.2.1"),
    login(10, "root", "192.0.2.1"),
    login(20, "admin", "192.0.2.9"),
    usb,
    exec(50, proc(9, "/usr/bin/bad")),
  ]);
  expect(of[0]).toBe(of[1]);
  expect(new Set(of).size).toBe(4);
});

test("a session of a user who was let in from an attacker's address belongs to the attack", () => {
  const refused = event(
    "auth.login",
    0,
    { user: "pi", remoteIp: "192.0.2.1", method: "password", ok: false },
    { hits: [{ rule: "local-login", version: "1" }] },
  );
  const accepted = event("auth.login", 10, { user: "pi", remoteIp: "192.0.2.1", method: "password", ok: true });
  const inside = child(101, "/usr/bin/bad", bash(100), { user: "pi" });
  const session = [exec(20, bash(100)), exec(30, inside)];
  expect(new Set(told([refused, accepted, ...session]).of).size).toBe(1);
  expect(new Set(told([refused, ...session]).of).size).toBe(2);
});

test("an alert that overtook what ties it to others finds them when that has come", () => {
  const shell = bash(100);
  const pipeline = pipelineOf(rules);
  const late = child(300, "/usr/bin/bad", child(200, "/usr/bin/sh", shell));
  const ahead = exec(30, late);
  const arrival = (of: SensorEvent) => ({ id: idOf(of), boot: BOOT, receivedMs: of.timeMs, silent: false });
  feed(pipeline, [exec(0, shell), exec(5, child(101, "/usr/bin/odd", shell))]);
  const judged = pipeline.judgeAhead({ event: ahead, arrival: arrival(ahead) });
  expect(pipeline.take().incidents).toHaveLength(2);
  feed(pipeline, [exec(20, child(200, "/usr/bin/sh", shell))]);
  pipeline.correlate(judged, { receivedMs: ahead.timeMs, silent: false });
  const { incidents } = pipeline.take();
  expect(incidents).toHaveLength(1);
  expect(incidents[0]!.open.merged).toHaveLength(1);
});

test("whatever a session does, an incident stays bounded, and what it says is clean", () => {
  const shell = bash(100);
  const events: SensorEvent[] = [exec(0, shell)];
  for (let n = 0; n < 300; n++) {
    const process = child(1000 + n, n % 3 === 0 ? "/usr/bin/bad" : `/opt/${n}\u001b[8m${"x".repeat(500)}`, shell, {
      argv: ["a\nb", "y".repeat(9000)],
    });
    events.push(exec(10 + n, process), connects(11 + n, process, "198.51.100.7", 1000 + n));
  }
  const { incidents } = told(events);
  expect(incidents).toHaveLength(1);
  const { open, story } = incidents[0]!;
  expect(OpenIncident.safeParse(open).success).toBe(true);
  expect(open.processes.length).toBeLessThanOrEqual(MAX_PROCESSES);
  expect(open.handles.length).toBeLessThanOrEqual(MAX_HANDLES);
  expect(story.length).toBeLessThanOrEqual(MAX_SENTENCES + 1);
  expect(story.join("")).not.toMatch(/\p{Control}/u);
});
