// What tells of loss must not itself be lost: not by kill -9, and not where there is no room.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SensorEvent } from "@picket/protocol/event";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type BufferOptions, EventBuffer } from "./buffer.ts";
import { addLoss, kindOfLoss, shedIn, shedLoss } from "./loss.ts";
import { Tail } from "./tail.ts";
import { leftBy, type Place, placeIn } from "./testing/copy.ts";
import { boot, hit, plain, result } from "./testing/events.ts";

const A = "aaaaaaaa";
const B = "bbbbbbbb";
const HOUR_MS = 3600_000;
let dir: string;
let here: Place;
let places = 0;
const opened: EventBuffer[] = [];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "pkagt-loss-"));
  here = placeIn(join(dir, `${places++}`));
});
afterEach(() => {
  for (const buffer of opened.splice(0)) buffer[Symbol.dispose]();
  rmSync(dir, { recursive: true, force: true });
});

function open(epoch: string, options: Partial<BufferOptions> = {}, place = here): EventBuffer {
  const buffer = new EventBuffer({ ...place, maxEvents: 1e5, maxBytes: 1e8, epoch: { epoch, boot, device: "pi" }, ...options });
  opened.push(buffer);
  return buffer;
}
function killed(): Place {
  const place = placeIn(join(dir, `${places++}`));
  leftBy(here, place, false);
  return place;
}
const turn = () => Promise.resolve();
const shed = (epoch: string, seq: number, count: number, timeMs = 5): SensorEvent =>
  ({ v: 1, device: "pi", epoch, seq, ...JSON.parse(shedLoss(count, timeMs)) }) as SensorEvent;
function rest(buffer: EventBuffer): SensorEvent[] {
  const events: SensorEvent[] = [];
  for (let lease = buffer.lease({ events: 500, bytes: 1e6 }); lease; lease = buffer.lease({ events: 500, bytes: 1e6 }))
    events.push(...lease.events);
  return events;
}
const sheds = (events: readonly SensorEvent[]) =>
  events.flatMap((event) => (event.type === "sensor.lost" ? [[event.epoch, event.seq, event.body.count]] : []));

test.each(["balanced", "strict"] as const)(
  "%s: what was shed and not told when the agent was killed, its last event tells",
  async (durability) => {
    const buffer = open(A, { durability, nowMs: () => 77 });
    buffer.append(plain(A, 0));
    buffer.untold(3);
    await turn();
    for (let count = 4; count <= 1996; count++) buffer.untold(count);
    await turn();
    buffer.saw(123_456.7);
    const next = open(B, { durability }, killed());
    expect(next.before).toEqual({ boot, ended: "cut off", seenMs: 123_456 });
    const events = rest(next);
    expect(events.map(({ epoch, seq, type }) => [epoch, seq, type])).toEqual([
      [A, 1, "sensor.lost"],
      [A, 0, "log.line"],
    ]);
    expect(events[0]).toMatchObject({ timeMs: 77, body: { collector: "agent", count: 1996, where: "shed" } });
    expect(next.epochs()[0]).toEqual([A, 0, 2]);
    expect(next.takeLost()).toEqual([]);
  },
);

test("what was told is not told again, wherever between telling and noting it the kill came", async () => {
  const buffer = open(A);
  buffer.append(plain(A, 0));
  buffer.untold(7);
  await turn();
  buffer.untold(0);
  buffer.append(shed(A, 1, 7));
  buffer.untold(2);
  await turn();
  expect(sheds(rest(open(B, {}, killed())))).toEqual([
    [A, 1, 7],
    [A, 2, 2],
  ]);
  // The event is in the file; the mirror still says 7, before number 1.
  const place = killed();
  const lines = readFileSync(place.mirror, "utf8").split("\n");
  writeFileSync(
    place.mirror,
    `${lines
      .slice(
        0,
        lines.findLastIndex((line) => line.startsWith("^")),
      )
      .join("\n")}\n`,
    { mode: 0o600 },
  );
  expect(sheds(rest(open(B, {}, place)))).toEqual([[A, 1, 7]]);
});

test("a run that ended in order leaves nothing to tell, and says when it looked last", async () => {
  const buffer = open(A);
  buffer.append(plain(A, 0));
  buffer.saw(1000);
  buffer.saw(1100);
  await turn();
  buffer[Symbol.dispose]();
  const next = open(B);
  expect(next.before).toEqual({ boot, ended: "stopped", seenMs: 1100 });
  expect(sheds(rest(next))).toEqual([]);
});

test("without room what tells of loss goes last and never without its count: two of an hour become one", async () => {
  const buffer = open(A, { maxEvents: 12 });
  let seq = 0;
  const add = (make: (epoch: string, seq: number) => SensorEvent) => buffer.append(make(A, seq++));
  for (let n = 0; n < 4; n++) add((epoch, at) => shed(epoch, at, 10 + n, n < 3 ? n : HOUR_MS + n));
  for (let n = 0; n < 6; n++) add(plain);
  for (let n = 0; n < 9; n++) add(hit);
  for (let n = 0; n < 9; n++) add(result);
  await turn();
  buffer.flush();
  const events = rest(buffer);
  expect(sheds(events)).toEqual([
    [A, 2, 33],
    [A, 3, 13],
  ]);
  expect(events.filter(({ type }) => type === "response.result")).toHaveLength(9);
  // Two told with the third: only their numbers are gone.
  expect(buffer.takeLost()).toEqual([{ epoch: A, count: 16, by: { plain: 6 + 2, hit: 8, result: 0 } }]);
  expect(buffer.size().events).toBe(12);
});

test("one that may be at the site already says what it said", async () => {
  const buffer = open(A, { maxEvents: 3 });
  for (let seq = 0; seq < 3; seq++) buffer.append(shed(A, seq, 1));
  await turn();
  buffer.release(buffer.lease({ events: 1, bytes: 1e6 })!);
  for (let seq = 3; seq < 6; seq++) buffer.append(shed(A, seq, 1));
  await turn();
  buffer.flush();
  expect(sheds(rest(buffer)).reduce((sum, [, , count]) => sum + Number(count), 0)).toBe(6);
});

test("in memory, too: what tells of loss is not what goes first, and adds up", () => {
  const tail = new Tail();
  const text = shedLoss(2, 5);
  const add = (seq: number, event: string, kind = 1) =>
    tail.add({ seq, class: kind, event, bytes: Buffer.byteLength(event), atMs: 0, leased: false });
  add(0, text);
  add(1, '{"type":"log.line"}');
  add(2, shedLoss(40, HOUR_MS));
  add(3, shedLoss(100, 6));
  expect(tail.leastFree()?.seq).toBe(1);
  tail.remove(1);
  expect(tail.leastFree()).toBeUndefined();
  const merged = tail.mergeLosses()!;
  expect([merged.gone.seq, merged.changed.seq, shedIn(merged.changed.event)]).toEqual([0, 3, 102]);
  tail.remove(merged.gone.seq);
  expect(tail.bytes).toBe([...tail.values()].reduce((sum, { event }) => sum + Buffer.byteLength(event), 0));
  expect(tail.mergeLosses()).toBeUndefined();
});

test("only loss of one kind is added up, each part of it; what is damaged tells nothing", () => {
  const evicted = (plain: number, hit: number) =>
    JSON.stringify({
      type: "sensor.lost",
      timeMs: 9,
      body: { collector: "agent", count: plain + hit, where: "buffer", by: { plain, hit, result: 0 } },
    });
  expect(JSON.parse(addLoss(evicted(1, 2), evicted(3, 4))).body).toEqual({
    collector: "agent",
    count: 10,
    where: "buffer",
    by: { plain: 4, hit: 6, result: 0 },
  });
  expect(kindOfLoss(evicted(1, 2))).not.toBe(kindOfLoss(shedLoss(3, 9)));
  for (const damaged of ['{"type":"sensor.lost"', '{"type":"sensor.lost","body":{"count":-1}}', '{"type":"log.line"}', new Uint8Array(3)])
    expect([kindOfLoss(damaged), shedIn(damaged)]).toEqual([undefined, 0]);
});
