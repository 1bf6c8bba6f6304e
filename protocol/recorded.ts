// NDJSON as people write it by hand or `picket-agent run --stdout` prints it: what `picket replay` and `picket rules match` read.

import * as z from "zod";
import { SensorEvent } from "./event.ts";
import { tryParse } from "./try-parse.ts";

/** Longest line accepted, bytes. */
export const MAX_LINE_BYTES = 1 << 20;

export type Recorded = { readonly id: string; readonly event: SensorEvent };

/**
 * One recorded event. Only `type`, `timeMs`, `device` and the body are required; an `id` that is given is kept.
 * `line` counts from 1 and makes the sequence number where there is none. Throws with what is missing.
 */
export function parseRecorded(text: string, line: number): Recorded {
  const json: unknown = JSON.parse(text);
  if (typeof json !== "object" || json === null || Array.isArray(json)) throw new Error("not a JSON object");
  const given = json as Record<string, unknown>;
  const body = given.body;
  const filled = {
    v: 1,
    epoch: "recorded",
    seq: line - 1,
    ...given,
    body: typeof body === "object" && body !== null && "process" in body ? { ...body, process: fill(body.process) } : body,
  };
  const parsed = tryParse(SensorEvent, filled);
  if (!parsed.success) throw new Error(z.prettifyError(parsed.error).replaceAll("\n", " ").slice(0, 400));
  const event = parsed.data;
  return { id: typeof given.id === "string" ? given.id : `${event.device}:${event.epoch}:${event.seq}`, event };
}

const unknownProcess = { pid: 0, startTicks: 0, ppid: 0, uid: -1 };

function fill(process: unknown): unknown {
  return typeof process === "object" && process !== null ? { ...unknownProcess, ...process } : process;
}
