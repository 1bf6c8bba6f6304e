import type { Detection } from "@picket/protocol/alert";
import type { IncidentReport } from "@picket/protocol/incident";
import { uuid5 } from "@picket/protocol/uuid5";
import { expect, onTestFinished, test } from "vitest";
import { detection } from "../testing/samples.ts";
import { getAlert, judgeAlert, trimAlerts, upsertAlert } from "./alerts.ts";
import { judgeIncident, readIncident, tellIncidents } from "./incident-life.ts";
import { incidentCounts, listIncidents, openIncidents, saveReports, trimIncidents } from "./incidents.ts";
import { openStore } from "./schema.ts";
import { type SinkMessage, SinkQueue } from "./sink-queue.ts";

const SITE = "dock";
const A = uuid5("incident", "a");
const B = uuid5("incident", "b");
const SENSOR_OFF = "e1c65d22-e041-52a8-9f08-7a028fcf162b";
const mira = { operator: "mira", nowMs: 50 };

const report = (id: string, more: Partial<IncidentReport["open"]> = {}, marks: string[] = []): IncidentReport => ({
  open: { id, device: "gw-014", beganMs: 10, seenMs: 10, handles: ["p 1:1"], processes: [], deeds: [], merged: [], ...more },
  story: [`story of ${id.slice(0, 4)}`],
  tree: [],
  marks,
});

function site() {
  const store = openStore(":memory:");
  onTestFinished(() => store[Symbol.dispose]());
  const put = (of: Partial<Detection>, nowMs = 10) => {
    const made = detection(of);
    store.commitNow(() => upsertAlert(store, made, "g", nowMs));
    return made;
  };
  const commit = (...reports: IncidentReport[]) => store.commitNow(() => saveReports(store, reports, 0, 20));
  const read = (id = A) => readIncident(store, SITE, id)!;
  const judge = (judgement: Parameters<typeof judgeIncident>[3], id = A) => judgeIncident(store, SITE, id, judgement, mira)!;
  return { store, put, commit, read, judge };
}

test("an incident adds up its alerts: the worst of each, tactics in the order of an attack, the most telling title", () => {
  const { store, put, commit, read } = site();
  const medium = { severity: "medium", score: 30, attack: { tactics: ["exfiltration"], techniques: ["T1041"] } } as const;
  put({ ...medium, attack: { tactics: ["exfiltration"], techniques: ["T1041"] }, incident: A, count: 4, firstMs: 5, lastMs: 9, timeMs: 5 });
  const chain = { id: "picket-chain-reverse-shell", title: "Reverse shell", engine: "correlation" } as const;
  put({ severity: "critical", score: 80, rule: { ...chain }, attack: { tactics: ["execution"], techniques: ["T1059"] }, incident: A });
  put({ severity: "critical", score: 90, incident: A, attack: { tactics: ["persistence"], techniques: ["T1053", "T1059"] } });
  commit(report(A));
  expect(read().incident).toMatchObject({
    ...{ id: A, site: SITE, device: "gw-014", title: "Reverse shell", severity: "critical", score: 90, status: "open" },
    attack: { tactics: ["execution", "persistence", "exfiltration"], techniques: ["T1041", "T1059", "T1053"] },
    ...{ firstMs: 5, lastMs: 1000, alerts: 3, events: 6, story: [`story of ${A.slice(0, 4)}`] },
  });
  expect(read().alerts.map(({ incident }) => incident)).toEqual([A, A, A]);
  expect(incidentCounts(store)).toMatchObject({ open: 1, critical: 1 });
});

test("what no detector placed is an incident of its own; the agent killed in the middle of an intrusion belongs to that", () => {
  const { store, put, commit } = site();
  const killed = { id: "picket-broker-killed", title: "Agent was killed", engine: "broker" } as const;
  const alone = put({ rule: { ...killed } }, 5);
  expect(getAlert(store, alone.id)!.incident).toBe(alone.id);
  put({ incident: A });
  commit(report(A, { seenMs: 1000 }));
  expect(getAlert(store, put({ rule: { ...killed } }, 2000).id)!.incident).toBe(A);
  const other = put({ rule: { ...killed }, device: "gw-015" }, 2000);
  expect(getAlert(store, other.id)!.incident).toBe(other.id);
  const later = put({ rule: { ...killed } }, 1000 + 11 * 60_000);
  expect(getAlert(store, later.id)!.incident).toBe(later.id);
});

test("closing an incident closes its alerts, opening opens them; the last alert closed by itself closes it, one opened again opens it", () => {
  const { store, put, read, judge } = site();
  const [one, two] = [put({ incident: A }), put({ incident: A })];
  const { changed } = judge({ status: "closed", verdict: "true_positive", note: "cleaned" });
  expect(changed.toSorted()).toEqual([one.id, two.id].toSorted());
  expect(read().alerts.map(({ status, verdict }) => [status, verdict])).toEqual(Array(2).fill(["closed", "true_positive"]));
  judge({ status: "open", assignee: "jo" });
  expect(read().alerts.map(({ status, assignee }) => [status, assignee])).toEqual(Array(2).fill(["open", "jo"]));
  judgeAlert(store, one.id, { status: "closed", verdict: "false_positive" }, mira);
  expect(read().incident.status).toBe("open");
  judgeAlert(store, two.id, { status: "closed", verdict: "false_positive" }, mira);
  expect(read().incident).toMatchObject({ status: "closed", verdict: "false_positive", notes: [{ text: "cleaned" }], assignee: "jo" });
  judgeAlert(store, two.id, { status: "open" }, mira);
  expect(read().incident.status).toBe("open");
  expect(read().incident.history!.map(({ what }) => what)).toEqual(["closed", "opened", "assigned", "closed", "opened"]);
});

test.each([
  { name: "closed as real: any new alert opens it", verdict: "true_positive", rule: "r1", severity: "high", opens: true },
  { name: "closed as false: a new alert of another rule opens it", verdict: "false_positive", rule: "r2", severity: "high", opens: true },
  {
    name: "closed as false: a worse one of the same rule opens it",
    verdict: "false_positive",
    rule: "r1",
    severity: "critical",
    opens: true,
  },
  { name: "closed as false: more of the same is closed with it", verdict: "false_positive", rule: "r1", severity: "high", opens: false },
  { name: "a sensor switched off is never closed with it", verdict: "false_positive", rule: SENSOR_OFF, severity: "high", opens: true },
] as const)("$name", ({ verdict, rule, severity, opens }) => {
  const { put, read, judge, store } = site();
  put({ incident: A });
  put({ incident: A, rule: { id: SENSOR_OFF, title: "Another", engine: "sigma" } });
  judge({ status: "closed", verdict });
  const next = put({ incident: A, severity, rule: { id: rule, title: "Another", engine: "sigma" } });
  expect(read().incident.status).toBe(opens ? "open" : "closed");
  expect(getAlert(store, next.id)!.status).toBe(opens ? "open" : "closed");
  if (opens) expect(read().incident.history!.at(-1)).toMatchObject({ operator: "picket", what: "opened", detail: "a new alert: Another" });
  else expect(read().incident.verdict).toBe("false_positive");
});

test("a closed alert that gets worse opens its incident", () => {
  const { put, read, judge, store } = site();
  const made = put({ incident: A });
  judge({ status: "closed", verdict: "false_positive" });
  store.commitNow(() => upsertAlert(store, { ...made, incident: A, revision: 1, severity: "critical" }, "g", 60));
  expect(read().incident).toMatchObject({ status: "open", severity: "critical" });
});

test("two that turn out to be one become one: alerts, notes and the more open status stay, and the old id leads to it", () => {
  const { store, put, commit, read, judge } = site();
  const [a, b] = [put({ incident: A }), put({ incident: B, severity: "critical", score: 77 })];
  commit(report(A), report(B));
  judge({ status: "acknowledged", note: "mine", assignee: "mira" }, B);
  commit(report(A, { merged: [B], seenMs: 30 }));
  expect(listIncidents(store, SITE, { limit: 9 }).map(({ id }) => id)).toEqual([A]);
  expect(readIncident(store, SITE, B)!.incident.id).toBe(A);
  expect(read().incident).toMatchObject({
    alerts: 2,
    severity: "critical",
    score: 77,
    status: "open",
    assignee: "mira",
    notes: [{ text: "mine" }],
  });
  expect([a, b].map(({ id }) => getAlert(store, id)!.incident)).toEqual([A, A]);
  // A revision that left before it was known.
  expect(getAlert(store, put({ incident: B }).id)!.incident).toBe(A);
});

test("incidents of different devices that share an address are linked; those of one device, or a day apart, are not", () => {
  const { store, put, commit, read } = site();
  put({ incident: A });
  put({ incident: B, device: "gw-015" });
  const C = uuid5("incident", "c");
  put({ incident: C });
  commit(report(A, {}, ["a 198.51.100.7"]), report(C, {}, ["a 198.51.100.7"]));
  expect(commit(report(B, { device: "gw-015" }, ["a 198.51.100.7"]))).toEqual(new Set([A, B, C]));
  expect(read(A).incident.linked).toEqual([{ id: B, device: "gw-015" }]);
  expect(new Set(read(B).incident.linked.map(({ id }) => id))).toEqual(new Set([A, C]));
  const D = uuid5("incident", "d");
  put({ incident: D, device: "gw-016" });
  store.commitNow(() => saveReports(store, [report(D, { device: "gw-016" }, ["a 198.51.100.7"])], 0, 20 + 25 * 3600_000));
  expect(read(D).incident.linked).toEqual([]);
});

test("the detector gets back what may still grow, of its own reading of the log", () => {
  const { store, put, commit } = site();
  put({ incident: A });
  put({ incident: B, device: "gw-015" });
  commit(report(A, { seenMs: 500 }), report(B, { device: "gw-015", seenMs: 900 }));
  const ids = (of: Partial<Parameters<typeof openIncidents>[1]>) =>
    openIncidents(store, { lane: 0, device: undefined, sinceMs: 0, limit: 10, ...of }).map(({ id }) => id);
  expect(ids({})).toEqual([B, A]);
  expect(ids({ sinceMs: 501 })).toEqual([B]);
  expect(ids({ device: "gw-014" })).toEqual([A]);
  expect(ids({ lane: 3 })).toEqual([]);
});

test("an incident goes with its last alert", () => {
  const { store, put, judge, read } = site();
  put({ incident: A });
  put({ incident: B });
  judge({ status: "closed" });
  trimAlerts(store, { beforeMs: 1000, keepCount: 100, limit: 10 });
  trimIncidents(store);
  expect(read(A)).toBeUndefined();
  expect(read(B).incident.alerts).toBe(1);
});

test("one incident is one message, brought up to date until it leaves; then only a higher severity is news", () => {
  const { store, put } = site();
  const queue = new SinkQueue(store);
  queue.configure([
    { name: "soc", each: "incident" },
    { name: "old", each: "alert" },
  ]);
  const tell = (nowMs: number) => store.commitNow(() => tellIncidents(store, [A], nowMs));
  const waiting = () => {
    const head = queue.head("soc");
    return head && (JSON.parse(head.payload) as Extract<SinkMessage, { type: "incident.created" | "incident.updated" }>);
  };
  put({ incident: A, severity: "medium" }, 1000);
  tell(1000);
  expect(queue.head("soc")).toMatchObject({ queuedMs: 1000, nextMs: 4000 });
  put({ incident: A, severity: "critical" }, 2000);
  tell(2000);
  expect(queue.counts("soc").queued).toBe(1);
  expect(queue.head("soc")).toMatchObject({ queuedMs: 1000, nextMs: 4000 });
  expect(waiting()).toMatchObject({ type: "incident.created", data: { incident: { id: A, severity: "critical", alerts: 2 } } });
  expect(waiting()!.data.alerts.map(({ severity }) => severity)).toEqual(["critical", "medium"]);
  put({ incident: A, severity: "critical" }, 5000);
  tell(5000);
  expect(waiting()!.data.incident.alerts).toBe(2);
  expect(queue.counts("old").queued).toBe(3);
});
