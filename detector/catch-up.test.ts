// Behind by hours, and held up by one device: what happens now is told at once, and in the end every alert is that of an undisturbed run.
import { join } from "node:path";
import { decodeBatch, encodeBatch } from "@picket/protocol/batch";
import { eventId, type SensorEvent } from "@picket/protocol/event";
import { REREAD_MS } from "@picket/protocol/feed";
import { builtinRules } from "@picket/rules/builtin";
import { compileRules } from "@picket/rules/engine";
import { expect, test } from "vitest";
import { listAlerts } from "../broker/store/alerts.ts";
import { detectorState } from "../broker/store/detector.ts";
import { detectorLag, listLanes, seamOf } from "../broker/store/lanes.ts";
import { appendBatch, nextOffset, readBatches } from "../broker/store/log.ts";
import { openStore } from "../broker/store/schema.ts";
import { connect, enrol, mine, SITE, type TestSite, testSite } from "../broker/testing/site.ts";
import { Order, perform } from "./order.ts";
import { createPipeline } from "./pipeline.ts";
import { BOOT, exec, proc, T0 } from "./testing/events.ts";
import { randomLog } from "./testing/random.ts";

const HOUR_MS = 3_600_000;
const BULK = 600;
const BATCH = 500;
type Row = ReturnType<typeof readBatches>[number];
type Brief = { id: string; count: number };

const read = <T>(site: TestSite, look: (store: ReturnType<typeof openStore>) => T): T => {
  using store = openStore(join(site.dir, "site.db"));
  return look(store);
};
const alertsAt = (site: TestSite): Brief[] =>
  read(site, (store) => listAlerts(store, { limit: 10_000 }))
    .filter(({ rule }) => rule.engine !== "broker")
    .map(({ id, count }) => ({ id, count }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));

/** Waits for as long as a loaded machine may take: what is asserted is order, never time. */
async function until(look: () => boolean, what: string): Promise<void> {
  for (const endMs = Date.now() + 60_000; !look(); await Bun.sleep(3)) if (Date.now() > endMs) throw new Error(`${what} did not come true`);
}

function append(store: ReturnType<typeof openStore>, receivedMs: number, batch: Uint8Array): void {
  const { header, events } = decodeBatch(batch);
  const { device, epoch } = header;
  const [first, last] = [events[0]!.seq, events.at(-1)!.seq];
  appendBatch(store, { device, epoch, firstSeq: first, nextSeq: last + 1, receivedMs, count: events.length, batch });
}

/** 300,000 events of four hours that end long ago, with trouble in between. */
function fillBacklog(site: TestSite): void {
  const beganMs = Date.now() - 5 * HOUR_MS;
  const trouble = randomLog(30, 120);
  read(site, (store) =>
    store.commitNow(() => {
      for (let at = 0; at < BULK; at++) {
        const receivedMs = beganMs + Math.round((at / BULK) * 4 * HOUR_MS);
        for (const row of trouble.splice(0, at % 5 === 0 ? 1 : 0)) append(store, receivedMs, row.batch);
        const events = Array.from(
          { length: BATCH },
          (_, line): SensorEvent => ({
            ...{ v: 1, device: "gw-bulk", epoch: "bulkbulk", seq: at * BATCH + line, timeMs: receivedMs },
            ...{ type: "log.line", body: { source: "app", message: `request ${line} took ${line % 7} ms` } },
          }),
        );
        append(store, receivedMs, encodeBatch({ boot: BOOT, oldest: at * BATCH, events }));
      }
    }),
  );
}

/** What one pass over these batches decides: those before `from` are only remembered, as another lane's. */
function decide(rows: readonly Row[], from = 0): Brief[] {
  const pipeline = createPipeline({ site: SITE, rules: builtinRules(), matcher: compileRules(builtinRules()), warmUpExecs: 20 });
  const order = new Order();
  for (const { offset, batch, receivedMs } of rows) {
    const { header, events } = decodeBatch(batch);
    const silent = offset < from;
    const arrival = { boot: header.boot, receivedMs, silent, foreign: silent };
    const reports = events.map((event) => ({ event, arrival: { id: eventId(event), ...arrival } }));
    for (const step of order.take({ header, receivedMs, silent, reports })) perform(pipeline, step);
  }
  return pipeline.take().alerts.map(({ detection: { id, count } }) => ({ id, count }));
}

function expected(site: TestSite): Brief[] {
  const rows = read(site, (store) => readBatches(store, 0, 1e9));
  const seam = read(site, seamOf);
  const now = rows.filter(({ offset, receivedMs }) => offset >= seam || receivedMs >= rows.at(-1)!.receivedMs - REREAD_MS);
  return [...decide(rows.filter(({ offset }) => offset < seam)), ...decide(now, seam)].sort((a, b) => (a.id < b.id ? -1 : 1));
}

async function startDetector(site: TestSite) {
  const argv = ["bun", new URL("testing/child.ts", import.meta.url).pathname, site.dir, String(site.broker.mqttPort)];
  const child = Bun.spawn(argv, { stdout: "pipe", stderr: "ignore" });
  await child.stdout.getReader().read();
  return child;
}

async function deviceOf(site: TestSite, name: string) {
  const device = await enrol(site, name);
  const client = await connect(site, device);
  let seq = 0;
  return {
    /** Publishes one batch of program starts, which is on disk when this resolves. Returns their ids. */
    run: async (argv: readonly string[][], hits: SensorEvent["hits"] = undefined): Promise<string[]> => {
      const oldest = seq;
      const events = argv.map((args) =>
        exec(Date.now() - T0, proc(1000 + seq, args[0]!, { argv: [...args] }), { device: name, seq: seq++, ...(hits ? { hits } : {}) }),
      );
      await client.publishAsync(mine(device, "events"), Buffer.from(encodeBatch({ boot: BOOT, oldest, events })), { qos: 1 });
      return events.map(eventId);
    },
    [Symbol.asyncDispose]: async () => {
      await client.endAsync(true);
    },
  };
}

const isAlerted = (site: TestSite, event: string) =>
  read(site, (store) => listAlerts(store, { limit: 10_000 })).some(({ events }) => events.includes(event));
const outage = (site: TestSite) => read(site, listLanes).find(({ device }) => device === null);
const isCaughtUp = (site: TestSite) =>
  read(site, (store) => listLanes(store).every(({ device }) => device !== null) && detectorState(store).cursor === nextOffset(store));

test("behind by hours, a live alert is stored while the backlog is worked on; killed at random, the alerts are those of an undisturbed run", async () => {
  await using site = await testSite();
  fillBacklog(site);
  await using live = await deviceOf(site, "gw-live");
  const hits = [{ rule: "local-live", version: "1" }];
  let rounds = 0;
  for (const part of [0.1, 0.3, 0.6]) {
    const child = await startDetector(site);
    const [event] = await live.run([[`/usr/bin/live-${++rounds}`]], hits);
    await until(() => isAlerted(site, event!), "the live alert");
    const lane = outage(site)!;
    expect(lane.cursor, "the live alert came before the backlog was done").toBeLessThan(lane.end!);
    const { live: now, aside } = read(site, (store) => detectorLag(store, Date.now()));
    expect(now.batches).toBeLessThan(10);
    expect(aside.events).toBeGreaterThan(1000);
    expect(aside.seconds).toBeGreaterThan(HOUR_MS / 1000);
    // Somewhere in the backlog, while live events go on arriving.
    await until(() => (outage(site)?.cursor ?? Number.POSITIVE_INFINITY) > lane.end! * part, "the backlog's middle");
    await live.run([[`/usr/bin/more-${rounds}`]], hits);
    child.kill("SIGKILL");
    await child.exited;
  }
  const child = await startDetector(site);
  await until(() => isCaughtUp(site), "the end of the backlog");
  child.kill("SIGKILL");
  await child.exited;
  const alerts = alertsAt(site);
  expect(alerts.length).toBeGreaterThan(20);
  expect(alerts).toEqual(expected(site));
  expect(read(site, (store) => detectorLag(store, Date.now()))).toMatchObject({
    live: { batches: 0, seconds: 0 },
    aside: { batches: 0, events: 0 },
  });
}, 120_000);

test("a device whose command lines are made to be slow is judged on the side: others are not held up, and all its alerts come", async () => {
  await using site = await testSite();
  await using bad = await deviceOf(site, "gw-bad");
  await using good = await deviceOf(site, "gw-good");
  const words =
    "curl wget bash sh -c base64 -d | python3 -c import socket nc -e /dev/tcp/ chmod +x /tmp/ crontab -l systemctl enable useradd passwd /etc/shadow sudo ssh-keygen iptables -F history -c LD_PRELOAD nohup xmrig eval exec ";
  const text = words.repeat(30).slice(0, 3900);
  const slow = (at: number) => ["/bin/bash", "-c", ...Array.from({ length: 30 }, (_, arg) => `${at} ${arg} ${text}`)];
  const hostile = Array.from({ length: 20 }, (_, batch) => Array.from({ length: 30 }, (_, at) => slow(batch * 30 + at)));
  for (const lines of hostile) await bad.run(lines);
  const [event] = await good.run([["/usr/bin/x"]], [{ rule: "local-live", version: "1" }]);
  const child = await startDetector(site);
  await until(() => isAlerted(site, event!), "the alert of the other device");
  const lane = read(site, listLanes).find(({ device }) => device === "gw-bad");
  expect(lane, "the device is read apart").toBeDefined();
  const end = read(site, nextOffset);
  expect(lane!.cursor).toBeLessThan(end - 1);
  child.kill("SIGKILL");
  await child.exited;
  const again = await startDetector(site);
  await until(() => read(site, (store) => detectorLag(store, Date.now()).aside.batches) === 0 && isCaughtUp(site), "the slow device");
  again.kill("SIGKILL");
  await again.exited;
  expect(alertsAt(site)).toEqual(expected(site));
}, 120_000);
