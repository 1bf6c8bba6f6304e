// A real broker over TLS: bytes at its MQTT port with a device's certificate, and bodies at its REST interface with an operator's credential.
import { connect, type TLSSocket } from "node:tls";
import { startSite } from "../../broker/api/testing/site.ts";

import { BOOT, connect as connectClient, enrol, makeEvents, mine, SITE, testSite } from "../../broker/testing/site.ts";
import { encodeBatch } from "../../protocol/batch.ts";
import { routes } from "../../protocol/rest.ts";
import { jsonBytes, mutateBytes, mutateJson, pick, type Random } from "./mutate.ts";
import { badBatch, heartbeat } from "./parsers.ts";
import type { Target } from "./target.ts";

const lifted = { burst: 1e9, refillMs: 1, addresses: 10 };
const ANSWER_MS = 15_000;
const PER_CONNECTION = 25;

const text = (value: string) => Buffer.concat([Buffer.from([value.length >> 8, value.length & 0xff]), Buffer.from(value)]);
function packet(type: number, body: Uint8Array): Buffer {
  const length: number[] = [];
  for (let left = body.length; ; left >>= 7) {
    length.push(left > 0x7f ? (left & 0x7f) | 0x80 : left);
    if (left <= 0x7f) break;
  }
  return Buffer.concat([Buffer.from([type, ...length]), body]);
}
const publish = (topic: string, payload: Uint8Array) => packet(0x32, Buffer.concat([text(topic), Buffer.from([0, 1]), payload]));

/** Speaks MQTT 3.1.1 badly, as a device whose certificate was stolen would. */
export async function mqttTarget(): Promise<Target & AsyncDisposable> {
  const quota = { messagesPerS: 1e6, eventsPerS: 1e7, bytesPerS: 2 ** 32, connectionsPerMinute: 1e6 };
  const site = await testSite({ config: { quota } });
  const bad = await enrol(site, "bad");
  const good = await enrol(site, "good");
  const own = (name: Parameters<typeof mine>[1]) => mine(bad, name);
  const hello = packet(0x10, Buffer.concat([text("MQTT"), Buffer.from([4, 2, 0, 60]), text("device:bad")]));
  const seeds = [
    publish(own("status"), jsonBytes(heartbeat)),
    packet(0x82, Buffer.concat([Buffer.from([0, 1]), text(own("cmd")), Buffer.from([1])])),
    packet(0xc0, Buffer.alloc(0)),
  ];
  let socket: TLSSocket | undefined;
  let sent = 0;
  let first = 0;
  /** Somebody else's events must still be taken, whatever `bad` did. */
  const others = async () => {
    const client = await connectClient(site, good);
    const events = makeEvents("good", "fuzzgood", first, 5);
    first += 5;
    await client.publishAsync(mine(good, "events"), Buffer.from(encodeBatch({ boot: BOOT, oldest: 0, events })), {
      qos: 1,
    });
    await client.endAsync(true);
  };
  const open = () =>
    new Promise<TLSSocket>((resolve, reject) => {
      const made = connect({
        host: "localhost",
        port: site.broker.mqttPort,
        ca: site.ca,
        key: bad.key,
        cert: bad.cert,
        minVersion: "TLSv1.3",
      });
      made.on("error", reject);
      made.once("secureConnect", () => {
        made.on("data", () => {});
        made.write(hello);
        resolve(made);
      });
    });
  const written = (to: TLSSocket, bytes: Uint8Array) =>
    new Promise<void>((resolve) => {
      to.once("close", resolve);
      to.write(bytes, () => {
        to.off("close", resolve);
        resolve();
      });
    });
  return {
    name: "mqtt",
    seeds,
    make: (random: Random) => {
      const what = random();
      if (what < 0.35) return publish(own("events"), badBatch(random));
      if (what < 0.5) return publish(own("status"), jsonBytes(mutateJson(random, heartbeat)));
      const names = ["result", "sample", "cmd", "pack", "want"].map((name) => `picket/v1/${SITE}/d/bad/${name}`);
      if (what < 0.65)
        return publish(pick(random, [...names, "picket/v1/yard/feed/want", "$SYS/x", "#"]), jsonBytes(mutateJson(random, heartbeat)));
      return mutateBytes(random, pick(random, seeds), seeds);
    },
    run: async (bytes) => {
      if (!socket || socket.destroyed || sent % PER_CONNECTION === 0) {
        socket?.destroy();
        socket = await open();
        await others();
      }
      sent++;
      await written(socket, bytes);
    },
    finish: async () => {
      socket?.destroy();
      await others();
      const { json } = await site.api("GET", "/v1/devices");
      const { devices } = json as { devices: { id: string }[] };
      if (
        devices
          .map(({ id }) => id)
          .toSorted()
          .join() !== "bad,good"
      )
        throw new Error(`the devices are now ${JSON.stringify(devices)}`);
      const found = new Set<number>();
      for (let after = 0; ; ) {
        const { json: page } = await site.api("GET", `/v1/events?device=good&limit=1000&after=${after}`);
        const { events, after: next } = page as { events: { seq: number }[]; after: number };
        for (const { seq } of events) found.add(seq);
        if (events.length === 0) break;
        after = next;
      }
      if (found.size !== first) throw new Error(`${found.size} of ${first} events of the other device are there`);
    },
    [Symbol.asyncDispose]: () => site[Symbol.asyncDispose](),
  };
}

const bodies: readonly unknown[] = [
  { secret: "s".repeat(40), csr: "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----", name: "pi" },
  { certificate: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", csr: "x", proof: "a.b.c" },
  { jws: "eyJhbGciOiJFZERTQSJ9.eyJzaXRlIjoieCJ9.AAAA" },
  { status: "closed", assignee: "anna", note: "x" },
  { ttlS: 3600, uses: 1 },
  { token: "picketmesh1.AAAA", site: "other", ca: "x", proof: "a.b.c", limit: 1 },
  { kind: "ip", value: "192.0.2.1", confidence: 50, expiresMs: 1 },
];

/** Every route, with odd parameters, queries and bodies, as an operator and as nobody. Nothing may be a fault of the site's own (500). */
export async function restTarget(): Promise<Target & AsyncDisposable> {
  const site = await startSite({ limits: { failures: lifted, open: lifted } });
  const all = Object.values(routes);
  return {
    name: "rest",
    seeds: bodies.map(jsonBytes),
    make: (random) => {
      const { method, path } = pick(random, all);
      const odd = () =>
        encodeURIComponent(
          pick(random, ["gw-014", "soc", "..", "x".repeat(300), "\u0000", "%", "' OR 1=1", crypto.randomUUID(), "-1", "1e9"]),
        );
      const query =
        random() < 0.5 ? "" : `?${pick(random, ["limit", "sinceMs", "device", "after", "severity", "technique", "__proto__"])}=${odd()}`;
      const raw = random() < 0.2;
      const body = raw
        ? mutateBytes(random, jsonBytes(pick(random, bodies)), bodies.map(jsonBytes))
        : jsonBytes(mutateJson(random, pick(random, bodies)));
      const head = { method, path: path.replaceAll(/:[a-z0-9]+/gi, odd) + query, known: random() < 0.8 };
      return Buffer.concat([jsonBytes(head), Buffer.from("\n"), body]);
    },
    run: async (bytes) => {
      const end = bytes.indexOf(0x0a);
      const { method, path, known } = JSON.parse(Buffer.from(bytes.subarray(0, end)).toString()) as {
        method: string;
        path: string;
        known: boolean;
      };
      const init = method === "GET" ? {} : { body: Buffer.from(bytes.subarray(end + 1)) };
      const headers = { "content-type": "application/json", ...(known ? { authorization: `Bearer ${site.token}` } : {}) };
      const answer = await fetch(site.url + path, {
        method,
        headers,
        ...init,
        tls: { ca: site.ca },
        signal: AbortSignal.timeout(ANSWER_MS),
      });
      await answer.text();
      if (answer.status >= 500) throw new Error(`${method} ${path} is answered with ${answer.status}: ${site.faults.splice(0).join("; ")}`);
    },
    finish: async () => {
      if (site.faults.length > 0) throw new Error(`the interface reported ${site.faults.join("; ")}`);
    },
    [Symbol.asyncDispose]: () => site[Symbol.asyncDispose](),
  };
}
