// A batch as a device makes it. Apart from reading, which brings the schema of every event with it: 5 MB that a device does not need.
import * as z from "zod";
import type { SensorEvent } from "./event.ts";
import { bootId, deviceId, epochId } from "./names.ts";

/** Most events in one batch. */
export const MAX_BATCH_EVENTS = 500;
/** Largest message on the wire; the broker cuts a connection that announces more. */
export const MAX_BATCH_BYTES = 1 << 20;

/** `runs` are [first seq, count]: a batch that overtook leaves gaps in the one that follows. */
export const BatchHeader = z.object({
  v: z.literal(1),
  device: deviceId,
  boot: bootId,
  epoch: epochId,
  runs: z
    .array(z.tuple([z.int().nonnegative(), z.int().positive()]))
    .min(1)
    .max(MAX_BATCH_EVENTS),
  /** Lowest seq of this epoch that the device still holds. Below it, what the broker lacks is lost. */
  oldest: z.int().nonnegative(),
});
export type BatchHeader = z.infer<typeof BatchHeader>;

/** A batch that can never be stored. It belongs in the dead-letter table, acknowledged, or it would come back for ever. */
export class BadBatch extends Error {
  override name = "BadBatch";
}

/**
 * Encodes events of one epoch, in the order given. Sequence numbers must rise.
 * Two things repeat so much that they are sent once: `timeMs` travels as the difference to the line before, and a process
 * already in this batch as its number, `p`, counted from 0 in order of appearance.
 */
export function encodeBatch(of: { boot: string; oldest: number; events: readonly SensorEvent[] }): Uint8Array<ArrayBuffer> {
  const first = of.events[0];
  if (!first) throw new BadBatch("a batch holds at least one event");
  const runs: [number, number][] = [];
  const processes = new Map<string, number>();
  let previousMs = 0;
  const lines: string[] = [];
  for (const event of of.events) {
    const run = runs.at(-1);
    if (run && event.seq === run[0] + run[1]) run[1]++;
    else runs.push([event.seq, 1]);
    lines.push(encodeLine(event, event.timeMs - previousMs, processes));
    previousMs = event.timeMs;
  }
  const header: BatchHeader = { v: 1, device: first.device, boot: of.boot, epoch: first.epoch, runs, oldest: of.oldest };
  const head = Buffer.from(`${JSON.stringify(header)}\n`);
  const body = Bun.zstdCompressSync(Buffer.from(lines.join("\n")), { level: 3 });
  return Buffer.concat([head, body]);
}

function encodeLine(event: SensorEvent, timeMs: number, processes: Map<string, number>): string {
  const { type, body, hits } = event;
  if (!("process" in body) || body.process === undefined) return JSON.stringify({ type, timeMs, body, hits });
  const key = JSON.stringify(body.process);
  const known = processes.get(key);
  if (known !== undefined) return JSON.stringify({ type, timeMs, p: known, body: { ...body, process: undefined }, hits });
  processes.set(key, processes.size);
  return JSON.stringify({ type, timeMs, body, hits });
}
