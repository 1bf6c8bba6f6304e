// Open, acknowledged, closed and open again: what operators decide, and what a closed alert that happens again does.
import type { Detection } from "@picket/protocol/alert";
import { alertId } from "@picket/protocol/uuid5";
import { beforeEach, describe, expect, test } from "vitest";
import { getAlert, judgeAlert, noteExcepted, recurrenceOf, trimAlerts, upsertAlert } from "./alerts.ts";
import type { Store } from "./database.ts";
import { openStore } from "./schema.ts";

const MINUTE_MS = 60_000;
const detection = (anchor: string, changes: Partial<Detection> = {}): Detection => ({
  ...{ id: alertId({ site: "yard", rule: "r", device: "gw-1", group: "g", anchor }), site: "yard", device: "gw-1", timeMs: 100 },
  ...{ rule: { id: "r", title: "t", engine: "sigma" }, severity: "medium", score: 35, attack: { tactics: [], techniques: ["T1059"] } },
  ...{ events: [`gw-1:aaaaaaaa:${anchor}`], tree: [], summary: "s", count: 1, firstMs: 100, lastMs: 100, revision: 0, ...changes },
});
const first = detection("1");
const anna = (nowMs: number) => ({ operator: "anna", nowMs });

let store: Store;
beforeEach(() => {
  store = openStore(":memory:");
  upsertAlert(store, first, "g", 1);
  return () => store[Symbol.dispose]();
});
const shown = () => getAlert(store, first.id)!;

test("who did what, when, and how often it had been seen by then", () => {
  judgeAlert(store, first.id, { status: "acknowledged", assignee: "mira" }, anna(5));
  upsertAlert(store, { ...first, revision: 1, count: 4 }, "g", 6);
  judgeAlert(store, first.id, { status: "closed", verdict: "true_positive", note: "cleaned" }, anna(7));
  judgeAlert(store, first.id, { status: "open" }, { operator: "jo", nowMs: 9 });
  expect(shown().history).toEqual([
    { timeMs: 5, operator: "anna", what: "acknowledged", count: 1 },
    { timeMs: 5, operator: "anna", what: "assigned", detail: "mira", count: 1 },
    { timeMs: 7, operator: "anna", what: "closed", verdict: "true_positive", count: 4 },
    { timeMs: 9, operator: "jo", what: "opened", count: 4 },
  ]);
  expect(shown()).toMatchObject({ status: "open", notes: [{ text: "cleaned" }] });
  expect(shown().verdict).toBeUndefined();
});

test("what changes nothing is no decision; a verdict may be changed; the newest hundred are kept", () => {
  judgeAlert(store, first.id, { status: "closed", verdict: "true_positive" }, anna(1));
  judgeAlert(store, first.id, { status: "closed" }, anna(2));
  judgeAlert(store, first.id, { note: "a note" }, anna(3));
  judgeAlert(store, first.id, { status: "closed", verdict: "false_positive" }, anna(4));
  expect(shown().history?.map(({ timeMs, verdict }) => [timeMs, verdict])).toEqual([
    [1, "true_positive"],
    [4, "false_positive"],
  ]);
  for (let nowMs = 10; nowMs < 300; nowMs++)
    judgeAlert(store, first.id, { status: nowMs % 2 === 0 ? "open" : "acknowledged" }, anna(nowMs));
  expect(shown().history).toHaveLength(100);
  expect(shown().history?.at(-1)).toMatchObject({ timeMs: 299, what: "acknowledged" });
});

describe("a closed alert that happens again", () => {
  beforeEach(() => {
    judgeAlert(store, first.id, { status: "closed", verdict: "false_positive" }, anna(5));
  });
  test("within its ten minutes: counts, and stays closed", () => {
    upsertAlert(store, { ...first, revision: 1, count: 12 }, "g", 6);
    expect(shown()).toMatchObject({ status: "closed", verdict: "false_positive", count: 12, history: [{ what: "closed", count: 1 }] });
  });
  test("after them: is a new alert, and it is open", () => {
    const second = detection("2", { timeMs: 11 * MINUTE_MS });
    upsertAlert(store, second, "g", 11 * MINUTE_MS);
    expect(getAlert(store, second.id)?.status).toBe("open");
    expect(shown().status).toBe("closed");
  });
  test.each<[string, Partial<Detection>, string]>([
    ["worse", { severity: "critical" }, "critical now; medium when it was closed"],
    ["with another technique", { attack: { tactics: [], techniques: ["T1059", "T1105"] } }, "T1105 came to it"],
  ])("%s: is open again, and says why", (_, change, detail) => {
    upsertAlert(store, { ...first, revision: 1, count: 2, ...change }, "g", 6);
    expect(shown()).toMatchObject({
      status: "open",
      history: [{ what: "closed" }, { what: "opened", operator: "picket", detail, timeMs: 6 }],
    });
    expect(shown().verdict).toBeUndefined();
  });
  test("milder than it was: stays closed", () => {
    upsertAlert(store, { ...first, revision: 1, count: 2, severity: "low", attack: { tactics: [], techniques: [] } }, "g", 6);
    expect(shown().status).toBe("closed");
  });
});

test("an exception made from an alert closes it as a false positive, but never takes back what was said of it", () => {
  noteExcepted(store, first.id, { ...anna(5), id: 7 });
  expect(shown()).toMatchObject({
    ...{ status: "closed", verdict: "false_positive" },
    history: [{ what: "excepted", detail: "7" }, { what: "closed" }],
  });
  judgeAlert(store, first.id, { status: "closed", verdict: "true_positive" }, anna(6));
  noteExcepted(store, first.id, { ...anna(7), id: 8 });
  expect(shown().verdict).toBe("true_positive");
});

test("how often the same was seen: rule, device and subject, in all alerts that are kept", () => {
  for (let day = 1; day <= 3; day++)
    upsertAlert(store, detection(`d${day}`, { count: 13, firstMs: day * 86_400_000, lastMs: day * 86_400_000 }), "g", day);
  upsertAlert(store, detection("other", { count: 99 }), "another subject", 9);
  upsertAlert(store, detection("rule", { count: 99, rule: { id: "r2", title: "t", engine: "sigma" } }), "g", 9);
  upsertAlert(store, detection("device", { count: 99, device: "gw-2" }), "g", 9);
  judgeAlert(store, first.id, { status: "closed", verdict: "false_positive" }, anna(5));
  expect(recurrenceOf(store, first.id)).toEqual({
    ...{ alerts: 4, count: 40, firstMs: 100, lastMs: 3 * 86_400_000, true_positive: 0, false_positive: 1 },
  });
  expect(recurrenceOf(store, alertId({ site: "x", rule: "r", device: "d", group: "", anchor: "" }))).toBeUndefined();
});

test("retention lets go of closed alerts only, the oldest first, and never of open ones", () => {
  for (let at = 2; at <= 10; at++) upsertAlert(store, detection(String(at)), "g", at);
  for (const at of [1, 2, 3]) judgeAlert(store, detection(String(at)).id, { status: "closed", verdict: "false_positive" }, anna(20));
  expect(trimAlerts(store, { beforeMs: 2, keepCount: 8, limit: 100 })).toBe(2);
  const left = Array.from({ length: 10 }, (_, at) => getAlert(store, detection(String(at + 1)).id)?.status);
  expect(left).toEqual([undefined, undefined, "closed", ...Array.from({ length: 7 }, () => "open")]);
  expect(trimAlerts(store, { beforeMs: 1e9, keepCount: 0, limit: 100 })).toBe(1);
});
