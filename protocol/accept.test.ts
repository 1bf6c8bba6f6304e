import { expect, test } from "vitest";
import * as z from "zod";
import { accepter } from "./accept.ts";
import { decodeBatch, encodeBatch } from "./batch.ts";
import { eventTypes, type Process, SensorEvent } from "./event.ts";

const golden = (type: string) => Bun.file(new URL(`testdata/${type}.json`, import.meta.url)).json() as Promise<SensorEvent>;

/** Values that stand where they should not. */
const odd: readonly unknown[] = [
  null,
  true,
  -1,
  0,
  1.5,
  65_536,
  2 ** 53,
  "",
  "x".repeat(64),
  "x".repeat(65),
  "x".repeat(4097),
  "tcp",
  [],
  {},
  ["x"],
  [1],
  Array(33).fill("x"),
  Array(65).fill({ rule: "r", version: "1" }),
  { pid: 1, exe: "/x" },
  { process: null },
];

/** Copies of `value` with one thing changed: a field taken away, replaced by each odd value, or one too many. */
function* changed(value: unknown): Generator<unknown> {
  yield* odd;
  if (Array.isArray(value)) {
    for (const [at, item] of value.entries()) for (const other of changed(item)) yield value.with(at, other);
  } else if (typeof value === "object" && value !== null) {
    yield { ...value, extra: 1 };
    yield JSON.parse(`${JSON.stringify(value).slice(0, -1)}${Object.keys(value).length > 0 ? "," : ""}"__proto__":{"x":1}}`);
    for (const [key, field] of Object.entries(value)) {
      const { [key as never]: _, ...without } = value;
      yield without;
      for (const other of changed(field)) yield { ...value, [key]: other };
    }
  }
}

/** A batch of lines as a device that lies would make it. */
function batchOf(of: SensorEvent, lines: readonly unknown[]): Uint8Array {
  const header = {
    v: 1,
    device: of.device,
    boot: "5c4a9c7e-0f6f-4b52-9a57-6a51f2f0a1b1",
    epoch: of.epoch,
    runs: [[0, lines.length]],
    oldest: 0,
  };
  const body = Bun.zstdCompressSync(Buffer.from(lines.map((line) => JSON.stringify(line)).join("\n")));
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), body]);
}

test.each(eventTypes)("%s: a batch holds what zod accepts, and nothing else, however a line is changed", async (type) => {
  const { v: _v, device: _d, epoch: _e, seq: _s, receivedMs: _r, ...line } = await golden(type);
  const event = await golden(type);
  let taken = 0;
  for (const other of changed(line)) {
    const own = typeof other === "object" && other !== null && !Array.isArray(other) ? (other as { timeMs?: unknown }) : undefined;
    const timeMs = typeof own?.timeMs === "number" ? own.timeMs : 0;
    const asked = own && SensorEvent.safeParse({ ...own, v: 1, device: event.device, epoch: event.epoch, seq: 0, timeMs });
    const { events, refused } = decodeBatch(batchOf(event, [other]));
    expect(events, JSON.stringify(other)?.slice(0, 300)).toEqual(asked?.success ? [asked.data] : []);
    expect(refused).toBe(1 - events.length);
    taken += events.length;
  }
  expect(taken).toBeGreaterThan(0);
});

test("a process that is no process is refused in each line that names it", async () => {
  const { type, body, device, epoch } = (await golden("process.exec")) as SensorEvent & { body: { process: Process } };
  const lines = [
    { type, timeMs: 1, body: { process: { ...body.process, pid: "one" } } },
    { type, timeMs: 1, p: 0, body: {} },
    { type, timeMs: 1, body },
    { type, timeMs: 1, p: 1, body: {} },
    { type, timeMs: 1, p: 1, body: { extra: 1 } },
  ];
  const { events, refused } = decodeBatch(batchOf({ device, epoch } as SensorEvent, lines));
  expect(refused).toBe(2);
  expect(events.map(({ seq, timeMs, body }) => [seq, timeMs, body])).toEqual([2, 3, 4].map((seq) => [seq, seq + 1, body]));
});

test.each(eventTypes)("%s: what agents send needs no zod", async (type) => {
  const event = SensorEvent.options.find((option) => option.shape.type.value === type)!;
  if (type === "host.inventory") return; // A row's keys are free: zod judges each.
  expect(accepter(event.shape.body)((await golden(type)).body)).toBe(true);
});

test.each([
  ["a pattern that may remember where it stopped", z.string().regex(/a/g), "a"],
  ["a second pattern", z.string().regex(/a/).regex(/b/), "ab"],
  ["what a pattern does not match", z.string().regex(/^a$/), "b"],
  ["a transformation", z.string().transform((text) => text.length), "a"],
  ["a default", z.object({ a: z.string().default("x") }), {}],
  ["a coercion", z.coerce.number(), 1],
  ["unknown keys kept", z.looseObject({}), { a: 1 }],
  ["a refinement", z.array(z.string()).refine((list) => list.length > 3), ["a"]],
  ["a union of objects", z.union([z.object({ a: z.string().optional() }), z.object({ b: z.string() })]), { b: "x" }],
])("%s is zod's to judge", (_, schema, value) => expect(accepter(schema)(value)).toBe(false));

test("events of a real batch come back as they were", async () => {
  const events = (await Promise.all(eventTypes.map(golden))).map((event, seq) => ({ ...event, device: "gw-1", epoch: "abcdefgh", seq }));
  const sent = events.map(({ receivedMs: _, ...event }) => event as SensorEvent);
  expect(decodeBatch(encodeBatch({ boot: "5c4a9c7e-0f6f-4b52-9a57-6a51f2f0a1b1", oldest: 0, events: sent })).events).toEqual(sent);
});
