// Who is there: heartbeats, Last Wills, silence, and how much of what happened on a device arrived.
import { DeviceStatus, OFFLINE_AFTER_S, type OnlineStatus } from "@picket/protocol/status";
import { hourOf, raise } from "../broker-alert.ts";
import type { Changes } from "../changes.ts";
import type { Store } from "../store/database.ts";
import { getDevice, getLiveness, listCanaries, listLiveness, noteLost, saveStatus, setPresence, setSilentSince } from "../store/devices.ts";
import { reportEpochs } from "../store/received.ts";
import { worse } from "./blind.ts";
import { Twins } from "./twins.ts";

/** protocol/alert.ts */
const MAX_SUMMARY = 1000;
/** Canaries in a row whose absence is no chance any more. */
const CANARIES_MISSED = 3;
export const SWEEP_MS = 10_000;
/** A clean stop is a reboot or an update until it lasts longer than this. Whoever has root can end the agent cleanly too. */
export const STOPPED_TOO_LONG_MS = 10 * 60_000;

export type PresencePorts = {
  readonly site: string;
  readonly store: Store;
  readonly changes: Changes;
  readonly nowMs: () => number;
  /** Whether the detector is there and has decided all but the newest. While it is not, no canary can come through. */
  readonly detectorIsCurrent: () => boolean;
};

/** What happened in a transaction and is told to listeners after it. */
type Told = { readonly alerts: { id: string; created: boolean }[]; devices: string[] };

export class Presence {
  readonly #ports: PresencePorts;
  readonly #startedMs: number;
  readonly #twins = new Twins();
  /** Since when each device has been online under its epoch, and the detector current: before that its canary cannot be missed. */
  readonly #expected = new Map<string, { epoch: string; sinceMs: number }>();
  readonly #mute = new Set<string>();

  constructor(ports: PresencePorts) {
    this.#ports = ports;
    this.#startedMs = ports.nowMs();
  }

  /**
   * Takes in a payload of `.../status`, on disk when it resolves. Returns why it cannot be read, or undefined.
   */
  async status(device: string, payload: Uint8Array): Promise<string | undefined> {
    const parsed = readStatus(payload);
    if (typeof parsed === "string") return parsed;
    await this.#commit((told) => {
      if (parsed.state === "online") this.#online(device, parsed, told);
      // A word about an epoch that is over says nothing about the agent that runs now.
      else if (getDevice(this.#ports.store, device)?.status?.epoch === parsed.epoch) this.#gone(device, parsed.state, told);
    });
    return undefined;
  }

  /** A newer connection of the device took over one that was still alive. */
  async takeover(device: string, from: { oldAddress: string; newAddress: string }): Promise<void> {
    if (this.#twins.takeover(device, from, this.#ports.nowMs()))
      await this.#commit((told) => this.#raiseTwins(device, told, `from ${from.oldAddress} and ${from.newAddress}`));
  }

  /** Marks devices offline that were silent for too long, or stopped and did not come back, and raises an alert at the start of each silence. */
  async sweep(): Promise<void> {
    const nowMs = this.#ports.nowMs();
    // While the broker was down nobody could be heard: silence counts from its start.
    const silent = listLiveness(this.#ports.store).filter(
      ({ silentSinceMs, lastSeenMs, presence }) =>
        silentSinceMs === null &&
        Math.max(lastSeenMs, this.#startedMs) + (presence === "stopped" ? STOPPED_TOO_LONG_MS : OFFLINE_AFTER_S * 1000) <= nowMs,
    );
    if (silent.length === 0) return;
    await this.#commit((told) => {
      for (const { id, lastSeenMs, presence } of silent) {
        const stopped = presence === "stopped";
        if (!stopped) setPresence(this.#ports.store, id, "offline");
        setSilentSince(this.#ports.store, id, lastSeenMs);
        const since = new Date(lastSeenMs).toISOString();
        const summary = () =>
          stopped
            ? `The agent on ${id} was stopped; nothing has been heard of it since ${since}.`
            : `${id} has not been heard of since ${since}.`;
        this.#raise(told, { rule: "offline", device: id, anchorMs: lastSeenMs, add: 1, summary });
        told.devices.push(id);
      }
    });
  }

  /** Raises an alert about devices that say they are well, but whose canary does not get through to the detector. */
  async sweepCanaries(): Promise<void> {
    const { store, nowMs, detectorIsCurrent } = this.#ports;
    if (!detectorIsCurrent()) {
      for (const expected of this.#expected.values()) expected.sinceMs = nowMs();
      return;
    }
    const missed = listCanaries(store).filter(({ id, canaryMs, canaryS }) => {
      const sinceMs = this.#expected.get(id)?.sinceMs ?? nowMs();
      const late = nowMs() - Math.max(canaryMs ?? 0, sinceMs) > CANARIES_MISSED * canaryS * 1000;
      if (!late) this.#mute.delete(id);
      return late && !this.#mute.has(id);
    });
    if (missed.length === 0) return;
    await this.#commit((told) => {
      for (const { id, canaryS } of missed) {
        this.#mute.add(id);
        const summary = () =>
          `${id} says it is well, but what it does every ${canaryS} s to test itself has not reached the detector ${CANARIES_MISSED} times in a row: its sensor, or the way of its events, is broken.`;
        this.#raise(told, { rule: "blind", device: id, anchorMs: hourOf(nowMs()), add: 1, summary });
        told.devices.push(id);
      }
    });
  }

  #online(device: string, status: OnlineStatus, told: Told): void {
    const { store, nowMs } = this.#ports;
    if (this.#expected.get(device)?.epoch !== status.epoch || getDevice(store, device)?.presence !== "online")
      this.#expected.set(device, { epoch: status.epoch, sinceMs: nowMs() });
    const before = getLiveness(store, device);
    if (!before) return;
    const lost = worse(getDevice(store, device)?.status?.capabilities ?? [], status.capabilities);
    saveStatus(store, device, status, nowMs());
    if (before.silentSinceMs !== null) this.#back(device, before.silentSinceMs, told);
    if (this.#twins.heartbeat(device, status.epoch)) this.#raiseTwins(device, told, "an agent that had been replaced is sending again");
    const covered = reportEpochs(store, { ...status, device, held: status.epochs, nowMs: nowMs() });
    const events = noteLost(store, device, covered.lost);
    if (lost.length > 0) {
      const what = lost.map(({ name, level, why }) => `${name} is ${level}: ${why}`).join("; ");
      const summary = () => `${device} does not see what it saw before: ${what}`.slice(0, MAX_SUMMARY);
      this.#raise(told, { rule: "blind", device, anchorMs: hourOf(nowMs()), add: 1, summary });
    }
    if (events > 0) {
      const summary = (count: number) =>
        `${count} events of ${device} were lost within an hour (${(covered.ratio * 100).toFixed(2)} % of all it had arrived; ${covered.unexplained} are missing without a report).`;
      this.#raise(told, { rule: "loss", device, anchorMs: hourOf(nowMs()), add: events, summary });
    }
    told.devices.push(device);
  }

  /** The alert about a silence ends with how long it was; it stays open for whoever looks after it. */
  #back(device: string, sinceMs: number, told: Told): void {
    const { store, nowMs } = this.#ports;
    setSilentSince(store, device, null);
    const summary = () =>
      `${device} was silent for ${Math.round((nowMs() - sinceMs) / 1000)} s from ${new Date(sinceMs).toISOString()} and is back.`;
    this.#raise(told, { rule: "offline", device, anchorMs: sinceMs, add: 0, summary });
  }

  #gone(device: string, state: "stopped" | "offline", told: Told): void {
    if (setPresence(this.#ports.store, device, state)) told.devices.push(device);
  }

  #raiseTwins(device: string, told: Told, how: string): void {
    const summary = (count: number) => `Two machines use the certificate of ${device} (${how}; seen ${count} times within an hour).`;
    this.#raise(told, { rule: "twins", device, anchorMs: hourOf(this.#ports.nowMs()), add: 1, summary });
  }

  #raise(told: Told, of: Omit<Parameters<typeof raise>[1], "site" | "nowMs">): void {
    const { id, change } = raise(this.#ports.store, { ...of, site: this.#ports.site, nowMs: this.#ports.nowMs() });
    if (change !== "unchanged") told.alerts.push({ id, created: change === "created" });
  }

  async #commit(work: (told: Told) => void): Promise<void> {
    const told: Told = { alerts: [], devices: [] };
    await this.#ports.store.commitSoon(() => work(told));
    for (const { id, created } of told.alerts) this.#ports.changes.tell({ kind: "alert", id, created });
    for (const device of told.devices) this.#ports.changes.tell({ kind: "device", device });
  }
}

function readStatus(payload: Uint8Array): DeviceStatus | string {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(payload).toString());
  } catch {
    return "a status that is not JSON";
  }
  const parsed = DeviceStatus.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  return `a status that cannot be read: ${issue?.path.join(".")}: ${issue?.message}`;
}
