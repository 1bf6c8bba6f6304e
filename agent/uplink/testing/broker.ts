// A small real broker for tests: aedes over TLS, with a switch for every way a broker can be bad.
import type { AddressInfo } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { decodeBatch } from "@picket/protocol/batch";
import type { SensorEvent } from "@picket/protocol/event";
import { Aedes, type Client } from "aedes";
import { type Issued, type TestCa, testCa } from "./pki.ts";

export type TestBroker = AsyncDisposable & {
  port: number;
  /** Every batch taken, in order, duplicates included. */
  readonly batches: { readonly events: readonly SensorEvent[]; readonly oldest: number; readonly bytes: number }[];
  /** Payloads of status and result, parsed. */
  readonly statuses: { state: string; [key: string]: unknown }[];
  readonly results: { jti?: string; [key: string]: unknown }[];
  readonly clientIds: string[];
  /** PINGREQs taken. */
  pings: number;
  /** Serial numbers of the certificates shown, one a connection, lower-case hex. */
  readonly serials: string[];
  /** While true, a batch that arrived is not answered; setting it to false answers it. As aedes reads on only then, the rest waits too. */
  hold: boolean;
  /** How long a batch takes to store. */
  delayMs: number;
  /** Resolves when `wanted()` is true, looked at whenever something arrives. */
  until(wanted: () => boolean): Promise<void>;
  send(topic: string, payload: string | Buffer): Promise<void>;
  /** Writes raw bytes to every client, behind the broker's back. */
  raw(bytes: Uint8Array): void;
  /** Destroys all connections without a word. */
  cut(): void;
};

export type Site = { readonly ca: TestCa; readonly server: Issued; readonly device: Issued };

/** A CA with a server certificate for 127.0.0.1 and localhost and one for device "pi". */
export async function testSite(): Promise<Site> {
  const ca = await testCa();
  return {
    ca,
    server: await ca.issue({ name: "lab", role: "site", hosts: ["127.0.0.1", "localhost"] }),
    device: await ca.issue({ name: "pi", role: "device" }),
  };
}

export async function startTestBroker(site: Site, options: { port?: number; server?: Issued } = {}): Promise<TestBroker> {
  const aedes = await Aedes.createBroker();
  const { key, cert } = options.server ?? site.server;
  const server = createServer({ key, cert, ca: site.ca.cert, requestCert: true, rejectUnauthorized: true, minVersion: "TLSv1.3" });
  const sockets = new Set<TLSSocket>();
  server.on("secureConnection", (socket) => {
    sockets.add(socket);
    broker.serials.push(socket.getPeerCertificate().serialNumber.toLowerCase());
    changed();
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    aedes.handle(socket);
  });
  const waiters = new Set<() => void>();
  const changed = () => {
    for (const look of waiters) look();
  };
  let holding = false;
  const held: (() => void)[] = [];
  const broker: TestBroker = {
    port: 0,
    batches: [],
    statuses: [],
    results: [],
    clientIds: [],
    pings: 0,
    serials: [],
    get hold() {
      return holding;
    },
    set hold(on) {
      holding = on;
      if (!on) for (const answer of held.splice(0)) answer();
    },
    delayMs: 0,
    until: (wanted) =>
      new Promise((resolve) => {
        const look = () => {
          if (!wanted()) return;
          waiters.delete(look);
          resolve();
        };
        waiters.add(look);
        look();
      }),
    send: (topic, payload) =>
      new Promise((resolve, reject) =>
        aedes.publish({ cmd: "publish", topic, payload, qos: 1, retain: false, dup: false }, (error) =>
          error ? reject(error) : resolve(),
        ),
      ),
    raw: (bytes) => {
      for (const socket of sockets) socket.write(bytes);
    },
    cut: () => {
      for (const socket of sockets) socket.destroy();
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      await new Promise<void>((resolve) => aedes.close(() => resolve()));
    },
  };
  aedes.on("clientReady", (client: Client) => {
    broker.clientIds.push(client.id);
    changed();
  });
  aedes.on("ping", () => {
    broker.pings++;
    changed();
  });
  aedes.authorizePublish = (_client, packet, callback) => {
    const payload = Buffer.from(packet.payload);
    const tail = packet.topic.split("/").at(-1);
    if (tail === "events") {
      const { header, events } = decodeBatch(payload);
      broker.batches.push({ events, oldest: header.oldest, bytes: payload.length });
    } else if (tail === "status") broker.statuses.push(JSON.parse(payload.toString()));
    else if (tail === "result") broker.results.push(JSON.parse(payload.toString()));
    changed();
    if (tail === "events" && holding) held.push(() => callback(null));
    else if (tail === "events" && broker.delayMs > 0) setTimeout(callback, broker.delayMs, null);
    else callback(null);
  };
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, "127.0.0.1", resolve));
  broker.port = (server.address() as AddressInfo).port;
  return broker;
}
