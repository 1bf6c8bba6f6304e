// Follows the broker's log for as long as it is let: connect, one session, and again after a pause.
import { setTimeout as sleep } from "node:timers/promises";
import type { SensorEvent } from "@picket/protocol/event";
import type { Want } from "@picket/protocol/feed";
import { clientId } from "@picket/protocol/names";
import type { ToldRules } from "@picket/protocol/rule-list";
import { topic } from "@picket/protocol/topics";
import { type FileScanner, Files } from "../files.ts";
import type { Iocs } from "../iocs.ts";
import type { Pipeline } from "../pipeline.ts";
import { backoffMs } from "./backoff.ts";
import { type Connection, type FeedAddress, type FeedCredentials, openConnection } from "./connection.ts";
import type { Progress, SessionPorts } from "./ports.ts";
import type { FeedSession } from "./session.ts";
import { FeedSessions } from "./sessions.ts";

export type FeedOptions = FeedAddress &
  FeedCredentials & {
    readonly site: string;
    /** CN of the detector's certificate. */
    readonly name: string;
    /** A new pipeline for each session: the broker is the only one that remembers. */
    readonly createPipeline: () => Pipeline;
    /** And what asks the other engines, which may remember what they saw of the session. */
    readonly createJudge: () => SessionPorts["judge"];
    /** The lists of indicators, which outlive a connection. */
    readonly iocs?: Iocs | undefined;
    /** Judges files, once it is ready; undefined when none are to be judged. Must not reject. */
    readonly scanner: () => Promise<FileScanner | undefined>;
    /** What the broker is to know of the rules, when a session begins. */
    readonly told?: () => readonly Omit<ToldRules, "session">[];
    /** A pack of rules that devices have. */
    readonly carried?: SessionPorts["carried"];
    readonly log: SessionPorts["log"];
    readonly random: () => number;
    readonly signal: AbortSignal;
  };

export type FeedStatus = {
  readonly connected: boolean;
  /** Why not; undefined before the first attempt has ended. */
  readonly why: string | undefined;
  /** Of the main cursor. */
  readonly committed: number;
  readonly progress: Progress;
  /** Stored by the broker since the detector started. */
  readonly totals: { readonly events: number; readonly refused: number; readonly alerts: number };
};

export type RunningFeed = {
  /** Resolves when the first session has the broker's state. */
  readonly ready: Promise<void>;
  /** Resolves when it has ended after `signal`. */
  readonly ended: Promise<void>;
  status(): FeedStatus;
  /** Begins a new session, from the broker's cursor: what the old one had not stored is judged again, by what holds now. */
  again(why: string): void;
};

/** Starts following. Never rejects: what goes wrong is logged and tried again after 50 ms doubling to 12.8 s, until `signal`. */
export function followFeed(options: FeedOptions): RunningFeed {
  const ready = Promise.withResolvers<void>();
  let session: FeedSession | undefined;
  let connection: Connection | undefined;
  let wanted: string | undefined;
  let why: string | undefined;
  const totals = { events: 0, refused: 0, alerts: 0 };
  const stored = (of: { events: number; refused: number; alerts: number }) => {
    totals.events += of.events;
    totals.refused += of.refused;
    totals.alerts += of.alerts;
  };
  const loop = async () => {
    let failures = 0;
    let cursor = 0;
    while (!options.signal.aborted) {
      const reason = await follow(options, stored, (begun) => {
        session = begun.session;
        connection = begun.connection;
        if (wanted !== undefined) connection.close(wanted);
        cursor = begun.session.committed;
        ready.resolve();
      });
      // A session that is accepted and then refused its first commit is a failure too, or it would begin again every 50 ms.
      if (session && session.committed > cursor) failures = 0;
      session = undefined;
      connection = undefined;
      why = reason;
      if (wanted !== undefined) {
        options.log("info", "beginning a new session", { reason: wanted });
        wanted = undefined;
        continue;
      }
      if (options.signal.aborted) return;
      const pauseMs = backoffMs(++failures, options.random);
      options.log("warn", "not connected to the broker", { reason, pauseMs });
      await sleep(pauseMs, undefined, { signal: options.signal }).catch(() => undefined);
    }
  };
  return {
    ready: ready.promise,
    again: (reason) => {
      if (!connection) return;
      wanted = reason;
      connection.close(reason);
    },
    ended: loop(),
    status: () => ({
      ...{ connected: session !== undefined, why: session ? undefined : why, committed: session?.committed ?? 0, totals },
      progress: session?.progress ?? idle,
    }),
  };
}

const idle: Progress = { batches: 0, oldestMs: undefined, stalledMs: 0 };

/** One connection and its session. Resolves with the reason of its end. */
async function follow(
  options: FeedOptions,
  stored: NonNullable<SessionPorts["stored"]>,
  onReady: (begun: { readonly session: FeedSession; readonly connection: Connection }) => void,
): Promise<string> {
  const early: Uint8Array[] = [];
  let take = (payload: Uint8Array): void => {
    early.push(payload);
  };
  try {
    const connection = await openConnection({
      ...options,
      clientId: clientId("detector", options.name),
      subscribe: topic("data", options.site),
      onMessage: (payload) => take(payload),
    });
    const cut = (error: unknown) => connection.close(error instanceof Error ? error.message : String(error));
    const iocs = options.iocs?.connect({
      want: (want) => void connection.publish(topic("want", options.site), JSON.stringify(want)).catch(cut),
      decided: () => sessions.resume(),
    });
    void connection.closed.then(() => iocs?.end());
    const sessions: FeedSessions = new FeedSessions({
      iocs,
      createParts: (decided) => {
        const pipeline = options.createPipeline();
        const excepted = (rule: string, seen: SensorEvent) => pipeline.exceptions.hidesNow(rule, "yara", seen);
        return { files: new Files({ site: options.site, decided, excepted }), pipeline, judge: options.createJudge() };
      },
      want: (want: Want) => void connection.publish(topic("want", options.site), JSON.stringify(want)).catch(cut),
      commit: (payload) => connection.publish(topic("commit", options.site), payload),
      stored,
      ...(options.carried ? { carried: options.carried } : {}),
      cut,
      log: options.log,
    });
    const session = sessions.main;
    take = (payload) => {
      const before = session.ready;
      try {
        sessions.receive(payload);
      } catch (error) {
        cut(error);
      }
      if (session.ready && !before) {
        options.log("info", "following the broker's log", { cursor: session.committed });
        onReady({ session, connection });
        for (const part of options.told?.() ?? []) {
          const told: Want = { ...part, session: session.id! };
          void connection.publish(topic("want", options.site), JSON.stringify(told)).catch(cut);
        }
      }
    };
    for (const payload of early) take(payload);
    sessions.hello();
    void options.scanner().then((scanner) => session.scan(scanner));
    return await connection.closed;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
