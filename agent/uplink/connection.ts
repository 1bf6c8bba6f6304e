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
  /** Gives up waiting for the broker's consent; has no effect later. */
  readonly signal: AbortSignal;
};

const KEEPALIVE_S = 15;
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
        client.publish(topic, bytes, { qos: 1, retain: false }, (error) => (error ? reject(error) : resolve()));
      }),
    closed: closed.promise,
    end: async () => {
      client.end(false);
      await Promise.race([closed.promise, Bun.sleep(END_MS)]);
      socket.destroy();
    },
    cut,
  };
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

async function ready(client: MqttClient, filters: readonly string[], more: readonly string[]): Promise<void> {
  await new Promise<void>((resolve) => client.once("connect", () => resolve()));
  const granted = await client.subscribeAsync([...filters], { qos: 1 });
  const refused = granted.filter(({ qos }) => qos === 128).map(({ topic }) => topic);
  // Apart, and not waited for: whether it is granted changes nothing for the rest.
  if (more.length > 0) client.subscribe([...more], { qos: 1 }, () => {});
  if (refused.length > 0) throw new Error(`the broker refused a subscription to ${refused.join(", ")}`);
}
