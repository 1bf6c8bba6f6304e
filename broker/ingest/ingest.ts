// Batches of events from devices: checked, stored, and only then acknowledged.
import { BadBatch, type BatchHeader, countLines, countOf, firstTime, inflateBatch, openBatch } from "@picket/protocol/batch";
import { spanOf } from "@picket/protocol/batch-times";
import type { Store } from "../store/database.ts";
import { addDeadLetter } from "../store/dead-letters.ts";
import type { StoredBatch } from "../store/ledger.ts";
import { appendBatch } from "../store/log.ts";
import { markReceived, type Run, TooScattered, unknownRuns } from "../store/received.ts";
import { isDiskError } from "./disk.ts";
import { trimBatch } from "./trim.ts";

export type IngestPorts = {
  readonly store: Store;
  readonly nowMs: () => number;
  readonly disk: {
    /** Undefined when an event may be stored; otherwise resolves when it may. Rejects when its device had better keep it. */
    room(): Promise<void> | undefined;
    failed(error: Error): void;
  };
  /** After a batch is on disk: the feed may send it, and the ledger enters it. */
  stored(batch: StoredBatch): void;
  /** Undefined when events of this time may be stored; otherwise resolves when those who read them are ready for them. */
  readonly pace?: (firstMs: number | undefined) => Promise<void> | undefined;
  /** A batch was read, whether it is new or not: what it costs its device. */
  taken(device: string, events: number): void;
  /** Called inside the transaction that keeps a dead letter, to raise the alert with it. Returns what to do once it is on disk. */
  deadLetter(device: string, reason: string, topic: string, payload: Uint8Array): () => void;
};

export type Ingest = {
  /** Resolves when the batch is on disk, or kept as a dead letter because it can never be stored. Rejects when the disk refuses: no PUBACK then. */
  events(device: string, payload: Uint8Array): Promise<void>;
  /** Keeps something unreadable, and says so in an alert. */
  reject(device: string, topic: string, payload: Uint8Array, reason: string): Promise<void>;
};

export function createIngest(ports: IngestPorts): Ingest {
  const { store, disk } = ports;
  /** Commits `work`, once the disk takes it. A commit that failed stored nothing, so it can be tried again. */
  const commit = async <T>(work: () => T): Promise<T> => {
    for (;;) {
      const room = disk.room();
      if (room) await room;
      try {
        return await store.commitSoon(work);
      } catch (error) {
        if (!isDiskError(error)) throw error;
        disk.failed(error);
      }
    }
  };
  const reject: Ingest["reject"] = async (device, topic, payload, reason) => {
    const after = await commit(() => {
      addDeadLetter(store, { device, receivedMs: ports.nowMs(), topic, reason, payload });
      return ports.deadLetter(device, reason, topic, payload);
    });
    after();
  };

  return {
    reject,
    events: async (device, payload) => {
      try {
        const batch = checkBatch(device, payload, ports.nowMs());
        ports.taken(device, countOf(batch.header));
        const pace = ports.pace?.(batch.firstMs);
        if (pace) await pace;
        const stored = await commit(() => storeBatch(ports, batch));
        if (stored) ports.stored(stored);
      } catch (error) {
        if (!(error instanceof BadBatch || error instanceof TooScattered)) throw error;
        return reject(device, "events", payload, error.message);
      }
    },
  };
}

type Checked = {
  readonly header: BatchHeader;
  readonly payload: Uint8Array;
  readonly firstMs: number | undefined;
  /** Of a batch from another hour. */
  readonly spanMs: readonly [number, number] | undefined;
  readonly mayTellLoss: boolean;
};

const HOUR_MS = 3600_000;

/** Everything that decides whether a batch can be stored, before the transaction. Throws `BadBatch`. */
function checkBatch(device: string, payload: Uint8Array, nowMs: number): Checked {
  const { header, body } = openBatch(payload);
  if (header.device !== device) throw new BadBatch(`the header names device "${header.device}", the certificate "${device}"`);
  const inflated = inflateBatch(body);
  const lines = countLines(inflated);
  if (lines !== countOf(header)) throw new BadBatch(`${countOf(header)} events announced, ${lines} lines found`);
  const firstMs = firstTime(inflated);
  // Now that it is inflated: the ledger would have to do it again.
  const isLate = firstMs !== undefined && Math.floor(firstMs / HOUR_MS) !== Math.floor(nowMs / HOUR_MS);
  return { header, payload, firstMs, spanMs: isLate ? spanOf(inflated) : undefined, mayTellLoss: inflated.includes('"sensor.lost"') };
}

/** Inside the transaction: what was stored before, even by this very group, is left out. Undefined when nothing was new. */
function storeBatch(ports: IngestPorts, { header, payload, firstMs, spanMs, mayTellLoss }: Checked): StoredBatch | undefined {
  const { device, epoch, boot, oldest } = header;
  const runs = unknownRuns(ports.store, device, epoch, header.runs);
  const nowMs = ports.nowMs();
  const first = runs[0];
  const last = runs.at(-1);
  if (!first || !last) return undefined;
  const whole = sum(runs) === countOf(header);
  const offset = appendBatch(ports.store, {
    device,
    epoch,
    firstSeq: first[0],
    nextSeq: last[0] + last[1],
    receivedMs: nowMs,
    count: sum(runs),
    // Inflated again rather than kept: batches that wait for their commit would hold megabytes each, and few are known in part.
    batch: whole ? payload : trimBatch(header, inflateBatch(openBatch(payload).body), runs),
  });
  markReceived(ports.store, { device, epoch, boot, runs, oldest, nowMs });
  const times = whole ? { firstMs, spanMs } : { firstMs: undefined };
  return { offset, device, epoch, boot, runs, receivedMs: nowMs, ...times, mayTellLoss, payload };
}

const sum = (runs: readonly Run[]) => runs.reduce((total, [, count]) => total + count, 0);
