import type { Alert } from "@picket/protocol/alert";
import { encodeBatch } from "@picket/protocol/batch";
import type { SensorEvent } from "@picket/protocol/event";
import type { Rule } from "@picket/rules/rule";
import { describe, expect, test } from "vitest";
import { BOOT, child, event, exec, idOf, proc, testRules } from "../testing/events.ts";
import { type PreviewOf, previewOf } from "./preview.ts";

const { rules } = testRules("medium tar", "high nc");
const [tarRule, ncRule] = rules as [Rule, Rule];
const cron = proc(9, "/usr/sbin/cron");
const tar = (pid: number, more = {}) => child(pid, "/usr/bin/tar", cron, more);

let made = 0;
const alertOf = (rule: { id: string; title: string }, events: readonly SensorEvent[], more: Partial<Alert> = {}): Alert => ({
  id: `00000000-0000-5000-8000-${String(++made).padStart(12, "0")}`,
  ...{ site: "lab", device: events[0]?.device ?? "gw-1", timeMs: 1, rule: { id: rule.id, title: rule.title, engine: "sigma" } },
  ...{ severity: "medium", score: 1, attack: { tactics: [], techniques: [] }, tree: [], summary: "s", count: Math.max(1, events.length) },
  ...{ events: events.map(idOf), firstMs: 1, lastMs: 1, revision: 0, status: "open", notes: [], ...more },
});

function look(exception: Partial<PreviewOf>, alerts: readonly Alert[], ...batches: (readonly SensorEvent[])[]) {
  const of = { rule: tarRule.id, where: {}, devices: [], ...exception };
  const preview = previewOf(of, { alerts, rules, words: ({ type }) => type });
  for (const events of batches) preview.take(encodeBatch({ boot: BOOT, oldest: events[0]!.seq, events }));
  return preview.result({ sinceMs: 0, total: preview.events });
}
const byCron = { where: { ParentImage: ["/usr/sbin/cron"] } };

test("alerts that would be gone, and those of which only some events are hidden", () => {
  const hidden = [exec(0, tar(1)), exec(1, tar(2))];
  const half = [exec(2, tar(3)), exec(3, child(4, "/usr/bin/tar", proc(8, "/bin/sh")))];
  const other = [exec(4, child(5, "/usr/bin/nc", cron))];
  const alerts = [alertOf(tarRule, hidden), alertOf(tarRule, half), alertOf(ncRule, other)];
  const result = look(byCron, alerts, hidden, half, other);
  expect(result).toMatchObject({ alerts: { all: 2, gone: 1, smaller: 1 }, matches: 3, events: 5, rules: [tarRule.title] });
  expect(result.devices).toEqual([{ device: "gw-1", alerts: 2, matches: 3 }]);
});

test("events without an alert count where a shipped rule finds them or a device reported them, on named devices only", () => {
  const found = exec(0, tar(1));
  const reported = exec(1, proc(2, "/usr/bin/other", { parent: { pid: 9, exe: "/usr/sbin/cron" } }), {
    hits: [{ rule: tarRule.id, version: "1" }],
  });
  const neither = exec(2, proc(3, "/usr/bin/other", { parent: { pid: 9, exe: "/usr/sbin/cron" } }));
  const away = exec(3, tar(4), { device: "gw-2" });
  expect(look(byCron, [], [found, reported, neither], [away])).toMatchObject({ matches: 3, events: 4 });
  expect(look({ ...byCron, devices: ["gw-2"] }, [], [found, reported, neither], [away]).devices).toEqual([
    { device: "gw-2", alerts: 0, matches: 1 },
  ]);
});

describe("an alert whose events are not in the log, and one of a sequence,", () => {
  const chain = { id: "picket-chain-burst", title: "Burst" };
  test.each<[string, Alert, Partial<PreviewOf>, number]>([
    ["is judged by its process", alertOf(tarRule, [exec(0, tar(1))], { process: tar(1) }), byCron, 1],
    ["is left when its process is another", alertOf(tarRule, [exec(0, tar(1))], { process: proc(1, "/x") }), byCron, 0],
    ["is left without one", alertOf(tarRule, [exec(0, tar(1))]), byCron, 0],
    [
      "is judged by what it is about",
      alertOf(chain, [], { rule: { ...chain, engine: "correlation" }, process: tar(1) }),
      { ...byCron, rule: chain.id },
      1,
    ],
  ])("%s", (_, alert, exception, gone) => {
    expect(look(exception, [alert]).alerts).toEqual({ all: 1, gone, smaller: 0 });
  });
});

test("what speaks against it: true positives, open critical ones, more than one rule", () => {
  const events = [exec(0, tar(1)), exec(1, tar(2)), exec(2, tar(3))];
  const alerts = [
    alertOf(tarRule, [events[0]!], { status: "closed", verdict: "true_positive", severity: "critical" }),
    alertOf(tarRule, [events[1]!], { severity: "critical" }),
    alertOf(ncRule, [events[2]!], { status: "closed", verdict: "false_positive" }),
  ];
  const wide = { rule: "engine:sigma", where: { Image: ["/usr/bin/tar"], ParentImage: ["/usr/sbin/cron"] }, devices: ["gw-1"] };
  expect(look(wide, alerts, events)).toMatchObject({ truePositives: 1, openCritical: 1, rules: [tarRule.title, ncRule.title] });
});

test("a file is asked as what it is; other sites' alerts and Picket's own are not looked at; an unreadable batch is passed over", () => {
  const run = exec(0, tar(1, { sha256: "a".repeat(64) }));
  const yara = alertOf({ id: "y", title: "Y" }, [run], { rule: { id: "y", title: "Y", engine: "yara" } });
  const bySha = { rule: "y", where: { sha256: ["a".repeat(64)], TargetFilename: ["/usr/bin/tar"] } };
  expect(look(bySha, [yara], [run]).alerts.gone).toBe(1);
  const origin = { site: "south", via: "south", trust: "peer", receivedMs: 1 } as const;
  expect(look(bySha, [{ ...yara, origin }], [run]).alerts.all).toBe(0);
  const off = event("sensor.state", 1, { collector: "exec", level: "off", why: "x" });
  const own = alertOf({ id: "picket-broker-loss", title: "L" }, [off], {
    rule: { id: "picket-broker-loss", title: "L", engine: "broker" },
  });
  const preview = previewOf(
    { rule: "picket-broker-loss", where: { Computer: ["gw-1"] }, devices: [] },
    { alerts: [own], rules, words: () => "" },
  );
  preview.take(Buffer.from("no batch"));
  preview.take(encodeBatch({ boot: BOOT, oldest: off.seq, events: [off] }));
  expect(preview.result({ sinceMs: 0, total: 1 })).toMatchObject({ events: 1, matches: 0, alerts: { all: 0 } });
});
