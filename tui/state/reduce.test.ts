import { expect, test } from "vitest";
import { madeAlert, madeCommand, madeDevice, madeSite } from "../testing/made-up.ts";
import { firstRow, listedAlerts, listedDevices } from "./order.ts";
import { reduce } from "./reduce.ts";
import { type ConsoleState, initialState, type Step, viewOf } from "./state.ts";

const after = (...steps: Step[]): ConsoleState => steps.reduce(reduce, { ...initialState(0), views: [{ kind: "alerts" }] });
const snapshot = (alerts = [madeAlert("a"), madeAlert("b", { severity: "low" })], devices = [madeDevice("gw-014")]): Step => ({
  kind: "snapshot",
  site: madeSite(),
  devices,
  alerts,
  nowMs: 1000,
});
const arrives = (...alerts: ReturnType<typeof madeAlert>[]): Step => ({
  kind: "items",
  items: alerts.map((alert) => ({ kind: "alert", alert })),
  nowMs: 2000,
});
const titles = (state: ConsoleState) => listedAlerts(state).map((alert) => alert.rule.title.replace("Reverse shell ", ""));

test("the worst alert is selected first", () => {
  expect(after(snapshot()).selectedAlert).toBe(madeAlert("a").id);
});

test("a worse alert that arrives is shown above and leaves the selection where it was", () => {
  const state = after(snapshot(), arrives(madeAlert("worse", { severity: "critical" })));
  expect(titles(state)).toEqual(["worse", "a", "b"]);
  expect(state.selectedAlert).toBe(madeAlert("a").id);
});

test("a closed alert stays on the list while it is selected, and goes when the operator moves on", () => {
  const closed = after(snapshot(), arrives(madeAlert("a", { status: "closed" })));
  expect(titles(closed)).toEqual(["b", "a"]);
  expect(closed.selectedAlert).toBe(madeAlert("a").id);
  expect(titles(reduce(closed, { kind: "move", by: -1 }))).toEqual(["b"]);
});

test("when the selected alert is gone nothing is selected, so no key acts on its neighbour", () => {
  const state = after(snapshot(), snapshot([madeAlert("b"), madeAlert("c")]));
  expect(state.selectedAlert).toBeUndefined();
  expect(reduce(state, { kind: "move", by: 1 }).selectedAlert).toBe(listedAlerts(state)[0]!.id);
});

test("a resync keeps view, prompt and selection", () => {
  const prompt = { kind: "order", act: "isolate", device: "gw-014", reason: "", typed: "gw" } as const;
  const before = after(
    snapshot(),
    { kind: "move", by: 1 },
    { kind: "open", view: { kind: "alert", id: madeAlert("b").id } },
    { kind: "ask", prompt },
  );
  const state = reduce(before, snapshot());
  expect([state.views, state.prompt, state.selectedAlert]).toEqual([before.views, before.prompt, madeAlert("b").id]);
});

test("open before acknowledged before closed, then severity, then the latest", () => {
  const state = after(
    snapshot([
      madeAlert("closed critical", { status: "closed", severity: "critical" }),
      madeAlert("acknowledged critical", { status: "acknowledged", severity: "critical" }),
      madeAlert("low", { severity: "low" }),
      madeAlert("old high", { lastMs: 1 }),
      madeAlert("new high", { lastMs: 2 }),
      madeAlert("medium", { severity: "medium" }),
    ]),
    { kind: "toggle-closed" },
  );
  expect(titles(state)).toEqual(["new high", "old high", "medium", "low", "acknowledged critical", "closed critical"]);
});

test("of one minute's alerts the most telling goes first, a newer minute before an older", () => {
  const rule = (id: string, engine: "sigma" | "correlation" = "correlation") => ({ id, title: id, engine });
  const state = after(
    snapshot([
      madeAlert("1", { lastMs: 60_000, rule: rule("picket-chain-reverse-shell") }),
      madeAlert("2", { lastMs: 125_000, rule: rule("picket-process-score") }),
      madeAlert("3", { lastMs: 124_000, rule: rule("a rule", "sigma") }),
      madeAlert("4", { lastMs: 123_000, rule: rule("picket-chain-burst") }),
      madeAlert("5", { lastMs: 120_000, rule: rule("picket-chain-credential-access") }),
      madeAlert("6", { lastMs: 120_000, rule: rule("picket-chain-reverse-shell") }),
    ]),
  );
  expect(listedAlerts(state).map((alert) => alert.rule.id)).toEqual([
    "picket-chain-reverse-shell",
    "picket-chain-credential-access",
    "a rule",
    "picket-chain-burst",
    "picket-process-score",
    "picket-chain-reverse-shell",
  ]);
});

test("devices in trouble come first, revoked ones last", () => {
  const lost = { stored: 9, lost: 1, ratio: 0.9 };
  const devices = [
    madeDevice("a-revoked", { trust: "revoked", presence: "offline" }),
    madeDevice("b-quiet"),
    madeDevice("c-lossy", { coverage: lost }),
    madeDevice("d-dark", { presence: "offline" }),
    madeDevice("f-isolated", { isolationWanted: true }),
    madeDevice("e-attacked", { openAlerts: 1 }),
  ];
  expect(listedDevices(after(snapshot([], devices))).map((device) => device.id)).toEqual([
    "e-attacked",
    "d-dark",
    "f-isolated",
    "c-lossy",
    "b-quiet",
    "a-revoked",
  ]);
});

test("the banner counts from the first failure and remembers how old the data is", () => {
  const lost = (nowMs: number): Step => ({ kind: "lost", why: "refused", hint: undefined, nowMs });
  const state = after(snapshot(), lost(5000), lost(9000));
  expect(state.connection).toMatchObject({ state: "lost", sinceMs: 5000 });
  expect(state.dataMs).toBe(1000);
  expect(reduce(state, { kind: "items", items: [], nowMs: 9500 }).connection).toEqual({ state: "live" });
});

test("typing into a prompt keeps no control character and erases whole characters", () => {
  const ask: Step = { kind: "ask", prompt: { kind: "note", alert: "x", typed: "" } };
  const state = after(ask, { kind: "type", text: "a\u001B[8m日👍" });
  expect(state.prompt?.typed).toBe("a[8m日👍");
  expect(reduce(state, { kind: "erase" }).prompt?.typed).toBe("a[8m日");
});

test("an order's progress replaces itself, another order stands beside it", () => {
  const job = (key: number, outcome: "pending" | "done", words: string): Step => ({
    kind: "job",
    job: { key, act: "isolate", device: "gw-014", startedMs: 0, outcome, words },
  });
  const state = after(job(1, "pending", "waiting"), job(2, "pending", "other"), job(1, "done", "isolated"));
  expect(state.jobs.map((one) => one.words)).toEqual(["isolated", "other"]);
  expect(reduce(state, { kind: "dismiss" }).jobs.map((one) => one.words)).toEqual(["other"]);
});

test("that an order is done is old news after a minute or at the next question; that one failed stays until dismissed", () => {
  const ended = (key: number, outcome: "done" | "failed"): Step => ({
    kind: "job",
    job: { key, act: "isolate", device: "gw-014", startedMs: 0, outcome, words: outcome, endedMs: 1000 },
  });
  const words = (state: ConsoleState) => state.jobs.map((one) => one.words);
  const state = after(ended(1, "done"), ended(2, "failed"));
  expect(words(reduce(state, { kind: "tick", nowMs: 61_000 }))).toEqual(["done", "failed"]);
  expect(words(reduce(state, { kind: "tick", nowMs: 61_001 }))).toEqual(["failed"]);
  expect(words(reduce(state, { kind: "ask", prompt: { kind: "note", alert: "x", typed: "" } }))).toEqual(["failed"]);
  expect(words(reduce(state, { kind: "dismiss" }))).toEqual([]);
});

test("that a device was isolated is not said on when another operator has released it", () => {
  const done: Step = { kind: "job", job: { key: 1, act: "isolate", device: "gw-014", startedMs: 0, outcome: "done", words: "done" } };
  const device = (isolationWanted: boolean): Step => ({
    kind: "items",
    items: [{ kind: "device", device: madeDevice("gw-014", { isolationWanted }) }],
    nowMs: 1,
  });
  expect(after(done, device(true)).jobs).toHaveLength(1);
  expect(after(done, device(true), device(false)).jobs).toEqual([]);
});

test("while an order waits what a key did can be read; the order's end takes its place", () => {
  const job = (outcome: "pending" | "done"): Step => ({
    kind: "job",
    job: { key: 1, act: "isolate", device: "gw-014", startedMs: 0, outcome, words: outcome },
  });
  const said = after(job("pending"), { kind: "say", message: { tone: "bad", text: "cannot be judged" } }, job("pending"));
  expect(said.message?.text).toBe("cannot be judged");
  expect(reduce(said, job("done")).message).toBeUndefined();
});

test("a device's orders follow the live stream once they are read", () => {
  const sent = madeCommand();
  const state = after(
    { kind: "history", device: "gw-014", commands: [sent] },
    { kind: "items", items: [{ kind: "command", command: { ...sent, state: "sent" } }], nowMs: 1 },
  );
  expect(state.history.get("gw-014")).toEqual([{ ...sent, state: "sent" }]);
});

test("a flood keeps the worst and what is selected", () => {
  const flood = Array.from({ length: 6500 }, (_, index) => madeAlert(`flood ${index}`, { severity: "low", lastMs: 10_000 + index }));
  const state = after(
    snapshot([madeAlert("mine", { severity: "low", lastMs: 1 })]),
    arrives(...flood, madeAlert("bad", { severity: "critical" })),
  );
  expect(state.alerts.size).toBeLessThanOrEqual(6000);
  expect(state.alerts.has(madeAlert("mine").id)).toBe(true);
  expect(titles(state)[0]).toBe("bad");
});

test("back ends at the list; lists forget the pages above them", () => {
  const open: Step = { kind: "open", view: { kind: "device", id: "gw-014" } };
  expect(viewOf(after(open, { kind: "back" }, { kind: "back" })).kind).toBe("alerts");
  expect(after(open, open, { kind: "list", list: "devices" }).views).toEqual([{ kind: "devices" }]);
});

test.each([
  ["stays while the row is on the screen", 5, 7, 10, 100, 5],
  ["follows down by as little as needed", 0, 10, 10, 100, 1],
  ["follows up", 50, 20, 10, 100, 20],
  ["shows the end without a gap", 95, 99, 10, 100, 90],
  ["starts at the top when all fits", 3, 2, 10, 4, 0],
  ["keeps its place without a selection", 5, -1, 10, 100, 5],
])("scrolling %s", (_, before, index, rows, count, expected) => {
  expect(firstRow(before, index, rows, count)).toBe(expected);
});
