// Who is there: heartbeats, Last Wills, silence, and how much of what happened on a device arrived.

import { DeviceStatus, type OnlineStatus } from "@picket/protocol/status";
import { tryParse } from "@picket/protocol/try-parse";
import { hourOf } from "../broker-alert.ts";
import type { Changes } from "../changes.ts";
import type { Log } from "../peer.ts";
import type { How } from "../store/absences.ts";
import type { Store } from "../store/database.ts";
import { getDevice, getLiveness, listCanaries, saveStatus } from "../store/devices.ts";
import type { LossNews } from "../store/ledger-news.ts";
import { reportEpochs } from "../store/received.ts";
import { worse } from "./blind.ts";
import { Hearing } from "./hearing.ts";
import { lossAlert } from "./loss.ts";
import { Silence } from "./silence.ts";
import { Teller, type Told } from "./teller.ts";
import { Twins } from "./twins.ts";

/** protocol/alert.ts */
const MAX_SUMMARY = 1000;
/** Canaries in a row whose absence is no chance any more. */
const CANARIES_MISSED = 3;
export const SWEEP_MS = 10_000;

export type PresencePorts = {
  readonly site: string;
  readonly store: Store;
  readonly changes: Changes;
  readonly nowMs: () => number;
  readonly log: Log;
  /** Enters a heartbeat into the loss ledger, inside its transaction. */
  readonly ledger: { heartbeat(device: string, status: OnlineStatus, nowMs: number): LossNews };
  /** Whether the broker's host has an interface that leads out of it. */
  readonly hasNetwork: () => boolean;
  /** Whether the detector is there and has decided all but the newest. While it is not, no canary can come through. */
  readonly detectorIsCurrent: () => boolean;
};

const heard: Record<NonNullable<ReturnType<Hearing["look"]>>, string> = {
  off: "this host has no network: no device is missed until it has",
  on: "this host has a network again",
  frozen: "the broker stood still: no device is missed for what it did not hear",
};

export class Presence {
  readonly #ports: PresencePorts;
  readonly #teller: Teller;
  readonly #hearing: Hearing;
  readonly #silence: Silence;
  readonly #twins = new Twins();
  /** Since when each device has been online under its epoch, and the detector current: before that its canary cannot be missed. */
  readonly #expected = new Map<string, { epoch: string; sinceMs: number }>();
  readonly #mute = new Set<string>();

  constructor(ports: PresencePorts) {
    this.#ports = ports;
    this.#teller = new Teller(ports);
    this.#hearing = new Hearing(ports.nowMs(), ports.hasNetwork);
    this.#silence = new Silence({ ...ports, teller: this.#teller, hearing: this.#hearing });
  }

  /**
   * Takes in a payload of `.../status`, on disk when it resolves. Returns why it cannot be read, or undefined.
   * `ended`: how the connection ended whose Last Will this is.
   */
  async status(device: string, payload: Uint8Array, ended: Exclude<How, "stopped"> = "silent"): Promise<string | undefined> {
    const parsed = readStatus(payload);
    if (typeof parsed === "string") return parsed;
    await this.#teller.commit((told) => {
      if (parsed.state === "online") this.#online(device, parsed, told);
      // A word about an epoch that is over says nothing about the agent that runs now.
      else if (getDevice(this.#ports.store, device)?.status?.epoch === parsed.epoch)
        this.#silence.gone(device, parsed.state === "stopped" ? "stopped" : ended, told);
    });
    return undefined;
  }

  /** A newer connection of the device took over one that was still alive. */
  async takeover(device: string, from: { oldAddress: string; newAddress: string }): Promise<void> {
    if (this.#twins.takeover(device, from, this.#ports.nowMs()))
      await this.#teller.commit((told) => this.#raiseTwins(device, told, `from ${from.oldAddress} and ${from.newAddress}`));
  }

  /** The device has an accepted connection. */
  connected(device: string, address: string): void {
    this.#silence.connected(device, address);
  }

  /** Raises an alert at the start of each silence, and tells of blackouts what is new. */
  async sweep(): Promise<void> {
    const changed = this.#hearing.look(this.#ports.nowMs());
    if (changed !== undefined) this.#ports.log(changed === "on" ? "info" : "warn", heard[changed]);
    await this.#silence.sweep();
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
    await this.#teller.commit((told) => {
      for (const { id, canaryS } of missed) {
        this.#mute.add(id);
        const summary = () =>
          `${id} says it is well, but what it does every ${canaryS} s to test itself has not reached the detector ${CANARIES_MISSED} times in a row: its sensor, or the way of its events, is broken.`;
        this.#teller.raise(told, { rule: "blind", device: id, anchorMs: hourOf(nowMs()), add: 1, summary });
        told.devices.push(id);
      }
    });
  }

  #online(device: string, status: OnlineStatus, told: Told): void {
    const { store, nowMs } = this.#ports;
    const known = getDevice(store, device);
    const said = known?.status;
    // A canary that is to sing more often from now on has not missed what it was not to sing before.
    if (this.#expected.get(device)?.epoch !== status.epoch || known?.presence !== "online" || said?.canaryS !== status.canaryS)
      this.#expected.set(device, { epoch: status.epoch, sinceMs: nowMs() });
    const before = getLiveness(store, device);
    if (!before) return;
    const lost = worse(said?.capabilities ?? [], status.capabilities);
    this.#silence.back(device, said, status, told);
    saveStatus(store, device, status, nowMs());
    if (this.#twins.heartbeat(device, status.epoch)) this.#raiseTwins(device, told, "an agent that had been replaced is sending again");
    reportEpochs(store, { ...status, device, held: status.epochs, nowMs: nowMs() });
    const news = this.#ports.ledger.heartbeat(device, status, nowMs());
    if (lost.length > 0) {
      const what = lost.map(({ name, level, why }) => `${name} is ${level}: ${why}`).join("; ");
      const summary = () => `${device} does not see what it saw before: ${what}`.slice(0, MAX_SUMMARY);
      this.#teller.raise(told, { rule: "blind", device, anchorMs: hourOf(nowMs()), add: 1, summary });
    }
    if (news.fresh > 0)
      this.#teller.raise(told, { rule: "loss", device, anchorMs: hourOf(nowMs()), add: news.fresh, ...lossAlert(device, news) });
    told.devices.push(device);
  }

  #raiseTwins(device: string, told: Told, how: string): void {
    const summary = (count: number) => `Two machines use the certificate of ${device} (${how}; seen ${count} times within an hour).`;
    this.#teller.raise(told, { rule: "twins", device, anchorMs: hourOf(this.#ports.nowMs()), add: 1, summary });
  }
}

function readStatus(payload: Uint8Array): DeviceStatus | string {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(payload).toString());
  } catch {
    return "a status that is not JSON";
  }
  const parsed = tryParse(DeviceStatus, json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  return `a status that cannot be read: ${issue?.path.join(".")}: ${issue?.message}`;
}
