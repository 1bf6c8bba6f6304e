// One MQTT connection from its CONNECT to its end. A new client for each: mqtt.js would keep what was in flight and publish it again
// by itself, while the buffer is the only record of what must be sent.
import type { TLSSocket } from "node:tls";
import { MqttClient } from "mqtt";
import { packetGuard } from "./guard.ts";

export type Connection = {
  /** Resolves with the PUBACK; rejects when the connection ends before. QoS 1, not retained. */
  publish(topic: string, payload: string | Uint8Array): Promise<void>;
  /** Resolves once, when the connection is over, with the reason. */
  readonly closed: Promise<string>;
  /** Ends with DISCONNECT, so that the broker drops the Last Will. */
  end(): Promise<void>;
  /** Ends without a word; the broker then publishes the Last Will. */
  cut(why: string): void;
};

export type ConnectionOptions = {
  readonly clientId: string;
  readonly will: { readonly topic: string; readonly payload: string };
  readonly subscribe: readonly string[];
  /** What the broker may refuse. */
  readonly subscribeIfMay?: readonly string[];
  /** Largest packet taken from the broker, bytes. */
  readonly maxPacketBytes: number;
  /** Must not throw. The payload is only valid until it returns. */
  readonly onMessage: (topic: string, payload: Buffer) => void;
  /** How long the broker may be silent before it is asked whether it is there, milliseconds; it is given up after three times that. Default 5,000. */
  readonly askMs?: number | undefined;
  /** Gives up waiting for the broker's consent; has no effect later. */
  readonly signal: AbortSignal;
};

/** What the broker is told: it takes us for gone after 1.5 times that. */
const KEEPALIVE_S = 15;
/** A broker that was silent for so long is asked whether it is there; after three times that it is not, when nothing else is on its way. */
const ASK_MS = 5000;
const SILENT_ASKS = 3;
/** What is on its way goes before the answer, over a line that may be this slow (32 kbit/s); but nobody waits longer than that. */
const SLOWEST_BYTES_PER_MS = 4;
const SILENT_MAX_MS = 120_000;
const CONNACK_MS = 10_000;
const END_MS = 1000;

/** CONNECT and SUBSCRIBE over an established TLS socket (MQTT 3.1.1, clean session). Rejects when the broker refuses either. */
export async function openConnection(socket: TLSSocket, options: ConnectionOptions): Promise<Connection> {
  let why: string | undefined;
  const guard = packetGuard(options.maxPacketBytes);
  // Before the client's own listener, so that an oversized packet never reaches its parser.
  socket.prependListener("data", (chunk: Buffer) => {
    const bytes = guard(chunk);
    if (bytes === undefined) return;
    why ??= `the broker announced a packet of ${bytes} bytes`;
    socket.destroy();
  });
  const client = new MqttClient(() => socket, {
    clientId: options.clientId,
    clean: true,
    protocolVersion: 4,
    // The client's own pings are put off by whatever it sends, so that with heartbeats a half-open connection passes for alive: `listen` asks.
    keepalive: KEEPALIVE_S,
    reschedulePings: true,
    reconnectPeriod: 0,
    connectTimeout: CONNACK_MS,
    resubscribe: false,
    timerVariant: "native",
    // It would keep 65,536 buffers, one for each packet id: 6 MB.
    writeCache: false,
    will: { ...options.will, payload: Buffer.from(options.will.payload), qos: 1, retain: false },
  });
  const closed = Promise.withResolvers<string>();
  client.on("error", (error) => {
    why ??= error.message;
    socket.destroy();
    // A socket that ended before the client listened to it says nothing more.
    closed.resolve(why);
  });
  client.on("close", () => closed.resolve(why ?? "the broker closed the connection"));
  client.on("message", options.onMessage);
  const cut = (reason: string) => {
    why ??= reason;
    client.end(true);
    socket.destroy();
    closed.resolve(why);
  };
  const connection: Connection = {
    publish: (topic, payload) =>
      new Promise((resolve, reject) => {
        if (!client.connected) return reject(new Error("not connected"));
        const bytes = typeof payload === "string" ? payload : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
        flyingBytes += bytes.length;
        client.publish(topic, bytes, { qos: 1, retain: false }, (error) => {
          flyingBytes -= bytes.length;
          if (error) reject(error);
          else resolve();
        });
      }),
    closed: closed.promise,
    end: async () => {
      client.end(false);
      await Promise.race([closed.promise, Bun.sleep(END_MS)]);
      socket.destroy();
    },
    cut,
  };
  let flyingBytes = 0;
  const { askMs = ASK_MS } = options;
  const stopListening = listen(socket, {
    askMs,
    patienceMs: () => Math.min(SILENT_MAX_MS, SILENT_ASKS * askMs + flyingBytes / SLOWEST_BYTES_PER_MS),
    ask: () => client.connected && client.sendPing(),
    onSilent: (forMs) => cut(`the broker said nothing for ${Math.round(forMs / 1000)} s`),
  });
  void closed.promise.then(stopListening);
  const aborted = () => cut("stopped");
  options.signal.addEventListener("abort", aborted);
  try {
    options.signal.throwIfAborted();
    await Promise.race([
      ready(client, options.subscribe, options.subscribeIfMay ?? []),
      closed.promise.then((reason) => Promise.reject(new Error(reason))),
    ]);
  } catch (error) {
    cut(error instanceof Error ? error.message : String(error));
    throw error;
  } finally {
    options.signal.removeEventListener("abort", aborted);
  }
  return connection;
}

type Listening = {
  readonly askMs: number;
  readonly patienceMs: () => number;
  readonly ask: () => void;
  readonly onSilent: (forMs: number) => void;
};

/**
 * Asks a peer that has been silent whether it is there, and tells when nothing came for `patienceMs`: a connection whose other end is gone
 * without a word looks open for a quarter of an hour. Returns how to stop.
 */
function listen(socket: TLSSocket, of: Listening): () => void {
  let heardMs = performance.now();
  socket.on("data", () => {
    heardMs = performance.now();
  });
  const timer = setInterval(() => {
    const silentMs = performance.now() - heardMs;
    if (silentMs >= of.patienceMs()) of.onSilent(silentMs);
    // A timer is a little early or late.
    else if (silentMs >= of.askMs * 0.9) of.ask();
  }, of.askMs);
  return () => clearInterval(timer);
}

async function ready(client: MqttClient, filters: readonly string[], more: readonly string[]): Promise<void> {
  await new Promise<void>((resolve) => client.once("connect", () => resolve()));
  const granted = await client.subscribeAsync([...filters], { qos: 1 });
  const refused = granted.filter(({ qos }) => qos === 128).map(({ topic }) => topic);
  // Apart, and not waited for: whether it is granted changes nothing for the rest.
  if (more.length > 0) client.subscribe([...more], { qos: 1 }, () => {});
  if (refused.length > 0) throw new Error(`the broker refused a subscription to ${refused.join(", ")}`);
}
