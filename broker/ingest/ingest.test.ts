import { BadBatch, decodeBatch, encodeBatch, openBatch } from "@picket/protocol/batch";
import type { SensorEvent } from "@picket/protocol/event";
import { expect, test } from "vitest";
import type { Store } from "../store/database.ts";
import { countDeadLetters, listDeadLetters } from "../store/dead-letters.ts";
import { readBatches } from "../store/log.ts";
import { coverage, markReceived, type Run } from "../store/received.ts";
import { openStore } from "../store/schema.ts";
import { BOOT, makeBatch, makeEvents } from "../testing/site.ts";
import { createIngest } from "./ingest.ts";
import { trimBatch } from "./trim.ts";

const EPOCH = "epoch000";
const device = "gw-1";

function setup(store: Store) {
  const told: string[] = [];
  const ingest = createIngest({
    store,
    nowMs: () => 5000,
    disk: {
      room: () => undefined,
      failed: (error) => {
        throw error;
      },
    },
    taken: () => {},
    stored: () => told.push("stored"),
    deadLetter: (of, reason) => () => told.push(`dead: ${of}: ${reason}`),
  });
  return { ingest, told };
}

/** Every event in the log, by number, in the order they were stored. */
const inLog = (store: Store): SensorEvent[] => readBatches(store, 0, 1e6).flatMap((row) => decodeBatch(row.batch).events);

test("a batch is stored as it came, byte for byte", async () => {
  using store = openStore(":memory:");
  const { ingest, told } = setup(store);
  const batch = makeBatch(device, EPOCH, 0, 20);
  await ingest.events(device, batch);
  expect(readBatches(store, 0, 10)).toMatchObject([{ offset: 1, device, receivedMs: 5000 }]);
  expect(Buffer.from(readBatches(store, 0, 10)[0]!.batch).equals(batch)).toBe(true);
  expect(told).toEqual(["stored"]);
});

test("what is sent again is acknowledged and stored once, also twice in the same group", async () => {
  using store = openStore(":memory:");
  const { ingest } = setup(store);
  await Promise.all([0, 0, 0].map(() => ingest.events(device, makeBatch(device, EPOCH, 0, 20))));
  await ingest.events(device, makeBatch(device, EPOCH, 5, 10));
  expect(inLog(store)).toEqual(makeEvents(device, EPOCH, 0, 20));
});

test("a batch known in part adds only what is new, with times and bodies as they were sent", async () => {
  using store = openStore(":memory:");
  const { ingest } = setup(store);
  await ingest.events(device, makeBatch(device, EPOCH, 10, 10));
  await ingest.events(device, makeBatch(device, EPOCH, 30, 5));
  await ingest.events(device, makeBatch(device, EPOCH, 0, 50));
  const events = inLog(store);
  expect(events.toSorted((a, b) => a.seq - b.seq)).toEqual(makeEvents(device, EPOCH, 0, 50));
  expect(openBatch(readBatches(store, 3, 1)[0]!.batch).header.runs).toEqual([
    [0, 10],
    [20, 10],
    [35, 15],
  ]);
});

test("another device or epoch may use the same numbers", async () => {
  using store = openStore(":memory:");
  const { ingest } = setup(store);
  await ingest.events("gw-1", makeBatch("gw-1", EPOCH, 0, 5));
  await ingest.events("gw-2", makeBatch("gw-2", EPOCH, 0, 5));
  await ingest.events("gw-1", makeBatch("gw-1", "epoch111", 0, 5));
  expect(inLog(store)).toHaveLength(15);
});

const header = (of: object) => ({ v: 1, device, boot: BOOT, epoch: EPOCH, runs: [[0, 1]], oldest: 0, ...of });
const raw = (of: object, body: string | Uint8Array) =>
  Buffer.concat([Buffer.from(`${JSON.stringify(of)}\n`), typeof body === "string" ? Bun.zstdCompressSync(Buffer.from(body)) : body]);

test.each<[string, Buffer, RegExp]>([
  ["not a batch at all", Buffer.from("hello"), /no header line/],
  ["nothing", Buffer.alloc(0), /no header line/],
  ["a header that is not JSON", Buffer.from("{]\nx"), /not JSON/],
  ["a later version", raw(header({ v: 2 }), "{}"), /header/],
  ["another device than the certificate's", makeBatch("gw-2", EPOCH, 0, 3), /names device "gw-2", the certificate "gw-1"/],
  ["a body that is not zstd", raw(header({}), Buffer.from("plain")), /body/],
  ["fewer lines than announced", raw(header({ runs: [[0, 9]] }), "{}\n{}"), /9 events announced, 2 lines found/],
  [
    "runs that overlap",
    raw(
      header({
        runs: [
          [0, 2],
          [1, 2],
        ],
      }),
      "{}\n{}\n{}\n{}",
    ),
    /overlap/,
  ],
  ["a zip bomb", raw(header({}), Bun.zstdCompressSync(Buffer.alloc(64 << 20))), /body/],
])("acknowledged, kept as a dead letter and told about: %s", async (_, payload, reason) => {
  using store = openStore(":memory:");
  const { ingest, told } = setup(store);
  await ingest.events(device, payload);
  expect(readBatches(store, 0, 10)).toEqual([]);
  expect(countDeadLetters(store)).toBe(1);
  expect(listDeadLetters(store, 1)[0]).toMatchObject({ device, topic: "events", reason: expect.stringMatching(reason) });
  expect(told).toEqual([expect.stringMatching(reason)]);
});

test("when the disk is full the batch is refused, not acknowledged, and can be sent again later", async () => {
  using store = openStore(":memory:");
  const { ingest } = setup(store);
  await ingest.events(device, makeBatch(device, EPOCH, 0, 1));
  const { page_count } = store.db.query<{ page_count: number }, []>("PRAGMA page_count").get()!;
  store.db.run(`PRAGMA max_page_count = ${page_count}`);
  const big = encodeBatch({
    boot: BOOT,
    oldest: 0,
    events: makeEvents(device, EPOCH, 1, 500).map((e) => ({ ...e, body: { source: "x", message: crypto.randomUUID() } }) as SensorEvent),
  });
  await expect(ingest.events(device, big)).rejects.toThrow(/full/i);
  expect(inLog(store)).toHaveLength(1);
  store.db.run("PRAGMA max_page_count = 1000000");
  await ingest.events(device, big);
  expect(inLog(store)).toHaveLength(501);
});

test("trimming keeps lines it does not understand, and the time of those around them", () => {
  const lines = [
    { type: "log.line", timeMs: 1000, body: { source: "a", message: "0" } },
    { type: "from.the.future", timeMs: 5, body: { x: 1 } },
    { type: "log.line", timeMs: 7, body: { source: "a", message: "2" } },
  ];
  const of = header({ runs: [[0, 4]] });
  const inflated = Buffer.from([...lines.map((line) => JSON.stringify(line)), "not json"].join("\n"));
  const { header: read } = openBatch(raw(of, inflated));
  const kept = decodeBatch(trimBatch(read, inflated, [[1, 3]]));
  expect(kept).toMatchObject({ refused: 2, events: [{ seq: 2, timeMs: 1012, body: { message: "2" } }], header: { runs: [[1, 3]] } });
  expect(() => trimBatch({ ...read, runs: [[0, 9]] }, inflated, [[8, 1]])).toThrow(BadBatch);
});

test("a device that leaves a gap with every number fills a bounded place, and its next start is heard", async () => {
  using store = openStore(":memory:");
  const { ingest, told } = setup(store);
  const every2nd = (from: number, count: number) => Array.from({ length: count }, (_, at): Run => [from + 2 * at, 1]);
  const of = { device, boot: BOOT, oldest: 0, nowMs: 1 };
  markReceived(store, { ...of, epoch: EPOCH, runs: every2nd(0, (1 << 18) - 1) });
  await ingest.events(device, makeBatch(device, EPOCH, 1_000_000, 1));
  await ingest.events(device, makeBatch(device, EPOCH, 1_000_002, 1));
  expect(told).toEqual(["stored", expect.stringMatching(/^dead: gw-1: more than 262144 gaps/)]);
  expect(inLog(store)).toHaveLength(1);
  await ingest.events(device, makeBatch(device, "epoch111", 0, 20));
  expect(inLog(store)).toHaveLength(21);
  expect(coverage(store, device).stored).toBe((1 << 18) + 20);
  expect(store.db.query("SELECT COUNT(*) AS n FROM received").get()).toEqual({ n: 1 });
}, 20_000);
