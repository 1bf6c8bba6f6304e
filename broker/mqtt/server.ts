// The MQTT side: aedes with every door closed that its defaults leave open. It keeps nothing of record.
import type { TLSSocket } from "node:tls";
import { clientId, type Role } from "@picket/protocol/names";
import { MAX_PACKET_BYTES, mayPublish, maySubscribe, parseTopic, type TopicName, topic, topics } from "@picket/protocol/topics";
import { Aedes, type AuthenticateError, type Client, type ConnectPacket, type PublishPacket, type Subscription } from "aedes";
import type { CertifiedPeer, Link, Log } from "../peer.ts";
import { PacketLimit } from "./packet-limit.ts";
import { createTlsServer, type TlsOptions } from "./tls.ts";

const CONNECT_MS = 10_000;
/** A subscriber that does not read for this long is cut, or it would hold up the others. */
const DRAIN_MS = 20_000;
/** A peer that vanished without a word is noticed after 1.5 times its keep-alive. */
const KEEPALIVE_MAX_S = 300;
/** How often certificates of live connections are looked at again. */
const SWEEP_MS = 5000;

/** Connections of one certificate at once: the live one, one that takes over, and some that are dying. */
const MAX_SOCKETS = 8;

export type MqttHandlers = {
  /** Asked after the handshake, before anything is read: whether this identity may open another connection now. */
  mayConnect(peer: CertifiedPeer): boolean;
  /** Why this peer may not be connected (revoked, expired, unknown), or undefined. Asked at CONNECT and again by a timer. */
  refuse(peer: CertifiedPeer): string | undefined;
  connected(link: Link, previous: Link | undefined): void;
  /** PUBACK follows only when this resolves; a rejection cuts the connection without one. */
  published(link: Link, name: TopicName, payload: Uint8Array): Promise<void>;
  /** The Last Will of a connection that broke. */
  vanished(link: Link, payload: Uint8Array): Promise<void>;
  subscribed(link: Link, name: TopicName): void;
  closed(link: Link): void;
  /** A connection was cut because it announced a packet too large to be read. */
  overran(peer: CertifiedPeer, why: string): void;
};

export type MqttOptions = TlsOptions & {
  readonly site: string;
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly handlers: MqttHandlers;
};

export type MqttServer = AsyncDisposable & {
  readonly port: number;
  /** The accepted connection of a peer. */
  link(role: Role, name: string): Link | undefined;
  /** From now on these peer CAs (PEM), and no others, may connect beside the site's own. */
  trust(peerCas: readonly string[]): void;
};

/** Starts listening. Rejects when the port is taken or client certificates could not be enforced. */
export async function startMqtt(options: MqttOptions): Promise<MqttServer> {
  const state = new Connections(options);
  const aedes = await Aedes.createBroker({
    connectTimeout: CONNECT_MS,
    drainTimeout: DRAIN_MS,
    maxTopicLevels: 8,
    preConnect: (client, packet, done) => {
      state.examine(client, packet);
      done(null, true);
    },
    authenticate: (client, _user, _password, done) => {
      const problem = state.admit(client);
      if (problem) done(problem, false);
      else done(null, true);
    },
    authorizePublish: (client, packet, done) => state.publish(client, packet).then(() => done(null), done),
    authorizeSubscribe: (client, subscription, done) => done(null, state.maySubscribe(client, subscription) ? subscription : null),
  });
  forwardNothing(aedes);
  state.attach(aedes);
  const { server, trust } = createTlsServer(options, options.env, (socket, peer) => {
    if (!options.handlers.mayConnect(peer)) return "it connects more often than it may";
    if (!state.open(socket, peer)) return `more than ${MAX_SOCKETS} connections with one certificate`;
    limitPackets(socket, peer.role, (why) => {
      options.log("warn", "connection cut", { peer: clientId(peer.role, peer.name), address: socket.remoteAddress, why });
      options.handlers.overran(peer, why);
    });
    aedes.handle(socket);
    return undefined;
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, resolve);
  });
  const sweep = setInterval(() => state.sweep(), SWEEP_MS);
  const address = server.address();
  return {
    port: typeof address === "object" && address ? address.port : options.port,
    link: (role, name) => state.current(role, name),
    trust,
    [Symbol.asyncDispose]: async () => {
      clearInterval(sweep);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      await new Promise<void>((resolve) => aedes.close(() => resolve()));
      state.destroyAll();
      await closed;
    },
  };
}

/**
 * What a peer publishes was taken in by `authorizePublish`, and no row of the topic table has a subscriber for it: the way through aedes' stores
 * and its emitter would cost a third of a message and reach nobody.
 */
function forwardNothing(aedes: Aedes): void {
  type Publish = (packet: PublishPacket, client: unknown, done?: () => void) => void;
  const own = aedes.publish.bind(aedes) as Publish;
  aedes.publish = ((packet, client, done) => {
    if (typeof client === "object" && client !== null) done?.();
    else own(packet, client, done);
  }) as Publish as Aedes["publish"];
}

/** The largest PUBLISH a role may announce, from the topic table. */
function maxPublishBytes(role: Role): number {
  const sizes = Object.values(topics).flatMap((row) => (row.publish === role ? [row.maxBytes + 1024] : []));
  return Math.min(MAX_PACKET_BYTES, Math.max(...sizes, 1024));
}

/** aedes takes its bytes with `socket.read()`: headers are read there, before its parser buffers what they announce. */
function limitPackets(socket: TLSSocket, role: Role, report: (why: string) => void): void {
  const limit = new PacketLimit(maxPublishBytes(role), role);
  const read = socket.read.bind(socket);
  socket.read = (size?: number) => {
    const chunk = read(size) as Buffer | null;
    const problem = chunk ? limit.take(chunk) : undefined;
    if (!problem) return chunk;
    report(problem);
    socket.destroy();
    return null;
  };
}

type Entry = {
  readonly peer: CertifiedPeer;
  readonly socket: TLSSocket;
  readonly address: string;
  problem: AuthenticateError | undefined;
  link: (Link & { superseded: boolean }) | undefined;
  ended: Link["ended"];
};

/** What the kernel says when the other host does not answer any more. */
const unreachable = new Set(["ETIMEDOUT", "EHOSTUNREACH", "ENETUNREACH", "EHOSTDOWN", "ENETDOWN"]);

class Connections {
  readonly #options: MqttOptions;
  readonly #log: Log;
  // Weak: aedes hands out the Last Will some time after the socket closed, and its owner must still be known then.
  readonly #sockets = new WeakMap<object, Entry>();
  readonly #open = new Set<TLSSocket>();
  readonly #counts = new Map<string, number>();
  readonly #current = new Map<string, Entry>();

  constructor(options: MqttOptions) {
    this.#options = options;
    this.#log = options.log;
  }

  /** False when this certificate has too many connections already. */
  open(socket: TLSSocket, peer: CertifiedPeer): boolean {
    const name = clientId(peer.role, peer.name);
    const count = (this.#counts.get(name) ?? 0) + 1;
    if (count > MAX_SOCKETS) return false;
    this.#counts.set(name, count);
    const entry: Entry = { peer, socket, address: socket.remoteAddress ?? "", problem: undefined, link: undefined, ended: undefined };
    this.#sockets.set(socket, entry);
    this.#open.add(socket);
    // Before aedes hears of it and hands out the Last Will.
    socket.once("end", () => {
      entry.ended ??= "killed";
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      entry.ended ??= unreachable.has(error.code ?? "") ? "lost" : "killed";
    });
    socket.once("close", () => this.#forget(entry));
    return true;
  }

  /** Looks at CONNECT before aedes acts on it. The session is always clean: nothing of record lives in aedes. */
  examine(client: Client, packet: ConnectPacket): void {
    packet.clean = true;
    const entry = this.#sockets.get(client.conn);
    if (!entry) return;
    const wanted = clientId(entry.peer.role, entry.peer.name);
    if (packet.clientId !== wanted) entry.problem = refusal(2, `client id must be ${wanted}, as the certificate says`);
    else if (packet.will && !this.#mayLeave(entry.peer, packet.will))
      entry.problem = refusal(5, "the Last Will may only go to the own status topic");
    else if (!packet.keepalive || packet.keepalive > KEEPALIVE_MAX_S)
      entry.problem = refusal(5, `keep-alive must be 1 to ${KEEPALIVE_MAX_S} seconds`);
  }

  #mayLeave(peer: CertifiedPeer, will: NonNullable<ConnectPacket["will"]>): boolean {
    const packet = { topic: will.topic, retain: will.retain ?? false, payloadBytes: will.payload.length };
    const parsed = parseTopic(will.topic);
    return (will.qos ?? 0) <= 1 && parsed?.name === "status" && mayPublish({ ...peer, site: this.#options.site }, packet);
  }

  /** The verdict on CONNECT: undefined lets the client in. */
  admit(client: Client): AuthenticateError | undefined {
    const entry = this.#sockets.get(client.conn);
    if (!entry) return refusal(5, "no certificate was seen on this connection");
    const why = this.#options.handlers.refuse(entry.peer);
    const problem = entry.problem ?? (why === undefined ? undefined : refusal(5, why));
    const name = clientId(entry.peer.role, entry.peer.name);
    if (problem) {
      this.#log("warn", "CONNECT refused", { peer: name, address: entry.address, why: problem.message });
      return problem;
    }
    const previous = this.#current.get(name);
    if (previous?.link) previous.link.superseded = true;
    entry.link = this.#makeLink(entry, client);
    this.#current.set(name, entry);
    this.#options.handlers.connected(entry.link, previous?.link);
    return undefined;
  }

  #makeLink(entry: Entry, client: Client): Link & { superseded: boolean } {
    const { peer, address, socket } = entry;
    return {
      peer,
      address,
      sinceMs: this.#options.nowMs(),
      superseded: false,
      get ended() {
        return entry.ended;
      },
      send: (name, payload) =>
        new Promise((resolve) => {
          if (client.closed) return resolve(false);
          const bytes = typeof payload === "string" ? payload : Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
          const to = topic(name, this.#options.site, peer.name);
          client.publish({ cmd: "publish", topic: to, payload: bytes, qos: topics[name].qos, retain: false, dup: false }, () =>
            resolve(!client.closed),
          );
        }),
      close: (why) => {
        this.#log("info", "connection closed", { peer: clientId(peer.role, peer.name), address, why });
        socket.destroy();
      },
    };
  }

  async publish(client: Client | null, packet: PublishPacket): Promise<void> {
    const link = client && this.#sockets.get(client.conn)?.link;
    if (!link) throw new Error("PUBLISH without an accepted connection");
    const payload = Buffer.isBuffer(packet.payload) ? packet.payload : Buffer.from(packet.payload);
    const parsed = parseTopic(packet.topic);
    const allowed = mayPublish({ ...link.peer, site: this.#options.site }, { ...packet, payloadBytes: payload.length });
    if (!parsed || !allowed || packet.qos > topics[parsed.name].qos) {
      this.#log("warn", "PUBLISH refused", { peer: clientId(link.peer.role, link.peer.name), topic: packet.topic.slice(0, 200) });
      throw new Error("not allowed to publish this");
    }
    // aedes publishes the Will for a client whose connection broke; it is the same object as in CONNECT.
    if ((client as { will?: unknown }).will === packet) return this.#options.handlers.vanished(link, payload);
    return this.#options.handlers.published(link, parsed.name, payload);
  }

  maySubscribe(client: Client, subscription: Subscription): boolean {
    const link = this.#sockets.get(client.conn)?.link;
    const allowed = link !== undefined && maySubscribe({ ...link.peer, site: this.#options.site }, subscription.topic);
    if (!allowed) this.#log("warn", "SUBSCRIBE refused", { peer: client.id, filter: subscription.topic.slice(0, 200) });
    return allowed;
  }

  attach(aedes: Aedes): void {
    const known = (error: Error, client: Client) => this.#log("info", "connection failed", { peer: client.id, why: error.message });
    aedes.on("clientError", (client, error) => known(error, client));
    aedes.on("connectionError", (client, error) => known(error, client));
    (aedes as NodeJS.EventEmitter).on("error", (error: Error) => this.#log("error", "MQTT broker error", { why: error.message }));
    aedes.on("keepaliveTimeout", (client) => {
      const entry = this.#sockets.get(client.conn);
      if (entry) entry.ended ??= "lost";
    });
    aedes.on("subscribe", (subscriptions, client) => {
      const link = this.#sockets.get(client.conn)?.link;
      if (!link) return;
      for (const { topic: filter, qos } of subscriptions) {
        const parsed = (qos as number) === 128 ? undefined : parseTopic(filter);
        if (parsed) this.#options.handlers.subscribed(link, parsed.name);
      }
    });
  }

  current(role: Role, name: string): Link | undefined {
    return this.#current.get(clientId(role, name))?.link;
  }

  /** A live socket survives its certificate's end: look again. */
  sweep(): void {
    for (const { peer, link } of this.#current.values()) {
      const why = this.#options.handlers.refuse(peer);
      if (why !== undefined) link?.close(why);
    }
  }

  destroyAll(): void {
    for (const socket of this.#open) socket.destroy();
  }

  #forget(entry: Entry): void {
    const name = clientId(entry.peer.role, entry.peer.name);
    if (this.#current.get(name) === entry) this.#current.delete(name);
    const count = (this.#counts.get(name) ?? 1) - 1;
    if (count > 0) this.#counts.set(name, count);
    else this.#counts.delete(name);
    this.#open.delete(entry.socket);
    if (entry.link) this.#options.handlers.closed(entry.link);
  }
}

/** MQTT 3.1.1, table 3.1: 2 identifier rejected, 5 not authorized. */
function refusal(returnCode: 2 | 5, message: string): AuthenticateError {
  return Object.assign(new Error(message), { returnCode: returnCode as AuthenticateError["returnCode"] });
}
