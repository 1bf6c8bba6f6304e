// The buffer against a model of it: random operations, with restarts, kills, losses of power and full disks among them.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SensorEvent } from "@picket/protocol/event";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import type { Lease } from "../lease.ts";
import { classOf, EventBuffer } from "./buffer.ts";
import { leftBy, type Place, placeIn } from "./testing/copy.ts";
import { boot, hit, plain, result } from "./testing/events.ts";

const MAX_EVENTS = 60;
const isRoot = process.getuid?.() === 0;
const name = (event: { epoch: string; seq: number }) => `${event.epoch}:${event.seq}`;
const epochOf = (run: number) => `run${String(run).padStart(5, "0")}`;

type Step =
  | { readonly do: "append"; readonly kinds: readonly number[]; readonly endsTurn: boolean }
  | { readonly do: "lease"; readonly events: number; readonly bytes: number }
  | { readonly do: "ack" | "release"; readonly which: number }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "flush" | "heartbeat" | "restart" | "kill" | "power" | "fill" | "free" };

const simple = (name: "flush" | "heartbeat" | "restart" | "kill" | "power" | "fill" | "free") => fc.constant<Step>({ do: name });
const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("append" as const),
      kinds: fc.array(fc.nat(4), { minLength: 1, maxLength: 8 }),
      endsTurn: fc.boolean(),
    }),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("lease" as const),
      events: fc.integer({ min: 1, max: 9 }),
      bytes: fc.integer({ min: 100, max: 2000 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("ack" as const), which: fc.nat(20) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("release" as const), which: fc.nat(20) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(20, 600, 1100, 2500) }) },
  { weight: 1, arbitrary: fc.oneof(...(["flush", "heartbeat", "restart", "kill", "power", "fill", "free"] as const).map(simple)) },
);

/** Everything that was ever numbered, what became of it, and what the buffer last said of each epoch. */
class World {
  readonly dir = mkdtempSync(join(tmpdir(), "pkagt-model-"));
  readonly made = new Map<string, SensorEvent>();
  readonly acked = new Set<string>();
  /** Acknowledged before a cut: the deletion may not have been written. */
  readonly mayReturn = new Set<string>();
  readonly told = new Map<string, { next: number; lost: number; atMost: number }>();
  readonly durability: "balanced" | "strict";
  leases: Lease[] = [];
  turn: string[] = [];
  run = 0;
  seq = 0;
  isFull = false;
  place: Place;
  buffer: EventBuffer;

  constructor(durability: "balanced" | "strict") {
    this.durability = durability;
    // The disk is small, so that it can be filled; the machine's memory is not.
    if (isRoot) execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m", "none", this.dir]);
    this.place = this.#newPlace();
    this.buffer = this.#open();
  }

  append(kind: number): void {
    const event = [plain, plain, plain, hit, result][kind]!(epochOf(this.run), this.seq++);
    this.made.set(name(event), event);
    this.turn.push(name(event));
    this.buffer.append(event);
  }

  async endTurn(): Promise<void> {
    await Promise.resolve();
    this.turn = [];
  }

  lease(max: { events: number; bytes: number }): Lease | undefined {
    const lease = this.buffer.lease(max);
    if (!lease) return undefined;
    const busy = new Set(this.leases.flatMap((other) => other.events.map(name)));
    expect(new Set(lease.events.map((event) => event.epoch))).toEqual(new Set([lease.epoch]));
    expect(lease.events.map((event) => event.seq)).toEqual(lease.events.map((event) => event.seq).toSorted((a, b) => a - b));
    expect(lease.oldest).toBeLessThanOrEqual(lease.events[0]!.seq);
    for (const event of lease.events) {
      expect(busy.has(name(event)), `${name(event)} is given out twice`).toBe(false);
      expect(!this.acked.has(name(event)) || this.mayReturn.has(name(event)), `${name(event)} was acknowledged and comes again`).toBe(true);
      expect(this.turn, `${name(event)} is given out within its turn`).not.toContain(name(event));
      expect(this.made.get(name(event))).toEqual(event);
    }
    this.leases.push(lease);
    return lease;
  }

  settle(which: number, how: "ack" | "release"): void {
    const [lease] = this.leases.splice(which % Math.max(1, this.leases.length), 1);
    if (!lease) return;
    this.buffer[how](lease);
    if (how === "ack") for (const event of lease.events) this.acked.add(name(event));
  }

  hear(isTold: boolean): void {
    const epochs = this.buffer.epochs();
    for (const [epoch, , next] of epochs) this.told.set(epoch, { next, lost: 0, atMost: 0 });
    for (const [epoch, lost, atMost] of this.buffer.lostByEpoch()) Object.assign(this.told.get(epoch)!, { lost, atMost });
    if (isTold) this.buffer.reported(epochs);
  }

  async end(how: "restart" | "kill" | "power"): Promise<void> {
    if (how === "restart") {
      await this.endTurn();
      // What the disk does not take would be in the mirror.
      this.fill(false);
      this.buffer[Symbol.dispose]();
      this.run++;
    } else {
      // Nobody has seen what the turn that was cut off made.
      for (const id of this.turn) this.made.delete(id);
      for (const id of this.acked) this.mayReturn.add(id);
      this.fill(false);
      const before = this.place;
      const old = this.buffer;
      this.run++;
      this.place = this.#newPlace();
      leftBy(before, this.place, how === "power");
      old.onAvailable = () => {};
      old[Symbol.dispose]();
    }
    this.turn = [];
    this.leases = [];
    this.seq = 0;
    this.buffer = this.#open();
  }

  fill(isFull: boolean): void {
    if (!isRoot || isFull === this.isFull) return;
    this.isFull = isFull;
    const filler = join(this.dir, "filler");
    if (!isFull) {
      // Bun closes what it could not write to the end some time later: removing the file alone makes no room.
      truncateSync(filler);
      rmSync(filler);
    } else
      try {
        writeFileSync(filler, Buffer.alloc(8 << 20));
      } catch {
        // As much as there was room for.
      }
  }

  dispose(): void {
    this.buffer[Symbol.dispose]();
    if (isRoot) execFileSync("umount", ["-l", this.dir]);
    rmSync(this.dir, { recursive: true, force: true });
  }

  #newPlace(): Place {
    return placeIn(join(this.dir, `place-${this.run}`));
  }

  #open(): EventBuffer {
    return new EventBuffer({
      ...this.place,
      maxEvents: MAX_EVENTS,
      maxBytes: 1e6,
      durability: this.durability,
      epoch: { epoch: epochOf(this.run), boot, device: "pi" },
    });
  }
}

async function play(world: World, steps: readonly Step[]): Promise<void> {
  for (const one of steps) {
    if (one.do === "append") {
      for (const kind of one.kinds) world.append(kind);
      if (one.endsTurn) await world.endTurn();
    } else if (one.do === "lease") world.lease(one);
    else if (one.do === "ack" || one.do === "release") world.settle(one.which, one.do);
    else if (one.do === "wait") {
      await world.endTurn();
      await vi.advanceTimersByTimeAsync(one.ms);
    } else if (one.do === "flush") {
      world.buffer.flush();
      world.turn = [];
      if (!world.isFull) {
        const leased = world.leases.reduce((sum, lease) => sum + lease.events.length, 0);
        expect(world.buffer.size().events).toBeLessThanOrEqual(MAX_EVENTS + leased);
      }
    } else if (one.do === "heartbeat") {
      await world.endTurn();
      world.hear(true);
    } else if (one.do === "fill" || one.do === "free") world.fill(one.do === "fill");
    else await world.end(one.do);
  }
}

/** All is sent; then every number is stored, or lost and counted. */
async function judge(world: World, steps: readonly Step[]): Promise<void> {
  await world.endTurn();
  world.fill(false);
  for (const lease of world.leases.splice(0)) world.buffer.release(lease);
  world.buffer.flush();
  const rest: Lease[] = [];
  for (let lease = world.lease({ events: 7, bytes: 1e6 }); lease; lease = world.lease({ events: 7, bytes: 1e6 })) rest.push(lease);
  const events = rest.flatMap((lease) => [...lease.events]);
  expect(world.buffer.size().events).toBe(events.length);
  const urgent = events.map((event) => classOf(event) !== "plain");
  expect(urgent.lastIndexOf(true)).toBeLessThan(urgent.includes(false) ? urgent.indexOf(false) : urgent.length);
  for (const group of [events.filter((_, at) => urgent[at]), events.filter((_, at) => !urgent[at])])
    expect(group.map(name)).toEqual(group.toSorted((a, b) => a.epoch.localeCompare(b.epoch) || a.seq - b.seq).map(name));
  while (world.leases.length > 0) world.settle(0, "ack");
  world.hear(false);
  expect(world.buffer.size()).toEqual({ events: 0, bytes: 0 });
  const powerLost = steps.some((one) => one.do === "power");
  const byEpoch = Map.groupBy(world.made.values(), ({ epoch }) => epoch);
  for (const [epoch, all] of byEpoch) {
    const said = world.told.get(epoch);
    // Strict: what a loss of power took before it was on disk had been seen by nobody, and its number was never used.
    const made = world.durability === "strict" && powerLost ? all.filter(({ seq }) => seq < said!.next) : all;
    const missing = made.filter((event) => !world.acked.has(name(event))).length;
    expect(said, `${epoch} was never told of`).toBeDefined();
    if (said!.atMost === 0) expect({ epoch, next: said!.next, missing }).toEqual({ epoch, next: made.length, missing: said!.lost });
    else {
      expect(powerLost).toBe(true);
      expect(said!.next).toBeGreaterThanOrEqual(made.length);
      expect(missing).toBeLessThanOrEqual(said!.lost + said!.atMost);
    }
  }
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

test.each([
  ["balanced", 1],
  ["balanced", 2],
  ["balanced", 3],
  ["strict", 4],
] as const)(
  "%s, seed %i: order kept, nothing given out twice, everything acknowledged, held, or lost and counted to the number; a bound only after a loss of power",
  async (durability, seed) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 120 }), async (steps) => {
        const world = new World(durability);
        try {
          await play(world, steps);
          await judge(world, steps);
        } finally {
          world.dispose();
        }
      }),
      { seed, numRuns: 40 },
    );
  },
);
