import type { Detection } from "@picket/protocol/alert";
import { alertId } from "@picket/protocol/uuid5";
import { expect, test } from "vitest";
import { alertCounts, getAlert, growingAlerts, judgeAlert, listAlerts, upsertAlert } from "./alerts.ts";
import { openStore } from "./schema.ts";

const detection = (changes: Partial<Detection> = {}): Detection => ({
  id: alertId({ site: "yard", rule: "r", device: "gw-1", group: "", anchor: "a" }),
  site: "yard",
  device: "gw-1",
  timeMs: 100,
  rule: { id: "r", title: "R", engine: "sigma" },
  severity: "high",
  score: 50,
  attack: { tactics: ["execution"], techniques: ["T1059.004"] },
  events: ["gw-1:epoch000:1"],
  tree: [],
  summary: "s",
  count: 1,
  firstMs: 100,
  lastMs: 100,
  revision: 0,
  ...changes,
});
const id = detection().id;
const other = alertId({ site: "yard", rule: "r", device: "gw-2", group: "", anchor: "a" });

test("the detector's word and the operators' do not overwrite each other", () => {
  using store = openStore(":memory:");
  upsertAlert(store, detection(), "g", 1);
  judgeAlert(store, id, { status: "acknowledged", assignee: "mira", note: "looking" }, { operator: "mira", nowMs: 5 });
  expect(upsertAlert(store, detection({ revision: 1, count: 7, severity: "critical" }), "g", 6)).toBe("grown");
  judgeAlert(store, id, { note: "done" }, { operator: "jo", nowMs: 7 });
  expect(getAlert(store, id)).toMatchObject({
    count: 7,
    severity: "critical",
    status: "acknowledged",
    assignee: "mira",
    notes: [{ text: "looking" }, { operator: "jo", text: "done" }],
  });
});

test("a repeated or older revision changes nothing", () => {
  using store = openStore(":memory:");
  expect(upsertAlert(store, detection({ revision: 3, count: 4 }), "g", 1)).toBe("created");
  expect(upsertAlert(store, detection({ revision: 3, count: 9 }), "g", 2)).toBe("unchanged");
  expect(upsertAlert(store, detection({ revision: 2, count: 1 }), "g", 2)).toBe("unchanged");
  expect(getAlert(store, id)?.count).toBe(4);
});

test("lists by severity and above, technique with its sub-techniques, device, status and time", () => {
  using store = openStore(":memory:");
  upsertAlert(store, detection(), "g", 1);
  upsertAlert(
    store,
    detection({ id: other, device: "gw-2", severity: "low", lastMs: 300, attack: { tactics: [], techniques: ["T1105", "T10590"] } }),
    "g",
    1,
  );
  const ids = (query: Partial<Parameters<typeof listAlerts>[1]>) => listAlerts(store, { limit: 10, ...query }).map((alert) => alert.id);
  expect(ids({})).toEqual([other, id]);
  expect(ids({ severity: "medium" })).toEqual([id]);
  expect(ids({ severity: "low" })).toEqual([other, id]);
  expect(ids({ technique: "T1059" })).toEqual([id]);
  expect(ids({ technique: "T1105" })).toEqual([other]);
  expect(ids({ device: "gw-2" })).toEqual([other]);
  expect(ids({ sinceMs: 200 })).toEqual([other]);
  expect(ids({ limit: 1 })).toEqual([other]);
  judgeAlert(store, id, { status: "closed" }, { operator: "mira", nowMs: 5 });
  expect(ids({ status: "open" })).toEqual([other]);
  expect(alertCounts(store)).toEqual({ open: 1, low: 1, medium: 0, high: 0, critical: 0 });
});

test("the detector gets back its own alerts that changed lately by the broker's clock, whatever the device's clock says", () => {
  using store = openStore(":memory:");
  upsertAlert(store, detection({ lastMs: 5, firstMs: 5, timeMs: 5 }), "group", 1000);
  upsertAlert(store, detection({ id: other, rule: { id: "b", title: "B", engine: "broker" } }), "", 1000);
  expect(growingAlerts(store, 900, 10)).toEqual([
    { group: "group", detection: detection({ lastMs: 5, firstMs: 5, timeMs: 5, incident: id }) },
  ]);
  expect(growingAlerts(store, 1001, 10)).toEqual([]);
});

test("judging an alert that does not exist says so", () => {
  using store = openStore(":memory:");
  expect(judgeAlert(store, id, { status: "closed" }, { operator: "mira", nowMs: 1 })).toBeUndefined();
});
