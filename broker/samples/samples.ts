// Collects files from devices for the detector: each hash once for the whole site, from one device at a time, bounded in every direction.
import { decodeSample, MAX_SAMPLE_BYTES, type SampleHeader, type SampleWant } from "@picket/protocol/samples";
import type { TopicName } from "@picket/protocol/topics";
import type { Link, Log } from "../peer.ts";
import type { Store } from "../store/database.ts";
import {
  countMismatch,
  memoryToForget,
  oldestScanned,
  sampleArrived,
  sampleLeft,
  samplePack,
  sampleRefused,
  samplesHere,
  spoolBytes,
  wantedOf,
} from "../store/samples.ts";
import type { Incoming, Spool } from "./spool.ts";

/** Devices that send at the same time. */
const MAX_SLOTS = 8;
/** No chunk for this long: another device is asked, and this one not for a while. */
const STALL_MS = 20_000;
/** However slow: others wait for the slot. */
const TOTAL_MS = 15 * 60_000;
const AVOID_MS = 60_000;
/** What one device may send in an hour. */
const HOUR_MS = 3600_000;
const HOURLY = { bytes: 512 << 20, samples: 2000 };
/** Chunks nobody asked for, before the connection is cut. A few come from a transfer that was given to another device. */
const MAX_UNASKED = 64;
const PAUSE_MS = 60_000;
/** So long the memory of a process waits to be scanned. */
const MEMORY_MS = 3600_000;

export type SamplesPorts = {
  readonly store: Store;
  readonly spool: Spool;
  /** Bytes of whole files. */
  readonly keepBytes: number;
  readonly nowMs: () => number;
  readonly log: Log;
  /** A file is here to be scanned. */
  readonly arrived: () => void;
};

type Slot = {
  readonly link: Link;
  readonly sha256: string;
  readonly sinceMs: number;
  lastMs: number;
  size: number | undefined;
  /** Chunks of one device, one after another; resolves to what is written to. */
  queue: Promise<Incoming | undefined>;
  /** Some of it came before this slot: when the hash is wrong, that may be why. */
  resumed: boolean;
  over: boolean;
};

export class Samples {
  readonly #ports: SamplesPorts;
  readonly #listening = new Map<string, Link>();
  readonly #slots = new Map<string, Slot>();
  /** Until what a device was sending is closed: the same file may be asked for again at once. */
  readonly #closing = new Map<string, Promise<unknown>>();
  /** Device and hash that are not to be asked before a time. */
  readonly #avoid = new Map<string, number>();
  readonly #spent = new Map<string, { sinceMs: number; bytes: number; samples: number }>();
  readonly #unasked = new WeakMap<Link, number>();
  /** What a device was told to send last: some of it may still come after the slot is over. */
  readonly #last = new WeakMap<Link, string>();
  #pausedUntilMs = 0;

  constructor(ports: SamplesPorts) {
    this.#ports = ports;
  }

  /** Makes disk and database agree, after a kill. Call before anything else. */
  async recover(): Promise<void> {
    const { store, spool } = this.#ports;
    const lost = await spool.reconcile(samplesHere(store));
    if (lost.length > 0)
      await store.commitSoon(() => {
        for (const sha256 of lost) sampleLeft(store, sha256);
      });
  }

  subscribed(link: Link, name: TopicName): void {
    if (name !== "sampleWant") return;
    this.#listening.set(link.peer.name, link);
    this.sweep();
  }

  closed(link: Link): void {
    if (this.#listening.get(link.peer.name) === link) this.#listening.delete(link.peer.name);
    const slot = this.#slots.get(link.peer.name);
    if (slot?.link !== link) return;
    this.#end(link.peer.name, slot);
    // Another device may have it, or this one is back already.
    this.ask();
  }

  /** Asks whoever has what is wanted, as far as there is room. Cheap when there is nothing to ask. */
  ask(): void {
    const { nowMs, store } = this.#ports;
    if (this.#slots.size >= MAX_SLOTS || this.#listening.size === 0 || nowMs() < this.#pausedUntilMs) return;
    if (samplePack(store) === undefined || !this.#hasRoom()) return;
    const busy = new Set([...this.#slots.values()].map(({ sha256 }) => sha256));
    for (const [device, link] of [...this.#listening]) {
      if (this.#slots.size >= MAX_SLOTS) return;
      if (this.#slots.has(device) || this.#hasSpent(device)) continue;
      const sha256 = wantedOf(store, device, MAX_SLOTS * 4).find((hash) => !busy.has(hash) && !this.#avoids(device, hash));
      if (sha256 === undefined) continue;
      busy.add(sha256);
      // To the end of the line: a device with much to send must not come first each time.
      this.#listening.delete(device);
      this.#listening.set(device, link);
      this.#begin(link, sha256);
    }
  }

  /** A payload of `.../sample`. Resolves when it may be acknowledged, with the reason when it is none that was asked for. */
  async take(link: Link, payload: Uint8Array): Promise<string | undefined> {
    let read: ReturnType<typeof decodeSample>;
    try {
      read = decodeSample(payload);
    } catch (error) {
      return this.#refuse(link, error instanceof Error ? error.message : String(error));
    }
    const { header, bytes } = read;
    const slot = this.#slots.get(link.peer.name);
    if (slot?.link !== link || slot.sha256 !== header.sha256 || slot.over) return this.#unaskedFor(link, header);
    slot.lastMs = this.#ports.nowMs();
    if (header.kind === "none") return this.#none(link.peer.name, slot, header.why);
    let problem: string | undefined;
    // One after another, in the order they came.
    slot.queue = slot.queue.then(async (incoming) => {
      problem = await this.#chunk(slot, incoming, header, bytes);
      return incoming;
    });
    await slot.queue;
    return problem;
  }

  /** Takes slots from devices that do not send. Call it every few seconds. */
  sweep(): void {
    const now = this.#ports.nowMs();
    for (const [device, slot] of this.#slots) {
      if (now - slot.lastMs < STALL_MS && now - slot.sinceMs < TOTAL_MS) continue;
      this.#avoid.set(`${device} ${slot.sha256}`, now + AVOID_MS);
      this.#end(device, slot);
    }
    for (const [key, untilMs] of this.#avoid) if (untilMs <= now) this.#avoid.delete(key);
    this.ask();
  }

  /** Removes the memory of processes once it was scanned, or could not be for an hour. Call it every few seconds. */
  async forgetMemory(): Promise<void> {
    const { store, spool, nowMs } = this.#ports;
    for (const sha256 of memoryToForget(store, nowMs() - MEMORY_MS)) {
      await spool.remove(sha256);
      await store.commitSoon(() => sampleLeft(store, sha256));
    }
  }

  #begin(link: Link, sha256: string): void {
    const now = this.#ports.nowMs();
    const slot: Slot = {
      link,
      sha256,
      sinceMs: now,
      lastMs: now,
      size: undefined,
      queue: Promise.resolve(undefined),
      resumed: false,
      over: false,
    };
    this.#slots.set(link.peer.name, slot);
    this.#last.set(link, sha256);
    const { spool } = this.#ports;
    slot.queue = (this.#closing.get(link.peer.name) ?? Promise.resolve())
      .then(() => spool.receive(link.peer.name, sha256))
      .then(async (incoming) => {
        slot.resumed = incoming.length > 0;
        if (slot.resumed && incoming.isWhole()) {
          await this.#whole(slot, incoming);
          return incoming;
        }
        const want: SampleWant = { sha256, offset: Math.min(incoming.length, MAX_SAMPLE_BYTES), maxBytes: MAX_SAMPLE_BYTES };
        if (!slot.over) await link.send("sampleWant", JSON.stringify(want));
        return incoming;
      })
      .catch((error: unknown) => {
        this.#diskFailed(slot, error);
        return undefined;
      });
  }

  /** Chunk by chunk, in order. Returns why this is not what was asked for. */
  async #chunk(
    slot: Slot,
    incoming: Incoming | undefined,
    header: Extract<SampleHeader, { kind: "chunk" }>,
    bytes: Uint8Array,
  ): Promise<string | undefined> {
    if (!incoming || slot.over) return undefined;
    const device = slot.link.peer.name;
    slot.size ??= header.size;
    if (header.offset !== incoming.length || header.size !== slot.size) {
      this.#avoid.set(`${device} ${slot.sha256}`, this.#ports.nowMs() + AVOID_MS);
      this.#end(device, slot);
      return this.#refuse(slot.link, `sample ${slot.sha256}: a chunk at ${header.offset} where ${incoming.length} bytes were there`);
    }
    try {
      await incoming.add(bytes);
      this.#spend(device, bytes.length, 0);
      if (incoming.length === header.size) return await this.#whole(slot, incoming);
    } catch (error) {
      this.#diskFailed(slot, error);
    }
    return undefined;
  }

  async #whole(slot: Slot, incoming: Incoming): Promise<string | undefined> {
    const { store, nowMs, arrived } = this.#ports;
    const { sha256, link } = slot;
    const size = incoming.length;
    slot.over = true;
    const right = await incoming.finish();
    await store.commitSoon(() => {
      if (right) return sampleArrived(store, sha256, size, nowMs());
      countMismatch(store);
      if (!slot.resumed) sampleRefused(store, sha256, link.peer.name, "gone");
    });
    this.#free(link.peer.name, slot);
    this.#spend(link.peer.name, 0, 1);
    if (right) {
      await this.#makeRoom();
      arrived();
    }
    this.ask();
    return right ? undefined : this.#refuse(link, `sample ${sha256}: the ${size} bytes are those of another file`);
  }

  async #none(device: string, slot: Slot, why: "unknown" | "gone" | "too-big"): Promise<undefined> {
    const { store } = this.#ports;
    this.#end(device, slot);
    await store.commitSoon(() => sampleRefused(store, slot.sha256, device, why === "too-big" ? "too-big" : "gone"));
    this.ask();
  }

  #unaskedFor(link: Link, header: SampleHeader): string | undefined {
    if (this.#last.get(link) !== header.sha256) return this.#refuse(link, `sample ${header.sha256}: nobody asked for it`);
    this.#strike(link);
    return undefined;
  }

  #refuse(link: Link, why: string): string {
    this.#strike(link);
    return why;
  }

  #strike(link: Link): void {
    const count = (this.#unasked.get(link) ?? 0) + 1;
    this.#unasked.set(link, count);
    if (count === MAX_UNASKED) link.close(`it sent ${count} chunks of samples that nobody asked for`);
  }

  /** A full disk must not stop events: the chunk is acknowledged and let go, and nothing is asked for a while. */
  #diskFailed(slot: Slot, error: unknown): void {
    this.#pausedUntilMs = this.#ports.nowMs() + PAUSE_MS;
    this.#ports.log("error", "a sample could not be kept", { sha256: slot.sha256, why: String(error) });
    this.#end(slot.link.peer.name, slot);
  }

  #end(device: string, slot: Slot): void {
    this.#free(device, slot);
    if (slot.over) return;
    slot.over = true;
    const closing = slot.queue.then((incoming) => incoming?.pause()).catch(() => undefined);
    this.#closing.set(device, closing);
    void closing.then(() => {
      if (this.#closing.get(device) === closing) this.#closing.delete(device);
    });
  }

  #free(device: string, slot: Slot): void {
    if (this.#slots.get(device) === slot) this.#slots.delete(device);
  }

  #hasRoom(): boolean {
    return spoolBytes(this.#ports.store).waiting + (this.#slots.size + 1) * MAX_SAMPLE_BYTES <= this.#ports.keepBytes;
  }

  async #makeRoom(): Promise<void> {
    const { store, spool, keepBytes } = this.#ports;
    while (spoolBytes(store).all > keepBytes) {
      const sha256 = oldestScanned(store);
      if (sha256 === undefined) return;
      await spool.remove(sha256);
      await store.commitSoon(() => sampleLeft(store, sha256));
    }
  }

  #avoids(device: string, sha256: string): boolean {
    return (this.#avoid.get(`${device} ${sha256}`) ?? 0) > this.#ports.nowMs();
  }

  #hasSpent(device: string): boolean {
    const spent = this.#spent.get(device);
    if (!spent || this.#ports.nowMs() - spent.sinceMs >= HOUR_MS) return false;
    return spent.bytes >= HOURLY.bytes || spent.samples >= HOURLY.samples;
  }

  #spend(device: string, bytes: number, samples: number): void {
    const now = this.#ports.nowMs();
    let spent = this.#spent.get(device);
    if (!spent || now - spent.sinceMs >= HOUR_MS) spent = { sinceMs: now, bytes: 0, samples: 0 };
    spent.bytes += bytes;
    spent.samples += samples;
    this.#spent.set(device, spent);
  }
}
