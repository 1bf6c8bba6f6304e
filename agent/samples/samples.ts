// Sends files that this device reported, when its site asks for them by hash: slowly, after events, and never anything else.

import { encodeSample, MAX_SAMPLE_BYTES, type SampleHeader, SampleWant } from "@picket/protocol/samples";
import { tryParse } from "@picket/protocol/try-parse";
import type { Pace } from "../pace.ts";

const CHUNK_BYTES = 64 << 10;
/** Files asked for and not sent yet. */
const MAX_WAITING = 64;
/** Events go first: as long as more than a message of them waits. But a device that always has too many still sends a chunk now and then. */
const EVENTS_MAX = 500;
const EVENTS_FIRST_MS = 2000;
const LOOK_MS = 50;

export type SampleFile = Disposable & { readonly size: number; read(offset: number, max: number): Promise<Buffer | undefined> };

export type SamplePorts = {
  /** Whether this device reported the hash. */
  readonly reported: (sha256: string) => boolean;
  /** The file, proved to have the hash; undefined when it is gone or changed. */
  readonly open: (sha256: string) => Promise<SampleFile | undefined>;
  /** Resolves when the site has it; rejects when the connection ends before. */
  readonly publish: (payload: Uint8Array) => Promise<void>;
  /** Events that wait to be sent. */
  readonly eventsWaiting: () => number;
  /** Bytes that are sent. */
  readonly pace: Pace;
  readonly sleep?: (ms: number) => Promise<void>;
};

export type Samples = {
  /** A payload of `.../want`. False when it is none. Never throws. */
  wanted(payload: Uint8Array): boolean;
  /** The connection is over: the site asks again over the next one. */
  forget(): void;
};

export function createSamples(ports: SamplePorts): Samples {
  const { sleep = Bun.sleep } = ports;
  const waiting = new Map<string, SampleWant>();
  /** Grows with every connection: what was asked over an earlier one is not answered over the next. */
  let connection = 0;
  let running = false;

  const send = async (header: SampleHeader, bytes?: Uint8Array) => ports.publish(encodeSample(header, bytes));
  const afterEvents = async () => {
    for (let waited = 0; ports.eventsWaiting() > EVENTS_MAX && waited < EVENTS_FIRST_MS; waited += LOOK_MS) await sleep(LOOK_MS);
  };
  const answer = async ({ sha256, offset, maxBytes }: SampleWant, current: () => boolean) => {
    if (!ports.reported(sha256)) return send({ kind: "none", sha256, why: "unknown" });
    using file = await ports.open(sha256);
    if (!current()) return;
    if (!file || offset >= file.size) return send({ kind: "none", sha256, why: "gone" });
    const { size } = file;
    if (size > Math.min(maxBytes, MAX_SAMPLE_BYTES)) return send({ kind: "none", sha256, why: "too-big" });
    for (let at = offset; at < size && current(); ) {
      await afterEvents();
      await ports.pace(Math.min(CHUNK_BYTES, size - at));
      const bytes = await file.read(at, CHUNK_BYTES);
      if (!current()) return;
      if (!bytes) return send({ kind: "none", sha256, why: "gone" });
      await send({ kind: "chunk", sha256, offset: at, size }, bytes);
      at += bytes.length;
    }
  };
  const run = async () => {
    if (running) return;
    running = true;
    for (let [want] = waiting.values(); want; [want] = waiting.values()) {
      const { sha256 } = want;
      const of = connection;
      const asked = want;
      await answer(asked, () => of === connection && waiting.get(sha256) === asked).catch(() => {});
      if (waiting.get(sha256) === asked) waiting.delete(sha256);
    }
    running = false;
  };
  return {
    wanted: (payload) => {
      const want = tryParse(SampleWant, parse(payload));
      if (!want.success) return false;
      const { sha256 } = want.data;
      if (!waiting.has(sha256) && waiting.size >= MAX_WAITING) return true;
      waiting.set(sha256, want.data);
      void run();
      return true;
    },
    forget: () => {
      connection++;
      waiting.clear();
    },
  };
}

function parse(payload: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(payload).toString("utf8"));
  } catch {
    return undefined;
  }
}
