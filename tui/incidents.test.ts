// The main list and the page of an incident: which one a key acts on, and what stands where.
import { expect, test } from "vitest";
import { contextOf, screenOf } from "./app.tsx";
import { incidentPage } from "./components/incident-detail.ts";
import { listedRows } from "./state/order.ts";
import { reduce } from "./state/reduce.ts";
import { type ConsoleState, initialState, type Step, viewOf } from "./state/state.ts";
import { fakeActions, pressesOf } from "./testing/fake-actions.ts";
import { madeAlert, madeDevice, madeIncident, madeSite } from "./testing/made-up.ts";

const first = madeAlert("first");
const bad = madeIncident(first.id, [first, madeAlert("second")], {
  severity: "critical",
  title: "Reverse shell",
  story: ["cron started sh."],
});
const other = madeAlert("other", { severity: "medium", device: "gw-015" });
const quiet = madeIncident(other.id, [other], { title: "USB device" });
const alerts = ["second", "first"].map((name, at) =>
  madeAlert(name, {
    incident: bad.id,
    firstMs: 1_700_000_000_000 + 1000 * (1 - at),
    rule: { id: "r", title: name, engine: "sigma", todo: `look at ${name}` },
  }),
);
const start: Step = {
  ...{ kind: "snapshot", site: madeSite(), devices: [madeDevice("gw-014"), madeDevice("gw-015")], nowMs: 1 },
  incidents: [quiet, bad],
  alerts,
};

function consoleOf() {
  const { act, asked } = fakeActions();
  let state: ConsoleState = reduce(initialState(0), start);
  const dispatch = (step: Step) => {
    state = reduce(state, step);
  };
  const press = (text: string) => {
    for (const key of pressesOf(text)) screenOf(state).press(key, contextOf(state, { dispatch }, act, 80, 24));
  };
  return { asked, dispatch, press, get: () => state };
}

test.each([
  ["a", `judge incident ${bad.id} {"status":"acknowledged"}`],
  ["cf<enter>", `judge incident ${bad.id} {"status":"closed","verdict":"false_positive"}`],
  ["n vendor<enter>", `judge incident ${bad.id} {"note":"vendor"}`],
  ["jt", `judge incident ${quiet.id} {"assignee":"anna"}`],
  ["<enter>o", `judge incident ${bad.id} {"status":"open"}`],
  ["<enter>igw-014<enter>", "isolate gw-014: incident: Reverse shell"],
  ["/usb<enter>a", `judge incident ${quiet.id} {"status":"acknowledged"}`],
  ["<enter><enter>", `evidence ${madeAlert("first").id}`],
  ["<enter>j<enter>", `evidence ${madeAlert("second").id}`],
  ["<enter>v", "history gw-014"],
])("keys %s ask for: %s", (keys, expected) => {
  const { press, asked } = consoleOf();
  press(keys);
  expect(asked.at(-1)).toBe(expected);
});

test("the page says what happened, then what to do, then the alerts", () => {
  const page = incidentPage({
    incident: bad,
    alerts: alerts.toReversed(),
    selectedId: undefined,
    device: undefined,
    nowMs: 1,
    columns: 80,
    rows: 19,
    wrapped: false,
  });
  const text = page.map(({ spans }) => spans.map((one) => one.text).join("")).join("\n");
  const places = ["Reverse shell", "cron started sh.", "Isolate the device now", "Look at", "first", "Process tree"].map((words) =>
    text.indexOf(words),
  );
  expect(places.every((at) => at >= 0)).toBe(true);
  expect(places.slice(0, 4)).toEqual(places.slice(0, 4).toSorted((a, b) => a - b));
});

test("coming to a list starts at what is open, not at what was closed meanwhile", () => {
  const { press, dispatch, get } = consoleOf();
  press("3");
  dispatch({
    kind: "items",
    items: [{ kind: "alert", alert: { ...get().alerts.get(get().selectedAlert!)!, status: "closed" } }],
    nowMs: 2,
  });
  const before = get().selectedAlert;
  press("13");
  expect(get().selectedAlert).not.toBe(before);
  expect(get().alerts.get(get().selectedAlert!)!.status).toBe("open");
});

test("an incident that became part of another goes on under its name, wherever the operator was", () => {
  const { press, dispatch, get } = consoleOf();
  press("<enter>");
  const into = { ...bad, id: madeAlert("into").id, merged: [bad.id] };
  dispatch({ kind: "items", items: [{ kind: "incident", incident: into }], nowMs: 2 });
  expect(viewOf(get())).toEqual({ kind: "incident", id: into.id });
  expect(get().selectedIncident).toBe(into.id);
  expect(listedRows(get()).map(({ id }) => id)).toEqual([into.id, quiet.id]);
});

test("incidents of other sites stand among ours as one row each, with their worst alert", () => {
  const origin = { site: "south", via: "south", trust: "peer", receivedMs: 1 } as const;
  const incident = madeAlert("theirs").id;
  const { dispatch, get } = consoleOf();
  const theirs = [madeAlert("low", { severity: "low", origin, incident }), madeAlert("worst", { severity: "critical", origin, incident })];
  dispatch({ kind: "items", items: theirs.map((alert) => ({ kind: "alert", alert })), nowMs: 2 });
  expect(listedRows(get()).map(({ id }) => id)).toEqual([bad.id, madeAlert("worst").id, quiet.id]);
});
