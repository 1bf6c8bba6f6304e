// Batches of events from devices: checked, stored, and only then acknowledged.
import { BadBatch, type BatchHeader, countLines, countOf, inflateBatch, openBatch } from "@picket/protocol/batch";
import type { Store } from "../store/database.ts";
import { addDeadLetter, appendBatch } from "../store/log.ts";
import { markReceived, type Run, TooScattered, unknownRuns } from "../store/received.ts";
import { trimBatch } from "./trim.ts";

export type IngestPorts = {
  readonly store: Store;
  readonly nowMs: () => number;
  /** After batches are on disk: the feed may send them. */
  stored(): void;
  /** Called inside the transaction that keeps a dead letter, to raise the alert with it. Returns what to do once it is on disk. */
  deadLetter(device: string, reason: string): () => void;
};

export type Ingest = {
  /** Resolves when the batch is on disk, or kept as a dead letter because it can never be stored. Rejects when the disk refuses: no PUBACK then. */
  events(device: string, payload: Uint8Array): Promise<void>;
  /** Keeps something unreadable, and says so in an alert. */
  reject(device: string, topic: string, payload: Uint8Array, reason: string): Promise<void>;
};

export function createIngest(ports: IngestPorts): Ingest {
  const reject: Ingest["reject"] = async (device, topic, payload, reason) => {
    const after = await ports.store.commitSoon(() => {
      addDeadLetter(ports.store, { device, receivedMs: ports.nowMs(), topic, reason, payload });
      return ports.deadLetter(device, reason);
    });
    after();
  };

  return {
    reject,
    events: async (device, payload) => {
      let batch: Checked;
      try {
        batch = checkBatch(device, payload);
      } catch (error) {
        if (!(error instanceof BadBatch)) throw error;
        return reject(device, "events", payload, error.message);
      }
      try {
        if (await ports.store.commitSoon(() => storeBatch(ports, batch))) ports.stored();
      } catch (error) {
        if (!(error instanceof TooScattered)) throw error;
        return reject(device, "events", payload, error.message);
      }
    },
  };
}

type Checked = { readonly header: BatchHeader; readonly payload: Uint8Array; readonly inflated: Buffer };

/** Everything that decides whether a batch can be stored, before the transaction. Throws `BadBatch`. */
function checkBatch(device: string, payload: Uint8Array): Checked {
  const { header, body } = openBatch(payload);
  if (header.device !== device) throw new BadBatch(`the header names device "${header.device}", the certificate "${device}"`);
  const inflated = inflateBatch(body);
  const lines = countLines(inflated);
  if (lines !== countOf(header)) throw new BadBatch(`${countOf(header)} events announced, ${lines} lines found`);
  return { header, payload, inflated };
}

/** Inside the transaction: what was stored before, even by this very group, is left out. True when something was added. */
function storeBatch(ports: IngestPorts, { header, payload, inflated }: Checked): boolean {
  const { device, epoch, boot, oldest } = header;
  const runs = unknownRuns(ports.store, device, epoch, header.runs);
  const nowMs = ports.nowMs();
  const first = runs[0];
  const last = runs.at(-1);
  if (!first || !last) return false;
  const whole = sum(runs) === countOf(header);
  appendBatch(ports.store, {
    device,
    epoch,
    firstSeq: first[0],
    nextSeq: last[0] + last[1],
    receivedMs: nowMs,
    count: sum(runs),
    batch: whole ? payload : trimBatch(header, inflated, runs),
  });
  markReceived(ports.store, { device, epoch, boot, runs, oldest, nowMs });
  return true;
}

const sum = (runs: readonly Run[]) => runs.reduce((total, [, count]) => total + count, 0);
