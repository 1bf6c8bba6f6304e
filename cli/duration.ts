const unitMs: Record<string, number> = { s: 1000, m: 60_000, h: 3600_000, d: 86_400_000 };

/** A span such as 90s, 30m, 24h or 7d, in milliseconds. Throws with what is wrong and what is right. */
export function parseDuration(text: string): number {
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text.trim()) ?? [];
  const ms = Number(count) * (unitMs[unit ?? ""] ?? Number.NaN);
  if (!Number.isSafeInteger(ms) || ms <= 0)
    throw new Error(`${JSON.stringify(text)} is not a duration: use a number and s, m, h or d, such as 30m or 24h`);
  return ms;
}

/** A duration as it would be typed, in the largest unit that says it exactly; up to two days in hours. */
export function durationText(ms: number): string {
  const unit = (["d", "h", "m"] as const).find((one) => ms % unitMs[one]! === 0 && (one !== "d" || ms > 2 * unitMs.d!)) ?? "s";
  return `${ms / unitMs[unit]!}${unit}`;
}

/** A point in time: a duration ago (24h), or a date (2026-03-01, 2026-03-01T03:14:00Z). Milliseconds. */
export function parseSince(text: string, nowMs: number): number {
  if (/^\d+[smhd]$/.test(text.trim())) return Math.max(0, nowMs - parseDuration(text));
  const ms = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms)) throw new Error(`${JSON.stringify(text)} is not a time: use how long ago (30m, 24h, 7d) or a date (2026-03-01)`);
  return ms;
}
