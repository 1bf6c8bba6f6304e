// Devices that are not heard: each is judged once, alone or as one of many, and the alert says when they are back.
import type { OnlineStatus } from "@picket/protocol/status";
import { hourOf } from "../broker-alert.ts";
import {
  type Blackout,
  blackoutsSince,
  endAbsence,
  type How,
  joinBlackout,
  membersOf,
  noteAbsence,
  openBlackout,
  saveAddress,
  saveTold,
  sightings,
} from "../store/absences.ts";
import type { Store } from "../store/database.ts";
import { getLiveness, setPresence, setSilentSince } from "../store/devices.ts";
import { type Gone, isLoopback, judgeAbsences, networkOf, OFFLINE_AFTER_MS, TOGETHER_MS } from "./absence.ts";
import { backWords, blackoutWords, goneWords } from "./absence-words.ts";
import type { Hearing } from "./hearing.ts";
import type { Teller, Told } from "./teller.ts";

/** An agent that ends this often within the window without a word, and is started again each time, is in trouble or in somebody's way. */
const KILLS = 3;
const KILLS_MS = 3600_000;

type Ports = {
  readonly site: string;
  readonly store: Store;
  readonly nowMs: () => number;
  readonly teller: Teller;
  readonly hearing: Hearing;
};

export class Silence {
  readonly #ports: Ports;
  readonly #addresses = new Map<string, string>();
  readonly #kills = new Map<string, number[]>();

  constructor(ports: Ports) {
    this.#ports = ports;
  }

  /** A device connected. */
  connected(device: string, address: string): void {
    if (this.#addresses.get(device) === address) return;
    this.#addresses.set(device, address);
    // With whatever else is written now: a thousand devices that connect at once must not wait for the disk one by one.
    const { store } = this.#ports;
    store
      .commitSoon(() => saveAddress(store, device, address))
      .catch(() => {
        // A full disk: known again at its next connection.
        this.#addresses.delete(device);
      });
  }

  /** Inside a transaction: a device said goodbye, or its connection ended without one. */
  gone(device: string, how: How, told: Told): void {
    const { store, nowMs } = this.#ports;
    const lastSeenMs = getLiveness(store, device)?.lastSeenMs ?? nowMs();
    noteAbsence(store, device, how, how === "lost" || how === "silent" ? lastSeenMs : nowMs());
    if (setPresence(store, device, how === "stopped" ? "stopped" : "offline")) told.devices.push(device);
  }

  /** Inside a transaction: a heartbeat came. `before` is the status the device had when it went. */
  back(device: string, before: OnlineStatus | undefined, now: OnlineStatus, told: Told): void {
    const { store, nowMs, teller } = this.#ports;
    const judgedMs = getLiveness(store, device)?.silentSinceMs ?? undefined;
    const judged = judgedMs === undefined ? undefined : { how: "silent" as const, goneMs: judgedMs, blackout: false };
    const absence = endAbsence(store, device, nowMs()) ?? judged;
    if (judgedMs !== undefined) setSilentSince(store, device, null);
    if (!absence) return;
    const { how, goneMs, blackout } = absence;
    if (how === "killed" && before && before.epoch !== now.epoch) this.#killed(device, told);
    if (judgedMs === undefined || blackout) return;
    const summary = () => backWords(device, { how, goneMs, nowMs: nowMs(), before, now });
    teller.raise(told, { rule: how === "killed" ? "killed" : "offline", device, anchorMs: judgedMs, add: 0, summary });
  }

  /** Judges who is silent for too long, and tells of blackouts what is new. */
  async sweep(): Promise<void> {
    const { store, nowMs, hearing, teller } = this.#ports;
    const all = sightings(store);
    const { blackouts, alone } = judgeAbsences(all, ({ address }) => hearing.sinceMs(isLoopback(address)), nowMs());
    const open = blackoutsSince(store, nowMs() - 2 * OFFLINE_AFTER_MS);
    if (blackouts.length + alone.length + open.length === 0) return;
    await teller.commit((told) => {
      for (const { members, base } of blackouts) this.#blackout(members, base, told);
      for (const gone of alone) {
        const joined = gone.how === "stopped" ? undefined : withinOf(open, gone);
        if (joined) this.#join(joined.id, [gone], told);
        else this.#alone(gone, told);
      }
      for (const one of blackoutsSince(store, nowMs() - 2 * OFFLINE_AFTER_MS)) this.#tell(one, told);
    });
  }

  #alone(gone: Gone, told: Told): void {
    const { store, nowMs, teller } = this.#ports;
    const { device, how, goneMs } = gone;
    this.#away(gone, told);
    setSilentSince(store, device, goneMs);
    const summary = () => goneWords(gone, nowMs());
    teller.raise(told, { rule: how === "killed" ? "killed" : "offline", device, anchorMs: goneMs, add: 1, summary });
  }

  #away({ device, how, goneMs }: Gone, told: Told): void {
    const { store } = this.#ports;
    if (how !== "stopped") setPresence(store, device, "offline");
    noteAbsence(store, device, how, goneMs);
    told.devices.push(device);
  }

  #blackout(members: readonly Gone[], base: number, told: Told): void {
    const times = members.map(({ goneMs }) => goneMs);
    const firstMs = Math.min(...times);
    const { store, nowMs } = this.#ports;
    const open = withinOf(blackoutsSince(store, nowMs() - 2 * OFFLINE_AFTER_MS), members[0]!);
    this.#join(open?.id ?? openBlackout(store, { firstMs, lastMs: Math.max(...times), base }), members, told);
  }

  #join(id: number, members: readonly Gone[], told: Told): void {
    for (const gone of members) {
      this.#away(gone, told);
      joinBlackout(this.#ports.store, id, gone.device, gone.how, gone.goneMs);
    }
  }

  #tell({ id, firstMs, lastMs, base, toldMembers, toldBack }: Blackout, told: Told): void {
    const { store, nowMs, teller, site } = this.#ports;
    const members = membersOf(store, id).map((one) => ({ ...one, network: networkOf(one.address) }));
    const back = members.filter(({ backMs }) => backMs !== null).length;
    if (members.length === toldMembers && back === toldBack) return;
    saveTold(store, id, members.length, back);
    const summary = () => blackoutWords({ members, base, firstMs, lastMs, nowMs: nowMs() });
    teller.raise(told, { rule: "blackout", device: site, anchorMs: firstMs, add: members.length - toldMembers, summary });
  }

  #killed(device: string, told: Told): void {
    const { nowMs, teller } = this.#ports;
    const kills = [...(this.#kills.get(device) ?? []).filter((at) => at > nowMs() - KILLS_MS), nowMs()].slice(-100);
    this.#kills.set(device, kills);
    if (kills.length < KILLS) return;
    const summary = () =>
      `The agent on ${device} ended ${kills.length} times within an hour without a word, and was started again each time: it is killed, or it crashes.`;
    teller.raise(told, { rule: "killed", device, anchorMs: hourOf(nowMs()), add: kills.length === KILLS ? KILLS : 1, summary });
  }
}

const withinOf = (open: readonly Blackout[], { goneMs }: Gone): Blackout | undefined =>
  open.find(({ firstMs, lastMs }) => goneMs >= firstMs - TOGETHER_MS && goneMs <= lastMs + TOGETHER_MS);
