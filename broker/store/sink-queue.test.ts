import { Alert } from "@picket/protocol/alert";
import { expect, test } from "vitest";
import { detection } from "../testing/samples.ts";
import { openStore } from "./schema.ts";
import { enqueue, MAX_QUEUE_BYTES, type SinkMessage, SinkQueue } from "./sink-queue.ts";

type AlertMessage = Extract<SinkMessage, { type: "alert.created" | "alert.updated" }>;
const alert = (change: Partial<Alert> = {}): Alert => ({ ...detection(), status: "open", notes: [], ...change });

function site(...sinks: string[]) {
  const store = openStore(":memory:");
  const queue = new SinkQueue(store);
  queue.configure(sinks.map((name) => ({ name, each: "alert" })));
  const put = (of: Alert) => store.commitNow(() => enqueue(store.db, of, 1_000));
  return { store, queue, put };
}

test("without a sink nothing is queued", () => {
  const { store, put } = site();
  put(alert());
  expect(store.db.query("SELECT * FROM sink_queue").all()).toEqual([]);
});

test("each sink has its own queue", async () => {
  const { queue, put } = site("a", "b");
  put(alert());
  await queue.delivered("a", queue.head("a")!.id, 5);
  expect(queue.head("a")).toBeUndefined();
  expect(queue.counts("a")).toMatchObject({ queued: 0, delivered: 1, lastDeliveryMs: 5 });
  expect(queue.counts("b")).toMatchObject({ queued: 1, delivered: 0 });
});

test("a sink that is no longer configured keeps nothing; one that stays keeps what waits", () => {
  const { store, queue, put } = site("a", "b");
  put(alert());
  queue.configure(["b", "c"].map((name) => ({ name, each: "alert" })));
  expect(queue.head("a")).toBeUndefined();
  expect(queue.counts("b").queued).toBe(1);
  expect(queue.counts("c").queued).toBe(0);
  expect(() => queue.counts("a")).toThrow('"a" is not configured');
  expect(store.db.query("SELECT count(*) AS n FROM sink_queue").get()).toEqual({ n: 1 });
});

test("a full queue lets its oldest go, and counts them", () => {
  const { store, queue, put } = site("a");
  const big = (at: number) => alert({ summary: `n${at}`, tree: [{ depth: 0, pid: 1, exe: "x".repeat(250_000), argv: [], matched: [] }] });
  const fit = Math.floor(MAX_QUEUE_BYTES / 250_000);
  for (let at = 0; at < fit + 20; at++) put(big(at));
  const { queued, dropped } = queue.counts("a");
  expect(queued + dropped).toBe(fit + 20);
  expect(dropped).toBeGreaterThanOrEqual(20);
  const { bytes } = store.db.query<{ bytes: number }, []>("SELECT sum(length(CAST(payload AS BLOB))) AS bytes FROM sink_queue").get()!;
  expect(bytes).toBeLessThanOrEqual(MAX_QUEUE_BYTES);
  expect((JSON.parse(queue.head("a")!.payload) as AlertMessage).data.summary).toBe(`n${dropped}`);
});

test("an alert too large for a message leaves without its tree, then without its process, and stays an alert", () => {
  const { queue, put } = site("a");
  const argv = Array.from({ length: 32 }, () => "\u0001".repeat(4096));
  const process = { pid: 1, startTicks: 1, ppid: 0, uid: 0, exe: "/bin/sh", argv };
  put(alert({ process, tree: Array.from({ length: 64 }, (_, depth) => ({ depth, pid: 1, exe: "/bin/sh", argv, matched: [] })) }));
  const { payload } = queue.head("a")!;
  expect(Buffer.byteLength(payload)).toBeLessThan(256 << 10);
  const { data } = JSON.parse(payload) as AlertMessage;
  expect(Alert.parse(data)).toMatchObject({ tree: [], summary: "sh was started" });
  expect(data.process).toBeUndefined();
});
