// Alerts of other sites in the console: seen as such, never acted on as if they were ours.
import { expect, test } from "vitest";
import { advice } from "./advice.ts";
import { alertPage } from "./components/alert-detail.tsx";
import { alertsScreen } from "./screens/alerts.tsx";
import { judgingHints, pressJudging } from "./screens/judging.ts";
import type { ScreenContext } from "./screens/screen.ts";
import { listedAlerts } from "./state/order.ts";
import { reduce } from "./state/reduce.ts";
import { initialState, type Step } from "./state/state.ts";
import { madeAlert, madeDevice } from "./testing/made-up.ts";

const origin = { site: "south", via: "east", trust: "vouched", receivedMs: 1 } as const;
const theirs = madeAlert("theirs", { site: "south", origin });
const ours = madeAlert("ours");

function context(alerts = [theirs, ours]) {
  const steps: Step[] = [];
  const state = {
    ...initialState(0),
    alerts: new Map(alerts.map((alert) => [alert.id, alert])),
    devices: new Map([["gw-014", madeDevice("gw-014")]]),
  };
  const at: ScreenContext = { state, dispatch: (step) => steps.push(step), act: {} as ScreenContext["act"], columns: 100, rows: 30 };
  return { at, steps };
}

test.each(["i", "r"])("%s orders nothing for a device of another site, though one of ours is called the same", (char) => {
  const { at, steps } = context();
  expect(pressJudging({ char, name: undefined } as never, theirs, at)).toBe(true);
  expect(steps).toEqual([{ kind: "say", message: { tone: "plain", text: expect.stringContaining("belongs to the site south") } }]);
  const own = context();
  pressJudging({ char: "i", name: undefined } as never, ours, own.at);
  expect(own.steps).toMatchObject([{ kind: "ask", prompt: { kind: "order", act: "isolate", device: "gw-014" } }]);
});

test("the page says whose it is, and who vouches; it offers no isolation", () => {
  const text = alertPage({ alert: theirs, device: undefined, evidence: undefined, nowMs: 2, columns: 100, wrapped: true })
    .map((line) => line.spans.map((span) => span.text).join(""))
    .join("\n");
  expect(text).toContain("on gw-014 of the site south (vouched for by east)");
  expect(text).toContain("The events stay at the site south");
  expect(text.toLowerCase()).not.toContain("isolate the device");
  expect(judgingHints(theirs).map(([, what]) => what)).not.toContain("isolate");
  expect(advice(theirs, madeDevice("gw-014"), "console").now.join(" ")).toContain("only its operators can act");
});

test("ours stand first among equals, and those of other sites can be hidden", () => {
  const { at, steps } = context();
  expect(listedAlerts(at.state).map(({ id }) => id)).toEqual([ours.id, theirs.id]);
  alertsScreen.press({ char: "m", name: undefined } as never, at);
  expect(steps).toEqual([{ kind: "toggle-mesh" }]);
  expect(listedAlerts(reduce(at.state, { kind: "toggle-mesh" })).map(({ id }) => id)).toEqual([ours.id]);
});

test("a flood of critical alerts of others pushes none of ours out of the console", () => {
  const flood = Array.from(
    { length: 7000 },
    (_, at) => ({ kind: "alert", alert: madeAlert(`flood ${at}`, { severity: "critical", origin }) }) as const,
  );
  const low = madeAlert("low", { severity: "low" });
  const state = reduce(initialState(0), { kind: "items", items: [{ kind: "alert", alert: low }, ...flood], nowMs: 1 });
  expect(state.alerts.has(low.id)).toBe(true);
  expect(state.alerts.size).toBeLessThan(6001);
});
