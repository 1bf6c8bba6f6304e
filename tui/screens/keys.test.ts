// What keys do, without a terminal: which alert or device they act on is the promise here.
import type { ExceptionPreview } from "@picket/protocol/exception";
import { expect, test } from "vitest";
import { contextOf, screenOf } from "../app.tsx";
import { reduce } from "../state/reduce.ts";
import { type ConsoleState, initialState, type Step, viewOf } from "../state/state.ts";
import { fakeActions, pressesOf } from "../testing/fake-actions.ts";
import { madeAlert, madeDevice, madeOnline, madeSite } from "../testing/made-up.ts";

const devices = [
  madeDevice("gw-014"),
  madeDevice("gw-015"),
  madeDevice("shut", { isolationWanted: true, status: madeOnline({ isolation: { state: "isolated" } }) }),
];
const alerts = [madeAlert("a"), madeAlert("b", { severity: "low", device: "gw-015" })];
const start: Step = { kind: "snapshot", site: madeSite(), devices, alerts, nowMs: 1 };

/** A console with two alerts on which keys and arrivals happen in order. */
function consoleOf(first: Step = start) {
  const { act, asked } = fakeActions();
  let state: ConsoleState = reduce({ ...initialState(0), views: [{ kind: "alerts" }] }, first);
  const dispatch = (step: Step) => {
    state = reduce(state, step);
  };
  const press = (text: string) => {
    for (const key of pressesOf(text)) screenOf(state).press(key, contextOf(state, { dispatch }, act, 80, 24));
  };
  return { asked, dispatch, press, get: () => state };
}
const a = madeAlert("a").id;
const b = madeAlert("b").id;
const arrives: Step = {
  kind: "items",
  items: [{ kind: "alert", alert: madeAlert("worse", { severity: "critical", device: "gw-015" }) }],
  nowMs: 2,
};

test("Enter opens the alert that was selected, though a worse one took its row", () => {
  const { press, dispatch, get, asked } = consoleOf();
  dispatch(arrives);
  press("<enter>");
  expect(viewOf(get())).toEqual({ kind: "alert", id: a });
  expect(asked).toEqual([`evidence ${a}`]);
});

test("isolating asks for the name of the selected alert's device, and orders only when it is typed whole", () => {
  const { press, dispatch, get, asked } = consoleOf();
  dispatch(arrives);
  press("i");
  expect(get().prompt).toMatchObject({ act: "isolate", device: "gw-014" });
  press("<enter>");
  press("gw-01<enter>");
  press("5<enter>");
  expect(asked).toEqual([]);
  press("<backspace>4");
  dispatch(arrives);
  press("<enter>");
  expect(asked).toEqual(["isolate gw-014: alert: Reverse shell a"]);
  expect(get().prompt).toBeUndefined();
});

test("Escape leaves everything as it was; letters typed into a question are no keys", () => {
  const { press, get, asked } = consoleOf();
  press("iqacr<escape>");
  expect([get().prompt, asked]).toEqual([undefined, []]);
});

test.each([
  ["a", `judge ${a} {"status":"acknowledged"}`],
  ["cf<enter>", `judge ${a} {"status":"closed","verdict":"false_positive"}`],
  ["ct vendor was asked<enter>", `judge ${a} {"status":"closed","verdict":"true_positive","note":"vendor was asked"}`],
  ["o", `judge ${a} {"status":"open"}`],
  ["t", `judge ${a} {"assignee":"anna"}`],
  ["n vendor update<enter>", `judge ${a} {"note":"vendor update"}`],
  ["jct<enter>", `judge ${b} {"status":"closed","verdict":"true_positive"}`],
  ["<down><up>a", `judge ${a} {"status":"acknowledged"}`],
  ["<enter>cf<enter>", `judge ${a} {"status":"closed","verdict":"false_positive"}`],
  ["Ga", `judge ${b} {"status":"acknowledged"}`],
  ["q", "quit"],
  ["d", "demo"],
  ["2j<enter>", "history gw-014"],
  ["2jjigw-015<enter>", "isolate gw-015: ordered in the console"],
  ["2rshut<enter>", "release shut: ordered in the console"],
  ["2j<enter>igw-014<enter>", "isolate gw-014: ordered in the console"],
])("keys %s ask for: %s", (keys, expected) => {
  const { press, asked } = consoleOf();
  press(keys);
  expect(asked.at(-1)).toBe(expected);
});

test.each([
  ["an isolated device", "2i", /shut is isolated already/],
  ["a device that is not isolated", "2jr", /gw-014 is not isolated/],
])("%s is told, not asked", (_, keys, words) => {
  const { press, get } = consoleOf();
  press(keys);
  expect(get().prompt).toBeUndefined();
  expect(get().message?.text).toMatch(words);
});

test("with nothing selected a key says so and acts on nothing", () => {
  const { press, get, asked } = consoleOf({ ...start, alerts: [], devices: [] } as Step);
  press("aictnr<enter>");
  expect([asked, get().prompt]).toEqual([[], undefined]);
  expect(get().message?.text).toMatch(/nothing is selected/);
});

test("Escape goes back one page; a page scrolls to its end and no further", () => {
  const { press, get } = consoleOf();
  press("<enter><enter>");
  expect(viewOf(get()).kind).toBe("device");
  press("<escape>");
  expect(viewOf(get()).kind).toBe("alert");
  press("GGG");
  const end = get().scroll;
  press("j");
  expect(get().scroll).toBe(end);
  press("k");
  expect(get().scroll).toBe(end - 1);
});

const preview: ExceptionPreview = {
  ...{ sinceMs: 0, events: 10, total: 10, matches: 4, alerts: { all: 2, gone: 1, smaller: 0 }, rules: ["r"], examples: [] },
  ...{ devices: [{ device: "gw-014", alerts: 1, matches: 4 }], truePositives: 0, openCritical: 0 },
};
const backup = madeAlert("backup", {
  rule: { id: "r-1", title: "Archive made", engine: "sigma" },
  process: { pid: 7, startTicks: 1, ppid: 1, uid: 0, exe: "/usr/bin/tar", argv: ["tar"], parent: { pid: 1, exe: "/usr/sbin/cron" } },
});

test("an exception is saved only after what it would have hidden was shown", () => {
  const { press, dispatch, asked, get } = consoleOf({ ...start, alerts: [backup] } as Step);
  dispatch({ kind: "open", view: { kind: "alert", id: backup.id } });
  press("e");
  expect(get().prompt).toMatchObject({ kind: "exception", step: "shape", days: 30 });
  // Neither parent nor device: then the program, everywhere, for a week.
  press("2d--<enter>y<enter>");
  const draft = { rule: "r-1", where: { Image: ["/usr/bin/tar"] }, devices: [] };
  expect(asked.at(-1)).toBe(`preview ${backup.id} ${JSON.stringify(draft)}`);
  press("y");
  expect(asked.at(-1)).toMatch(/^preview/);
  dispatch({ kind: "preview", alert: backup.id, outcome: { state: "known", preview } });
  press("y");
  expect(JSON.parse(asked.at(-1)!.replace("except ", ""))).toEqual({ ...draft, reason: "y", ttlS: 7 * 86_400, alert: backup.id });
  expect(get().prompt).toBeUndefined();
});

test("without any condition there is no way on, and a cancelled look shows nothing", () => {
  const { press, dispatch, asked, get } = consoleOf({ ...start, alerts: [backup] } as Step);
  dispatch({ kind: "open", view: { kind: "alert", id: backup.id } });
  press("e12d<enter>");
  expect(get().prompt).toMatchObject({ step: "shape" });
  press("1<enter>backup<enter><escape>");
  expect(asked.at(-1)).toBe("stop looking");
  dispatch({ kind: "preview", alert: backup.id, outcome: { state: "known", preview } });
  expect(get().prompt).toBeUndefined();
});

test.each([
  [
    "another site's alert",
    { ...backup, origin: { site: "south", via: "south", trust: "peer" as const, receivedMs: 1 } },
    /made at the site south/,
  ],
  [
    "one about Picket itself",
    { ...backup, rule: { id: "picket-broker-loss", title: "Events were lost", engine: "broker" as const } },
    /cannot be excepted/,
  ],
])("%s cannot be excepted", (_, alert, words) => {
  const { press, dispatch, get } = consoleOf({ ...start, alerts: [alert] } as Step);
  dispatch({ kind: "open", view: { kind: "alert", id: alert.id } });
  press("e");
  expect(get().prompt).toBeUndefined();
  expect(get().message?.text).toMatch(words);
});
