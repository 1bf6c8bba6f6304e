import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Alert, type Detection } from "@picket/protocol/alert";
import { Webhook } from "standardwebhooks";
import { afterEach, expect, onTestFinished, test } from "vitest";
import { getAlert, upsertAlert } from "../store/alerts.ts";
import type { Store } from "../store/database.ts";
import { openStore } from "../store/schema.ts";
import { SinkQueue } from "../store/sink-queue.ts";
import { detection } from "../testing/samples.ts";
import { type Sinks, startSinks } from "./sinks.ts";
import { BadSink } from "./webhook.ts";

// The signature's time is checked by receivers, so the tests' clock starts now; it moves only when told.
const NOW_MS = Date.now();
const SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`;
type Body = { type: string; timestamp: string; data: Alert };
type Got = { readonly id: string; readonly body: Body; readonly headers: Headers };

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** A receiver as its author would write it: it verifies with the standard's own library. `answer` decides what it says. */
function receiver(answer: (nth: number) => Response | Promise<Response> = () => new Response(), port = 0) {
  const got: Got[] = [];
  const waiting: { count: number; resolve: () => void }[] = [];
  const server = Bun.serve({
    port,
    hostname: "127.0.0.1",
    async fetch(request) {
      const text = await request.text();
      const body = new Webhook(SECRET).verify(text, Object.fromEntries(request.headers)) as Body;
      got.push({ id: request.headers.get("webhook-id")!, body, headers: request.headers });
      for (const one of waiting) if (got.length >= one.count) one.resolve();
      return answer(got.length);
    },
    error: () => new Response("bad signature", { status: 401 }),
  });
  closing.push(() => server.stop(true));
  const received = (count: number) =>
    got.length >= count ? Promise.resolve() : new Promise<void>((resolve) => waiting.push({ count, resolve }));
  return { got, received, port: server.port!, url: `http://127.0.0.1:${server.port}/hook` };
}

/** Time that passes only when told, and sinks woken by hand: no test waits for a backoff. */
function outbox(urls: Record<string, string>, store: Store = openStore(":memory:"), clock = { nowMs: NOW_MS }) {
  const queue = new SinkQueue(store);
  const start = () => {
    const sinks = startSinks({
      site: "dock",
      webhooks: Object.entries(urls).map(([name, url]) => ({ name, url, secret: SECRET, each: "alert" })),
      queue,
      nowMs: () => clock.nowMs,
      random: () => 0.5,
      report: (error) => {
        throw error;
      },
    });
    closing.push(() => sinks[Symbol.asyncDispose]());
    return sinks;
  };
  const sinks = start();
  return { store, sinks, queue, clock, restart: start };
}

function raise(store: Store, sinks: Sinks | undefined, of: Detection): Alert {
  store.commitNow(() => upsertAlert(store, of, "g", NOW_MS));
  sinks?.wake();
  return getAlert(store, of.id)!;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

const statusOf = (sinks: Sinks, name = "soc") => sinks.status().find((status) => status.name === name)!;

test("an alert arrives signed, whole, as JSON", async () => {
  const soc = receiver();
  const { store, sinks } = outbox({ soc: soc.url });
  const alert = raise(store, sinks, detection({ summary: '"}</script>\u001b[8m\r\nwebhook-id: forged' }));
  await soc.received(1);
  const { id, body, headers } = soc.got[0]!;
  expect(id).toBe(`${alert.id}.0`);
  expect(body).toEqual({ type: "alert.created", timestamp: expect.stringMatching(/^\d{4}-.*Z$/), data: alert });
  expect(Alert.parse(body.data)).toEqual(alert);
  expect(headers.get("content-type")).toBe("application/json");
  await until(() => statusOf(sinks).delivered === 1);
  expect(statusOf(sinks)).toMatchObject({ queued: 0, failed: 0, dropped: 0, url: soc.url });
});

test("a count that grows is no news; a severity that rises is", async () => {
  const soc = receiver();
  const { store, sinks } = outbox({ soc: soc.url });
  const first = detection({ severity: "medium" });
  raise(store, sinks, first);
  raise(store, sinks, { ...first, revision: 1, count: 2 });
  raise(store, sinks, { ...first, revision: 2, severity: "critical" });
  raise(store, sinks, { ...first, revision: 3, severity: "high" });
  raise(store, sinks, { ...first, revision: 3, severity: "high" });
  await soc.received(2);
  await until(() => statusOf(sinks).queued === 0);
  expect(soc.got.map(({ id, body }) => [id, body.type, body.data.severity])).toEqual([
    [`${first.id}.0`, "alert.created", "medium"],
    [`${first.id}.2`, "alert.updated", "critical"],
  ]);
});

test("an alert whose transaction fails is not told", async () => {
  const { store, queue } = outbox({ soc: "http://127.0.0.1:9/" });
  const failing = store.commitSoon(() => {
    upsertAlert(store, detection(), "g", 1);
    throw new Error("disk");
  });
  await expect(failing).rejects.toThrow("disk");
  expect(queue.head("soc")).toBeUndefined();
});

test("after HTTP 500 the same message is tried again, with the same id, when its time has come", async () => {
  const soc = receiver((nth) => new Response("no", { status: nth === 1 ? 500 : 204 }));
  const { store, sinks, clock } = outbox({ soc: soc.url });
  raise(store, sinks, detection());
  await until(() => statusOf(sinks).lastError === "HTTP 500");
  sinks.wake();
  clock.nowMs += 4_999;
  sinks.wake();
  expect(soc.got).toHaveLength(1);
  clock.nowMs += 1;
  sinks.wake();
  await until(() => statusOf(sinks).delivered === 1);
  expect(soc.got.map(({ id }) => id)).toEqual([soc.got[0]!.id, soc.got[0]!.id]);
  expect(statusOf(sinks)).not.toHaveProperty("lastError");
});

test("order is kept while a receiver is away, and after it refused connections", async () => {
  const probe = receiver();
  closing.pop()!();
  const { store, sinks, clock } = outbox({ soc: probe.url });
  const alerts = [1, 2, 3].map(() => raise(store, sinks, detection()));
  await until(() => statusOf(sinks).lastError !== undefined);
  expect(statusOf(sinks).queued).toBe(3);
  const soc = receiver(undefined, probe.port);
  clock.nowMs += 10_000;
  sinks.wake();
  await soc.received(3);
  expect(soc.got.map(({ body }) => body.data.id)).toEqual(alerts.map(({ id }) => id));
});

test("what waits survives a restart of the broker", async () => {
  const folder = mkdtempSync(join(tmpdir(), "picket-sinks-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "site.db");
  const store = openStore(path);
  const { sinks } = outbox({ soc: "http://127.0.0.1:9/hook" }, store);
  const alert = raise(store, sinks, detection());
  await until(() => statusOf(sinks).lastError !== undefined);
  await sinks[Symbol.asyncDispose]();
  store[Symbol.dispose]();

  const soc = receiver();
  const reopened = openStore(path);
  const later = outbox({ soc: soc.url }, reopened, { nowMs: NOW_MS + 60_000 });
  await soc.received(1);
  expect(soc.got[0]!.id).toBe(`${alert.id}.0`);
  await until(() => statusOf(later.sinks).delivered === 1);
  raise(reopened, later.sinks, { ...alert, revision: 1, count: 9 });
  expect(statusOf(later.sinks).queued).toBe(0);
});

test("stopped before the receiver answered, it is sent again: at least once", async () => {
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const soc = receiver(async (nth) => {
    if (nth === 1) await held;
    return new Response();
  });
  const { store, sinks, queue, restart } = outbox({ soc: soc.url });
  raise(store, sinks, detection());
  await soc.received(1);
  await sinks[Symbol.asyncDispose]();
  expect(queue.head("soc")).toMatchObject({ attempts: 0 });
  restart();
  await soc.received(2);
  release();
  expect(soc.got[0]!.id).toBe(soc.got[1]!.id);
});

test("a receiver that hangs or fails holds up no other", async () => {
  const hanging = receiver(() => new Promise<Response>(() => {}));
  const soc = receiver();
  const { store, sinks } = outbox({ bad: hanging.url, soc: soc.url });
  raise(store, sinks, detection());
  raise(store, sinks, detection());
  await soc.received(2);
  expect(statusOf(sinks, "bad")).toMatchObject({ queued: 2, delivered: 0 });
});

test("a message the receiver calls wrong is given up after five tries and the next goes out", async () => {
  const soc = receiver((nth) => new Response("", { status: nth <= 5 ? 422 : 200 }));
  const { store, sinks, queue, clock } = outbox({ soc: soc.url });
  raise(store, sinks, detection());
  const next = raise(store, sinks, detection());
  for (let nth = 1; nth <= 5; nth++) {
    await soc.received(nth);
    await until(() => statusOf(sinks).failed === 1 || queue.head("soc")?.attempts === nth);
    clock.nowMs += 60_000;
    sinks.wake();
  }
  await soc.received(6);
  expect(soc.got[5]!.body.data.id).toBe(next.id);
  expect(new Set(soc.got.slice(0, 5).map(({ id }) => id)).size).toBe(1);
  expect(statusOf(sinks)).toMatchObject({ failed: 1 });
});

test("a redirect is not followed: alerts go where the operator said and nowhere else", async () => {
  const elsewhere = receiver();
  const soc = receiver(() => Response.redirect(elsewhere.url, 307));
  const { store, sinks } = outbox({ soc: soc.url });
  raise(store, sinks, detection());
  await until(() => statusOf(sinks).lastError !== undefined);
  expect(statusOf(sinks).lastError).toContain("HTTP 307: redirects are not followed");
  expect(elsewhere.got).toEqual([]);
});

test("an answer that never ends does not hold a message back", async () => {
  const soc = receiver(() => new Response(new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array(10)) })));
  const { store, sinks } = outbox({ soc: soc.url });
  raise(store, sinks, detection());
  await until(() => statusOf(sinks).delivered === 1);
  expect(soc.got).toHaveLength(1);
});

test("a test message says that it is one, and is not queued", async () => {
  const soc = receiver();
  const { sinks } = outbox({ soc: soc.url, gone: "http://127.0.0.1:9/" });
  expect(await sinks.test("soc")).toEqual({ ok: true, detail: "delivered" });
  expect(soc.got[0]!.body).toMatchObject({ type: "test", data: { site: "dock" } });
  expect(soc.got[0]!.id).toMatch(/^test\./);
  expect(await sinks.test("gone")).toMatchObject({ ok: false, detail: expect.stringMatching(/./) });
  expect(await sinks.test("nobody")).toBeUndefined();
});

test.each([
  ["an address that is none", "ftp://soc.example/", SECRET, /https:\/\//],
  ["a password in the url", "https://me:secret@soc.example/", SECRET, /user and password/],
  ["a secret that is none", "https://soc.example/", "hunter2", /whsec_/],
  ["a short secret", "https://soc.example/", `whsec_${Buffer.alloc(8).toString("base64")}`, /24 to 64 bytes/],
])("%s is refused at start, and what is secret is not repeated", (_, url, secret, says) => {
  const queue = new SinkQueue(openStore(":memory:"));
  const start = () =>
    startSinks({ site: "dock", webhooks: [{ name: "soc", url, secret }], queue, nowMs: Date.now, random: Math.random, report: () => {} });
  expect(start).toThrow(BadSink);
  expect(start).toThrow(says);
  expect(start).not.toThrow(/hunter2|me:secret/);
});
