// A connection to a peer's broker: TLS 1.3 with the peer's CA and no other, our certificate of role `site`, then MQTT 3.1.1 with a clean session.
import { checkServerIdentity, connect, type PeerCertificate, type TLSSocket } from "node:tls";
import { MqttClient } from "mqtt";

export type Target = { readonly site: string /** host:port, an IPv6 host in brackets. */; readonly address: string; readonly ca: string };
export type Credentials = { readonly cert: string; readonly key: string };

export type Connection = {
  /** Resolves when the broker has it (true) or the connection is over (false). */
  send(payload: string): Promise<boolean>;
  /** Resolves once, with the reason, when the connection is over. */
  readonly closed: Promise<string>;
  close(why: string): void;
};

export type DialOptions = {
  readonly target: Target;
  readonly credentials: Credentials;
  readonly clientId: string;
  readonly publish: string;
  readonly subscribe: string;
  /** Told every chunk that arrives, ahead of the parser; says what is wrong with it. */
  readonly inspect: (chunk: Uint8Array) => string | undefined;
  /** The next message is handed over, and this one acknowledged, when it resolves; a rejection ends the connection. */
  readonly onMessage: (payload: Uint8Array) => Promise<void>;
  readonly signal: AbortSignal;
};

const TIMEOUT_MS = 10_000;
const KEEPALIVE_S = 15;

/**
 * Whether a certificate that chains to the pinned CA is the site itself at this host. Its CA signs devices too, and a stolen one must not
 * pass for the broker. Returns the reason when it is not.
 */
export function checkPeer(host: string, site: string, certificate: PeerCertificate): Error | undefined {
  const mismatch = checkServerIdentity(host, certificate);
  if (mismatch) return mismatch;
  const { OU, CN } = certificate.subject as { OU?: unknown; CN?: unknown };
  return OU === "site" && CN === site ? undefined : new Error(`the certificate of ${host} is not that of the site ${site}`);
}

/** Splits host:port; an IPv6 host loses its brackets. */
export function splitAddress(address: string): { host: string; port: number } {
  const at = address.lastIndexOf(":");
  return { host: address.slice(0, at).replace(/^\[(.*)\]$/, "$1"), port: Number(address.slice(at + 1)) };
}

/** An address is no server name (RFC 6066, section 3). */
export const serverName = (host: string) => (/^[\d.]+$|:/.test(host) ? {} : { servername: host });

/** Connects, says CONNECT and subscribes. Rejects with the reason. */
export async function dial(options: DialOptions): Promise<Connection> {
  const socket = await openSocket(options);
  let why: string | undefined;
  const closed = Promise.withResolvers<string>();
  // Before the client's own listener, so that an oversized packet never reaches its parser.
  socket.prependListener("data", (chunk: Buffer) => {
    const problem = why === undefined ? options.inspect(chunk) : undefined;
    if (problem === undefined) return;
    why = problem;
    socket.destroy();
  });
  const client = new MqttClient(() => socket, {
    clientId: options.clientId,
    clean: true,
    protocolVersion: 4,
    keepalive: KEEPALIVE_S,
    // A new client for each connection: mqtt.js would publish again by itself, while the log is the only record of what must be sent.
    reconnectPeriod: 0,
    connectTimeout: TIMEOUT_MS,
    resubscribe: false,
    timerVariant: "native",
  });
  const sending = new Set<(sent: boolean) => void>();
  const close = (reason: string) => {
    why ??= reason;
    client.end(true);
    socket.destroy();
    closed.resolve(why);
    for (const settle of sending) settle(false);
  };
  client.on("error", (error) => close(error.message));
  client.on("close", () => close("the peer closed the connection"));
  client.handleMessage = (packet, done) => {
    if (packet.cmd !== "publish" || typeof packet.payload === "string") return done();
    options.onMessage(packet.payload).then(
      () => done(),
      (error: unknown) => close(error instanceof Error ? error.message : String(error)),
    );
  };
  const aborted = () => close("stopped");
  options.signal.addEventListener("abort", aborted);
  void closed.promise.then(() => options.signal.removeEventListener("abort", aborted));
  try {
    options.signal.throwIfAborted();
    await Promise.race([ready(client, options.subscribe), closed.promise.then((reason) => Promise.reject(new Error(reason)))]);
  } catch (error) {
    close(error instanceof Error ? error.message : String(error));
    throw error;
  }
  const send = (payload: string) =>
    new Promise<boolean>((resolve) => {
      if (!client.connected) return resolve(false);
      const settle = (sent: boolean) => {
        sending.delete(settle);
        resolve(sent);
      };
      sending.add(settle);
      client.publish(options.publish, payload, { qos: 1, retain: false }, (error) => settle(!error));
    });
  return { send, closed: closed.promise, close };
}

async function ready(client: MqttClient, filter: string): Promise<void> {
  await new Promise<void>((resolve) => client.once("connect", () => resolve()));
  const granted = await client.subscribeAsync(filter, { qos: 1 });
  if (granted.some(({ qos }) => qos === 128)) throw new Error(`the peer refused a subscription to ${filter}`);
}

function openSocket({ target, credentials, signal }: DialOptions): Promise<TLSSocket> {
  const { host, port } = splitAddress(target.address);
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const socket = connect({
      ...{ host, port, ca: target.ca, cert: credentials.cert, key: credentials.key, ...serverName(host) },
      minVersion: "TLSv1.3",
      rejectUnauthorized: true,
      checkServerIdentity: (_name, certificate) => checkPeer(host, target.site, certificate),
    });
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", aborted);
    };
    const fail = (error: Error) => {
      done();
      socket.destroy();
      reject(error);
    };
    const aborted = () => fail(new Error("stopped"));
    const timer = setTimeout(() => fail(new Error(`no answer from ${target.address} within ${TIMEOUT_MS / 1000} s`)), TIMEOUT_MS);
    signal.addEventListener("abort", aborted);
    socket.on("error", fail);
    socket.once("close", () => fail(new Error(`${target.address} closed the connection`)));
    socket.once("secureConnect", () => {
      if (!socket.authorized) return fail(new Error(`the peer's certificate was not accepted: ${socket.authorizationError}`));
      done();
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}
