import { routes } from "@picket/protocol/rest";
import { DeviceStatus, OFFLINE_AFTER_S } from "@picket/protocol/status";
import { expect, test } from "vitest";
import { type Change, Changes } from "../changes.ts";
import { Ledger } from "../ledger/ledger.ts";
import { listAlerts } from "../store/alerts.ts";
import type { Store } from "../store/database.ts";
import { addDevice, getDevice, listDevices, revokeDevice, saveCanaries } from "../store/devices.ts";
import { openStore } from "../store/schema.ts";
import { makeStatus } from "../testing/site.ts";
import { STOPPED_TOO_LONG_MS } from "./absence.ts";
import { Presence, SWEEP_MS } from "./presence.ts";

const HOUR_MS = 3600_000;
const START_MS = 500_000 * HOUR_MS;

function setup(store: Store) {
  const clock = { nowMs: START_MS };
  const detector = { current: true };
  const changes = new Changes();
  const told: Change[] = [];
  changes.listen((change) => told.push(change));
  addDevice(store, "gw-1", clock.nowMs);
  const ledger = new Ledger(store);
  const make = () =>
    new Presence({
      ...{ site: "yard", store, changes, nowMs: () => clock.nowMs, log: () => {}, ledger },
      ...{ hasNetwork: () => true, detectorIsCurrent: () => detector.current },
    });
  const presence = make();
  /** Time goes by, and the broker looks as often as it does. */
  const pass = async (ms: number, on = presence) => {
    for (let left = ms; left > 0; left -= SWEEP_MS) {
      clock.nowMs += Math.min(left, SWEEP_MS);
      await on.sweep();
    }
  };
  const say = (payload: object | string, on = presence) =>
    on.status("gw-1", Buffer.from(typeof payload === "string" ? payload : JSON.stringify(payload)));
  const alerts = () =>
    listAlerts(store, { limit: 10 }).map(({ rule, count, revision, firstMs, lastMs }) => ({
      rule: rule.id,
      count,
      revision,
      firstMs,
      lastMs,
    }));
  return { clock, detector, presence, pass, make, say, told, alerts, row: () => getDevice(store, "gw-1")! };
}

test("a heartbeat says who is there and what it says of itself", async () => {
  using store = openStore(":memory:");
  const { say, row, told } = setup(store);
  expect(row()).toMatchObject({ presence: "never" });
  const status = makeStatus("epoch000", { rssBytes: 42 });
  expect(await say(status)).toBeUndefined();
  expect(row()).toMatchObject({ presence: "online", lastSeenMs: START_MS, status: DeviceStatus.parse(status) });
  expect(told).toEqual([{ kind: "device", device: "gw-1" }]);
});

test.each([["not json"], ["{}"], ['{"v":1,"state":"online"}'], ["[]"]])(
  "a status that cannot be read is told, not thrown: %s",
  async (text) => {
    using store = openStore(":memory:");
    const { say, row } = setup(store);
    expect(await say(text)).toMatch(/^a status that/);
    expect(row().presence).toBe("never");
  },
);

test("the Last Will makes a device offline at once, without an alert; a clean stop says so", async () => {
  using store = openStore(":memory:");
  const { say, row, alerts } = setup(store);
  await say(makeStatus("epoch000"));
  await say({ v: 1, state: "offline", epoch: "epoch000" });
  expect(row().presence).toBe("offline");
  await say(makeStatus("epoch000"));
  await say({ v: 1, state: "stopped", epoch: "epoch000" });
  expect(row().presence).toBe("stopped");
  expect(alerts()).toEqual([]);
});

test("a Last Will of an agent that was replaced does not hide the one that runs", async () => {
  using store = openStore(":memory:");
  const { say, row } = setup(store);
  await say(makeStatus("epoch000"));
  await say(makeStatus("epoch111"));
  await say({ v: 1, state: "offline", epoch: "epoch000" });
  expect(row().presence).toBe("online");
});

test("silence is one alert, from its start to its end", async () => {
  using store = openStore(":memory:");
  const { clock, presence, pass, say, row, alerts } = setup(store);
  await say(makeStatus("epoch000"));
  await pass(OFFLINE_AFTER_S * 1000 - 1);
  expect(row().presence).toBe("online");
  clock.nowMs += 1;
  await presence.sweep();
  await presence.sweep();
  expect(row()).toMatchObject({ presence: "offline", openAlerts: 1 });
  expect(alerts()).toEqual([{ rule: "picket-broker-offline", count: 1, revision: 0, firstMs: START_MS, lastMs: clock.nowMs }]);
  clock.nowMs += HOUR_MS;
  await say(makeStatus("epoch000"));
  await presence.sweep();
  expect(row().presence).toBe("online");
  expect(alerts()).toEqual([{ rule: "picket-broker-offline", count: 1, revision: 1, firstMs: START_MS, lastMs: clock.nowMs }]);
  await pass(60_000);
  expect(alerts()).toHaveLength(2);
});

test("the time the broker itself was down is not held against a device, and a restart raises no second alert", async () => {
  using store = openStore(":memory:");
  const { clock, presence, pass, make, say, alerts } = setup(store);
  await say(makeStatus("epoch000"));
  clock.nowMs += HOUR_MS;
  const second = make();
  await second.sweep();
  expect(alerts()).toEqual([]);
  await pass(OFFLINE_AFTER_S * 1000, second);
  await presence.sweep();
  await make().sweep();
  expect(alerts()).toHaveLength(1);
});

test("a device that was revoked is not missed", async () => {
  using store = openStore(":memory:");
  const { clock, pass, say, alerts } = setup(store);
  await say(makeStatus("epoch000"));
  revokeDevice(store, "gw-1", clock.nowMs);
  await pass(HOUR_MS);
  expect(alerts()).toEqual([]);
});

test("an agent that was stopped cleanly and does not come back is missed: an intruder with root can say goodbye too", async () => {
  using store = openStore(":memory:");
  const { clock, presence, pass, say, row, alerts } = setup(store);
  await say(makeStatus("epoch000"));
  await say({ v: 1, state: "stopped", epoch: "epoch000" });
  await pass(STOPPED_TOO_LONG_MS - 1);
  expect(alerts()).toEqual([]);
  clock.nowMs += 1;
  await presence.sweep();
  await presence.sweep();
  expect(row().presence).toBe("stopped");
  expect(alerts()).toMatchObject([{ rule: "picket-broker-offline", count: 1, revision: 0, firstMs: START_MS }]);
  await say(makeStatus("epoch111"));
  expect(row().presence).toBe("online");
  expect(alerts()).toMatchObject([{ count: 1, revision: 1 }]);
});

test("no heartbeat changes what the site decided", async () => {
  using store = openStore(":memory:");
  const { say, row } = setup(store);
  revokeDevice(store, "gw-1", START_MS);
  await say({ ...makeStatus("epoch000"), trust: "enrolled", isolationWanted: true });
  expect(row()).toMatchObject({ trust: "revoked", isolationWanted: false });
});

test("loss shows in the coverage and counts up in one alert an hour", async () => {
  using store = openStore(":memory:");
  const { clock, say, row, alerts } = setup(store);
  const lost = (kernel: number) => makeStatus("epoch000", { lost: { kernel, shed: 0, buffer: 0 } });
  await say(lost(0));
  await say(lost(10));
  await say(lost(10));
  clock.nowMs += 60_000;
  await say(lost(25));
  expect(row().coverage).toEqual({ stored: 0, lost: 25, ratio: 0 });
  expect(alerts()).toEqual([{ rule: "picket-broker-loss", count: 25, revision: 1, firstMs: START_MS, lastMs: clock.nowMs }]);
  clock.nowMs += HOUR_MS;
  await say(lost(26));
  expect(alerts().map(({ count }) => count)).toEqual([1, 25]);
});

test("a device that claims all the loss there can be, in one epoch after another, hides nobody", async () => {
  using store = openStore(":memory:");
  const { clock, say, row, alerts } = setup(store);
  const most = Number.MAX_SAFE_INTEGER;
  for (let n = 0; n < 600; n++) {
    clock.nowMs += 1000;
    await say(makeStatus(String(n).padStart(8, "0"), { lost: { kernel: most, shed: most, buffer: most } }));
  }
  // What one report can tell of, twice in each: a sum that is full would take in nothing more.
  const claimed = 600 * 2 * 2 ** 40;
  const listed = routes.devices.response.parse({ devices: listDevices(store) });
  expect(listed.devices).toMatchObject([{ id: "gw-1", coverage: { lost: claimed, ratio: 0 } }]);
  expect(row().presence).toBe("online");
  expect(alerts()).toMatchObject([{ rule: "picket-broker-loss", count: claimed }]);
  routes.alerts.response.parse({ alerts: listAlerts(store, { limit: 10 }) });
});

test("two agents with one certificate raise an alert", async () => {
  using store = openStore(":memory:");
  const { say, alerts } = setup(store);
  for (const epoch of ["epoch000", "epoch111", "epoch000", "epoch111"]) await say(makeStatus(epoch));
  expect(alerts()).toMatchObject([{ rule: "picket-broker-twins", count: 2 }]);
});

test("a device that sees less than before is an alert that says what; one that never saw it is not", async () => {
  using store = openStore(":memory:");
  const { say, alerts } = setup(store);
  const sees = (canary: "live" | "degraded", file: "live" | "off") =>
    makeStatus("epoch000", {
      capabilities: [
        { name: "canary", level: canary, why: "a program that the agent started was not seen" },
        { name: "sensor.file", level: file, why: "no tracepoint" },
      ],
    });
  await say(sees("live", "off"));
  await say(sees("live", "off"));
  expect(alerts()).toEqual([]);
  await say(sees("degraded", "off"));
  await say(sees("degraded", "off"));
  expect(alerts()).toMatchObject([{ rule: "picket-broker-blind", count: 1 }]);
  const [alert] = listAlerts(store, { limit: 1 });
  expect(alert).toMatchObject({
    severity: "high",
    summary: "gw-1 does not see what it saw before: canary is degraded: a program that the agent started was not seen",
  });
  await say(sees("live", "live"));
  await say(sees("live", "off"));
  expect(alerts()).toMatchObject([{ count: 2 }]);
  for (const level of ["live", "degraded"] as const)
    await say(makeStatus("epoch000", { capabilities: [{ name: "files", level, why: "too many came at once" }] }));
  expect(alerts()).toMatchObject([{ count: 2 }]);
});

test("a device that says it is well, but whose canary does not reach the detector, is one alert for each time that begins", async () => {
  using store = openStore(":memory:");
  const { clock, presence, say, alerts } = setup(store);
  const beat = () => say(makeStatus("epoch000", { canaryS: 60 }));
  const pass = async (seconds: number, sings: boolean) => {
    for (let passed = 0; passed < seconds; passed += 15) {
      clock.nowMs += 15_000;
      await beat();
      if (sings) saveCanaries(store, [{ device: "gw-1", receivedMs: clock.nowMs }]);
      await presence.sweepCanaries();
    }
  };
  await beat();
  await pass(600, true);
  expect(alerts()).toEqual([]);
  await pass(180, false);
  expect(alerts()).toEqual([]);
  await pass(300, false);
  expect(alerts()).toMatchObject([{ rule: "picket-broker-blind", count: 1 }]);
  await pass(60, true);
  await pass(300, false);
  expect(alerts()).toMatchObject([{ count: 2 }]);
});

test("a canary that is to sing more often has not missed what it was not to sing before; from then on it can", async () => {
  using store = openStore(":memory:");
  const { clock, presence, say, alerts } = setup(store);
  await say(makeStatus("epoch000", { canaryS: 300 }));
  saveCanaries(store, [{ device: "gw-1", receivedMs: clock.nowMs }]);
  clock.nowMs += 290_000;
  await say(makeStatus("epoch000", { canaryS: 10 }));
  clock.nowMs += 20_000;
  await presence.sweepCanaries();
  expect(alerts()).toEqual([]);
  clock.nowMs += 20_000;
  await say(makeStatus("epoch000", { canaryS: 10 }));
  await presence.sweepCanaries();
  expect(alerts()).toMatchObject([{ rule: "picket-broker-blind", count: 1 }]);
});

test("no canary is missed while the detector is away or behind, while the device is offline, of an agent that just started, and of one that has none", async () => {
  using store = openStore(":memory:");
  const { clock, detector, presence, say, alerts } = setup(store);
  const beat = (epoch = "epoch000", canaryS: number | undefined = 60) => say(makeStatus(epoch, canaryS === undefined ? {} : { canaryS }));
  await beat();
  detector.current = false;
  clock.nowMs += 3600_000;
  await beat();
  await presence.sweepCanaries();
  detector.current = true;
  clock.nowMs += 170_000;
  await presence.sweepCanaries();
  await beat("epoch111");
  clock.nowMs += 170_000;
  await presence.sweepCanaries();
  await say({ v: 1, state: "offline", epoch: "epoch111" });
  clock.nowMs += 3600_000;
  await presence.sweepCanaries();
  await say(makeStatus("epoch222"));
  clock.nowMs += 3600_000;
  await presence.sweepCanaries();
  expect(alerts()).toEqual([]);
});
