// Events that tell of loss, as JSON text: their counts can be added up, so that one may stand for many.
import type { EventDraft } from "@picket/protocol/event";

const START = '{"type":"sensor.lost"';
type Body = EventDraft<"sensor.lost">["body"];

/** Whether the text of an event, as the buffer keeps it, tells of loss. */
export const tellsLoss = (event: unknown): event is string => typeof event === "string" && event.startsWith(START);

/** The text of an event that tells how much was shed. */
export const shedLoss = (count: number, timeMs: number): string =>
  JSON.stringify({ type: "sensor.lost", timeMs, body: { collector: "agent", count, where: "shed" } satisfies Body });

/** How much of what the agent shed an event tells of. */
export function shedIn(event: unknown): number {
  const body = bodyOf(event);
  return body?.collector === "agent" && body.where === "shed" ? body.count : 0;
}

const HOUR_MS = 3600_000;

/** Which events tell of the same kind of loss in the same hour, for which the site keeps books; undefined for one that tells of none. */
export function kindOfLoss(event: unknown): string | undefined {
  const body = bodyOf(event);
  if (!body) return undefined;
  const { timeMs } = JSON.parse(event as string) as { timeMs: number };
  return [body.collector, body.where, body.epoch ?? "", body.atMost ?? false, Math.floor(timeMs / HOUR_MS)].join(" ");
}

/** The later of two events of the same kind of loss, telling of both. */
export function addLoss(earlier: string, later: string): string {
  const [from, to] = [bodyOf(earlier), bodyOf(later)];
  if (!from || !to) return later;
  const sum = (of: "plain" | "hit" | "result") => (from.by?.[of] ?? 0) + (to.by?.[of] ?? 0);
  const by = from.by || to.by ? { by: { plain: sum("plain"), hit: sum("hit"), result: sum("result") } } : {};
  return JSON.stringify({ ...JSON.parse(later), body: { ...to, ...by, count: Math.min(from.count + to.count, Number.MAX_SAFE_INTEGER) } });
}

/** Undefined for what is no such event: bytes on a disk can change. */
function bodyOf(event: unknown): Body | undefined {
  if (!tellsLoss(event)) return undefined;
  try {
    const { body } = JSON.parse(event) as { body?: Body };
    return body && Number.isSafeInteger(body.count) && body.count > 0 ? body : undefined;
  } catch {
    return undefined;
  }
}
