// One MQTT connection of the detector: TLS 1.3, its own certificate, the broker's checked for its role.
import { checkServerIdentity, connect, type PeerCertificate, type TLSSocket } from "node:tls";
import { MqttClient } from "mqtt";

export type FeedAddress = { readonly host: string; readonly port: number };
export type FeedCredentials = { readonly ca: string; readonly cert: string; readonly key: string };

export type Connection = {
  /** Resolves with the PUBACK; rejects when the connection ends before. */
  publish(topic: string, payload: string): Promise<void>;
  /** Resolves once, with the reason, when the connection is over. */
  readonly closed: Promise<string>;
  close(why: string): void;
};

export type ConnectionOptions = FeedAddress &
  FeedCredentials & {
    readonly clientId: string;
    readonly subscribe: string;
    /** Must not throw. */
    readonly onMessage: (payload: Uint8Array) => void;
    readonly signal: AbortSignal;
  };

const TIMEOUT_MS = 10_000;
const KEEPALIVE_S = 15;

/**
 * Whether a certificate that chains to the site's CA is the site's own: the same CA signs devices, and a stolen one must not pass for the broker.
 * Returns the reason when it is not.
 */
export function checkSite(host: string, certificate: PeerCertificate): Error | undefined {
  const mismatch = checkServerIdentity(host, certificate);
  if (mismatch) return mismatch;
  const role: unknown = certificate.subject?.OU;
  return role === "site" ? undefined : new Error(`the certificate of ${host} has the role ${JSON.stringify(role)}, not "site"`);
}

/** Connects, says CONNECT and subscribes (MQTT 3.1.1, clean session, QoS 1). Rejects with the reason. */
export async function openConnection(options: ConnectionOptions): Promise<Connection> {
  const socket = await dial(options);
  let why: string | undefined;
  const client = new MqttClient(() => socket, {
    clientId: options.clientId,
    clean: true,
    protocolVersion: 4,
    keepalive: KEEPALIVE_S,
    // A new client for each connection: mqtt.js would publish a commit of the old session again.
    reconnectPeriod: 0,
    connectTimeout: TIMEOUT_MS,
    resubscribe: false,
    timerVariant: "native",
  });
  const closed = Promise.withResolvers<string>();
  const close = (reason: string) => {
    why ??= reason;
    client.end(true);
    socket.destroy();
    closed.resolve(why);
  };
  client.on("error", (error) => close(error.message));
  client.on("close", () => close("the broker closed the connection"));
  client.on("message", (_topic, payload) => options.onMessage(payload));
  const aborted = () => close("stopped");
  options.signal.addEventListener("abort", aborted);
  closed.promise.then(() => options.signal.removeEventListener("abort", aborted));
  try {
    options.signal.throwIfAborted();
    await Promise.race([ready(client, options.subscribe), closed.promise.then((reason) => Promise.reject(new Error(reason)))]);
  } catch (error) {
    close(error instanceof Error ? error.message : String(error));
    throw error;
  }
  const publish = (topic: string, payload: string) =>
    new Promise<void>((resolve, reject) => {
      if (!client.connected) reject(new Error("not connected"));
      else client.publish(topic, payload, { qos: 1, retain: false }, (error) => (error ? reject(error) : resolve()));
      closed.promise.then((reason) => reject(new Error(reason)));
    });
  return { publish, closed: closed.promise, close };
}

async function ready(client: MqttClient, filter: string): Promise<void> {
  await new Promise<void>((resolve) => client.once("connect", () => resolve()));
  const granted = await client.subscribeAsync(filter, { qos: 1 });
  if (granted.some(({ qos }) => qos === 128)) throw new Error(`the broker refused a subscription to ${filter}`);
}

function dial(options: ConnectionOptions): Promise<TLSSocket> {
  const { host, port, ca, cert, key, signal } = options;
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const socket = connect({
      host,
      port,
      ca,
      cert,
      key,
      // An address is no server name (RFC 6066, section 3).
      ...(/^[\d.]+$|:/.test(host) ? {} : { servername: host }),
      minVersion: "TLSv1.3",
      rejectUnauthorized: true,
      checkServerIdentity: (_name, certificate) => checkSite(host, certificate),
    });
    const fail = (error: Error) => {
      done();
      socket.destroy();
      reject(error);
    };
    const aborted = () => fail(new Error("stopped"));
    const timer = setTimeout(() => fail(new Error(`no answer from ${host} port ${port} within ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS);
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", aborted);
    };
    signal.addEventListener("abort", aborted);
    socket.on("error", fail);
    socket.once("close", () => fail(new Error(`${host} port ${port} closed the connection`)));
    socket.once("secureConnect", () => {
      if (!socket.authorized) return fail(new Error(`the site's certificate was not accepted: ${socket.authorizationError}`));
      done();
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}
