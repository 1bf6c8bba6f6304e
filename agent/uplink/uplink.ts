// The agent's side of the wire: one connection after another, without end, and what is said over each.

import { type CommandResult, Pack } from "@picket/protocol/command";
import { clientId } from "@picket/protocol/names";
import { HEARTBEAT_S, type OnlineStatus } from "@picket/protocol/status";
import { parseTopic, topic, topics } from "@picket/protocol/topics";
import { tryParse } from "@picket/protocol/try-parse";
import type { EventSource } from "../lease.ts";
import { backoffMs } from "./backoff.ts";
import { type Connection, openConnection } from "./connection.ts";
import { type Credentials, dial, type Target } from "./dial.ts";
import { type Sender, startSender } from "./sender.ts";

/** Results of commands that the site has not acknowledged; kept by the response part. */
export type Outbox = { pending(): readonly CommandResult[]; delivered(result: CommandResult): void };

export type UplinkOptions = {
  readonly site: string;
  readonly device: string;
  readonly epoch: string;
  /** Asked at every connection: a renewed certificate is picked up there. */
  readonly credentials: () => Credentials;
  /** Ways to the same broker, best first; asked at every connection. */
  readonly targets: () => readonly Target[];
  readonly source: EventSource;
  readonly outbox: Outbox;
  readonly status: () => OnlineStatus;
  /** The site has this heartbeat. */
  readonly onHeartbeat: (status: OnlineStatus) => void;
  readonly onCommand: (jws: string) => void;
  readonly onPack: (pack: Pack) => void;
  /** A payload of `.../want`: the site asks for a file. Without it nothing is asked. Only valid until it returns; false when it is none. */
  readonly onSampleWant?: ((payload: Uint8Array) => boolean) | undefined;
  /** With the host of the target that answered. */
  readonly onConnected: (host: string) => void;
  /** Once per loss of connection and once per failed attempt, with the reason and how long until the next. */
  readonly onDisconnected: (why: string, nextMs: number) => void;
  /** Something from the broker that was not understood; it is dropped. */
  readonly onGarbage: (what: string) => void;
  readonly heartbeatMs?: number;
  /** As in connection.ts. */
  readonly askMs?: number;
  /** In [0, 1). */
  readonly random?: () => number;
  /** Resolves after `ms` milliseconds, or at once when aborted. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Milliseconds of a clock that never jumps. */
  readonly monotonicMs?: () => number;
};

export type Uplink = {
  /** Whether the broker is connected now. */
  reachable(): boolean;
  /** Events became available. */
  wake(): void;
  /** A result was added to the outbox. */
  resultsChanged(): void;
  /** Publishes a piece of a file; resolves when the site has it, rejects when there is no connection or it ends before. */
  sendSample(payload: Uint8Array): Promise<void>;
  /** Says now what would be said at the next heartbeat. */
  heartbeat(): void;
  /** From now on heartbeats come this often. */
  heartbeatEvery(ms: number): void;
  /** Connects anew, at once, for a new certificate; what is on its way is waited for (2 s at most). */
  reconnect(): void;
  /** Sends what waits for at most `drainMs`, says `stopped`, and ends. Resolves when all is over. */
  stop(drainMs: number): Promise<void>;
};

/** A connection that lived shorter does not reset the waiting time: a broker that takes us in to throw us out is not to be hammered. */
const STABLE_MS = 10_000;
const SWAP_MS = 2000;
const MAX_PACKET_BYTES = Math.max(topics.cmd.maxBytes, topics.pack.maxBytes) + 1024;

/** Starts connecting and never gives up until `stop`. Callbacks must not throw. */
export function startUplink(options: UplinkOptions): Uplink {
  const { random = Math.random, sleep = interruptibleSleep, monotonicMs = () => performance.now() } = options;
  const stopping = new AbortController();
  let link: Link | undefined;
  /** Counts calls of `reconnect`: one that comes while a connection is being made must not be forgotten. */
  let wanted = 0;
  let { heartbeatMs = HEARTBEAT_S * 1000 } = options;

  const run = async () => {
    for (let failures = 0; !stopping.signal.aborted; ) {
      let since: number | undefined;
      let why: string;
      try {
        const asked = wanted;
        link = await openLink({ ...options, heartbeatMs }, stopping.signal);
        since = monotonicMs();
        options.onConnected(link.host);
        if (asked !== wanted) void link.swap();
        why = await link.connection.closed;
      } catch (error) {
        why = error instanceof Error ? error.message : String(error);
      }
      const swapped = link?.swapped === true;
      link?.[Symbol.dispose]();
      link = undefined;
      if (stopping.signal.aborted) break;
      failures = since !== undefined && monotonicMs() - since >= STABLE_MS ? 1 : failures + 1;
      const nextMs = swapped ? 0 : backoffMs(failures, random);
      options.onDisconnected(why, nextMs);
      await sleep(nextMs, stopping.signal);
    }
  };
  const running = run();

  return {
    reachable: () => link !== undefined,
    wake: () => link?.sender.wake(),
    resultsChanged: () => link?.sendResults(),
    heartbeat: () => link?.heartbeat(),
    heartbeatEvery: (ms) => {
      heartbeatMs = ms;
      link?.heartbeatEvery(ms);
    },
    sendSample: async (payload) => {
      if (!link) throw new Error("not connected");
      await link.sendSample(payload);
    },
    reconnect: () => {
      wanted++;
      void link?.swap();
    },
    stop: async (drainMs) => {
      stopping.abort();
      await link?.finish(drainMs);
      await running;
    },
  };
}

type Link = Disposable & {
  readonly host: string;
  readonly connection: Connection;
  readonly sender: Sender;
  readonly swapped: boolean;
  sendResults(): void;
  heartbeat(): void;
  heartbeatEvery(ms: number): void;
  sendSample(payload: Uint8Array): Promise<void>;
  swap(): Promise<void>;
  finish(drainMs: number): Promise<void>;
};

async function openLink(options: UplinkOptions & { readonly heartbeatMs: number }, signal: AbortSignal): Promise<Link> {
  const { site, device, epoch } = options;
  const own = (name: "events" | "status" | "result" | "sample" | "cmd" | "pack" | "sampleWant") => topic(name, site, device);
  const gone = (state: "offline" | "stopped") => JSON.stringify({ v: 1, state, epoch });
  const { socket, host } = await dial(options.targets(), options.credentials(), signal);
  const connection = await openConnection(socket, {
    clientId: clientId("device", device),
    will: { topic: own("status"), payload: gone("offline") },
    subscribe: [own("cmd"), own("pack")],
    // A site that knows nothing of samples refuses it.
    subscribeIfMay: options.onSampleWant ? [own("sampleWant")] : [],
    maxPacketBytes: MAX_PACKET_BYTES,
    askMs: options.askMs,
    onMessage: (name, payload) => receive(options, name, payload),
    signal,
  });
  const heartbeat = () => {
    const status = options.status();
    connection.publish(own("status"), JSON.stringify(status)).then(
      () => options.onHeartbeat(status),
      () => {},
    );
  };
  const sending = new Set<CommandResult>();
  const sendResults = () => {
    for (const result of options.outbox.pending()) {
      if (sending.has(result)) continue;
      sending.add(result);
      connection
        .publish(own("result"), JSON.stringify(result))
        .then(
          () => options.outbox.delivered(result),
          () => {},
        )
        .finally(() => sending.delete(result));
    }
  };
  heartbeat();
  sendResults();
  options.source.connected();
  const sender = startSender({
    source: options.source,
    publish: (batch) => connection.publish(own("events"), batch),
    onStuck: connection.cut,
  });
  let timer = setInterval(heartbeat, options.heartbeatMs);
  let swapped = false;
  // The client never settles what was in flight when its connection broke.
  const flying = new Set<(error: Error) => void>();
  void connection.closed.then((why) => {
    for (const reject of flying) reject(new Error(why));
  });
  const drain = (ms: number) => Promise.race([sender.drained(), connection.closed, Bun.sleep(ms)]);
  return {
    host,
    connection,
    sender,
    get swapped() {
      return swapped;
    },
    sendResults,
    heartbeat,
    heartbeatEvery: (ms) => {
      clearInterval(timer);
      timer = setInterval(heartbeat, ms);
    },
    sendSample: (payload) =>
      new Promise((resolve, reject) => {
        flying.add(reject);
        connection
          .publish(own("sample"), payload)
          .then(resolve, reject)
          .finally(() => flying.delete(reject));
      }),
    swap: async () => {
      swapped = true;
      await drain(SWAP_MS);
      sender[Symbol.dispose]();
      await connection.end();
    },
    finish: async (drainMs) => {
      await drain(drainMs);
      await Promise.race([connection.publish(own("status"), gone("stopped")).catch(() => {}), Bun.sleep(1000)]);
      await connection.end();
    },
    [Symbol.dispose]: () => {
      clearInterval(timer);
      sender[Symbol.dispose]();
    },
  };
}

/** Nothing the broker sends can throw: it is bounded, parsed, and handed on or dropped. */
function receive(options: UplinkOptions, name: string, payload: Buffer): void {
  const parsed = parseTopic(name);
  const ours = parsed?.site === options.site && parsed.device === options.device;
  if (!ours || (parsed.name !== "cmd" && parsed.name !== "pack" && parsed.name !== "sampleWant"))
    options.onGarbage("a message on a topic that is not ours");
  else if (payload.length > topics[parsed.name].maxBytes) options.onGarbage(`${payload.length} bytes on ${parsed.name}`);
  else if (parsed.name === "cmd") options.onCommand(payload.toString("utf8"));
  else if (parsed.name === "sampleWant") {
    if (!options.onSampleWant?.(payload)) options.onGarbage("a want that cannot be read");
  } else {
    const pack = tryParse(Pack, parseJson(payload));
    if (pack.success) options.onPack(pack.data);
    else options.onGarbage("a pack of unknown kind or shape");
  }
}

function parseJson(payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString("utf8"));
  } catch {
    return undefined;
  }
}

function interruptibleSleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
    if (signal.aborted) done();
  });
}
