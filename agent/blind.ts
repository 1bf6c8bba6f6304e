// For how long nobody watched this device before the agent did again: what the kernel had ready for a run that is over went with it, and cannot be counted.
export type Before = { readonly boot: string; readonly ended: "stopped" | "cut off"; readonly seenMs: number };

/**
 * In words, or undefined when nobody can say. `before`: the run before this one; `seenMs` is when it had nothing more to read, milliseconds since boot, 0 when it did not say.
 * `now`: when the sensor of this run was there, by both clocks.
 */
export function blindness(
  before: Before,
  now: { readonly boot: string; readonly nowMs: number; readonly wallMs: number },
): string | undefined {
  const isSameBoot = before.boot === now.boot;
  if (isSameBoot && before.seenMs === 0) return undefined;
  const spanMs = now.nowMs - (isSameBoot ? before.seenMs : 0);
  if (spanMs <= 0) return undefined;
  const span = `${(spanMs / 1000).toFixed(1)} s, ${new Date(now.wallMs - spanMs).toISOString()} to ${new Date(now.wallMs).toISOString()}`;
  if (!isSameBoot) return `nothing was seen for ${span}: the machine started, and the agent after it`;
  return before.ended === "stopped"
    ? `nothing was seen for ${span}: the agent was stopped and started again`
    : `nothing was seen for ${span}: the agent was killed, and what the kernel had ready for it is lost and not counted`;
}
