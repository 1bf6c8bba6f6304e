import { expect, test } from "vitest";
import { advice, incidentAdvice } from "./advice.ts";
import { cellsOf } from "./cells.ts";
import { madeAlert, madeDevice, madeIncident, madeOnline } from "./testing/made-up.ts";

const isolated = madeDevice("gw-014", { isolationWanted: true, status: madeOnline({ isolation: { state: "isolated" } }) });
const alert = madeAlert("a");

test("the reader is told keys in the console and commands on the command line", () => {
  expect(advice(alert, madeDevice("gw-014"), "console").now).toEqual([
    "Not expected? Isolate the device now with i; its line to the site stays.",
    "Known and harmless? Close it with c; e keeps the like from alerting.",
  ]);
  const [first, second] = advice(alert, undefined, "command line").now;
  expect(first).toMatch(/picket isolate gw-014$/);
  expect(second).toContain(`picket alert ${alert.id.slice(0, 8)} close`);
});

test("an isolated device is not to be isolated again, and a closed alert asks for nothing", () => {
  expect(advice(alert, isolated, "console").now[0]).toMatch(/is isolated.*release it with r/);
  expect(advice(madeAlert("c", { status: "closed" }), madeDevice("gw-014"), "console").now).toEqual([]);
});

test("alerts of the broker lead to the device, not to isolation", () => {
  const silent = madeAlert("s", { rule: { id: "picket-broker-offline", title: "Device is silent", engine: "broker" } });
  expect(advice(silent, madeDevice("gw-014", { presence: "offline" }), "command line").now.join(" ")).toMatch(
    /picket device gw-014.*systemctl status picket-agent/,
  );
});

test("an exception leads to who made it, and to its end", () => {
  const made = madeAlert("s", {
    device: "lab",
    rule: { id: "picket-broker-exception", title: "An operator made an exception", engine: "broker" },
  });
  expect(advice(made, undefined, "console").now).toEqual([
    expect.stringMatching(/^Not yours/),
    expect.stringMatching(/^picket exceptions list/),
  ]);
});

test("a blackout leads to what its devices share, and to no page, since there is none; a killed agent to whoever has root", () => {
  const of = (id: string) => madeAlert("s", { rule: { id, title: "", engine: "broker" } });
  expect(advice(of("picket-broker-blackout"), undefined, "console").now.join(" ")).toMatch(/^Look at what they share: power(?!.*its page)/);
  expect(advice(of("picket-broker-killed"), madeDevice("gw-014", { presence: "offline" }), "command line").now).toEqual([
    expect.stringMatching(/somebody else has root/),
    expect.stringMatching(/journalctl -u picket-agent/),
    expect.stringMatching(/picket device gw-014/),
    expect.stringMatching(/is not seen now/),
  ]);
  for (const id of ["blackout", "killed", "loss"])
    for (const step of advice(of(`picket-broker-${id}`), undefined, "console").now) expect(cellsOf(step), step).toBeLessThanOrEqual(74);
});

test("each step of the console fits one row of 80 columns", () => {
  const techniques = ["T1003.008", "T1027", "T1053", "T1059.004", "T1071", "T1105", "T1543", "T1548", "T1552"];
  const { now, later } = advice(madeAlert("a", { attack: { tactics: [], techniques } }), madeDevice("gw-014"), "console");
  expect(later.length).toBe(techniques.length);
  for (const step of [...now, ...later]) expect(cellsOf(step), step).toBeLessThanOrEqual(74);
});

test("an incident asks once to isolate, then for what its worst alerts ask, and names no key its page does not have", () => {
  const asks = (name: string, severity: "high" | "critical", todo: string) =>
    madeAlert(name, { severity, rule: { id: name, title: name, engine: "sigma", todo } });
  const alerts = [
    asks("b", "high", "Isolate the device; the address stands in the command."),
    asks("c", "critical", "Isolate the device, then see who holds the far end."),
  ];
  expect(incidentAdvice(madeIncident(alerts[0]!.id, alerts), alerts, madeDevice("gw-014"), "console").now).toEqual([
    "Not expected? Isolate the device now with i; its line to the site stays.",
    "See who holds the far end.",
    "The address stands in the command.",
    "Known and harmless? Close it with c f; ↵ e keeps the like from alerting.",
  ]);
});
