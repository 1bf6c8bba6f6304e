// When to send what, over one connection: Nagle's rule (RFC 896) for batches of events.
import { encodeBatch, MAX_BATCH_EVENTS } from "@picket/protocol/batch-encode";
import type { EventSource, Lease } from "../lease.ts";

/** Batches on their way at a time; two more may carry hits, which wait behind nobody. */
const WINDOW = 4;
const URGENT_WINDOW = WINDOW + 2;
const HOLD_MS = 250;
/** Of JSON, so that a batch fits in a message even if it could not be compressed at all. */
const BATCH_JSON_BYTES = 900 << 10;
/** A broker that answers pings but stores nothing is not a broker to wait for. */
const STUCK_MS = 60_000;

export type Sender = Disposable & {
  /** Something may have become available. Cheap when nothing has. */
  wake(): void;
  /** Resolves when nothing waits and nothing is on its way. */
  drained(): Promise<void>;
};

/**
 * Sends at once when nothing is on its way; otherwise waits for an acknowledgement, 250 ms or 500 events. What carries hits never waits.
 * Disposing releases everything that was not acknowledged.
 */
export function startSender(of: {
  readonly source: EventSource;
  /** Resolves when the broker has stored the batch. */
  readonly publish: (batch: Uint8Array) => Promise<void>;
  /** No acknowledgement for a minute, or a publish that failed: end the connection. */
  readonly onStuck: (why: string) => void;
}): Sender {
  const flying = new Map<Lease, ReturnType<typeof setTimeout>>();
  let hold: ReturnType<typeof setTimeout> | undefined;
  let heldLongEnough = false;
  let over = false;
  const idle = new Set<() => void>();

  const pump = () => {
    while (!over) {
      const waiting = of.source.waiting();
      if (waiting.events === 0) break;
      if (flying.size >= (waiting.urgent > 0 ? URGENT_WINDOW : WINDOW)) break;
      const now = flying.size === 0 || waiting.urgent > 0 || heldLongEnough || waiting.events >= MAX_BATCH_EVENTS;
      if (!now) {
        hold ??= setTimeout(holdIsOver, HOLD_MS);
        return;
      }
      const lease = of.source.lease({ events: MAX_BATCH_EVENTS, bytes: BATCH_JSON_BYTES });
      if (!lease) break;
      send(lease);
      stopHolding();
    }
    if (flying.size === 0 && of.source.waiting().events === 0) for (const resolve of idle.values()) resolve();
  };
  const holdIsOver = () => {
    hold = undefined;
    heldLongEnough = true;
    pump();
  };
  const stopHolding = () => {
    clearTimeout(hold);
    hold = undefined;
    heldLongEnough = false;
  };
  const send = (lease: Lease) => {
    flying.set(
      lease,
      setTimeout(() => of.onStuck(`no acknowledgement for ${STUCK_MS / 1000} s`), STUCK_MS),
    );
    of.publish(encodeBatch(lease))
      .then(
        () => land(lease) && of.source.ack(lease),
        (error: unknown) => {
          if (land(lease)) of.source.release(lease);
          if (!over) of.onStuck(error instanceof Error ? error.message : String(error));
        },
      )
      .finally(pump);
  };
  const land = (lease: Lease): boolean => {
    clearTimeout(flying.get(lease));
    return flying.delete(lease);
  };

  pump();
  return {
    wake: pump,
    drained: () =>
      new Promise((resolve) => {
        idle.add(resolve);
        pump();
      }),
    [Symbol.dispose]: () => {
      over = true;
      stopHolding();
      // Newest first: each release puts its events before what follows them.
      for (const lease of [...flying.keys()].reverse()) if (land(lease)) of.source.release(lease);
    },
  };
}
