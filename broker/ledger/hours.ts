// When events were caused, by the site's clock, as far as the device's clock can be believed.
import { type BatchHeader, inflateBatch, openBatch } from "@picket/protocol/batch";
import { timesOf } from "@picket/protocol/batch-times";

export const HOUR_MS = 3600_000;
export const hourOf = (ms: number) => Math.floor(ms / HOUR_MS);

/** What is known of a device's clock. */
export type Clock = {
  readonly boot: string;
  /** When the boot began, by the site's clock. */
  readonly bootedMs: number;
  /** By how much the device's clock is ahead of the site's. */
  readonly offsetMs: number;
  /** When the site first heard of the device: it caused nothing before. */
  readonly firstMs: number;
};

/** Clocks closer than this agree: the way of a heartbeat takes time too. */
const AGREE_MS = 5000;
/** Days a batch without any known clock may be old. */
const OLDEST_MS = 30 * 24 * HOUR_MS;

/** The site's time of an event: never after it was received, nor before its boot, or the device itself, began. */
export function siteTime(timeMs: number, boot: string, clock: Clock | undefined, receivedMs: number): number {
  const same = clock?.boot === boot;
  const offset = same && Math.abs(clock.offsetMs) > AGREE_MS ? clock.offsetMs : 0;
  const earliest = Math.min(same ? clock.bootedMs : (clock?.firstMs ?? receivedMs - OLDEST_MS), receivedMs);
  return Math.min(Math.max(timeMs - offset, earliest), receivedMs);
}

/** A loss a batch tells of: the agent counted it before it had a number. */
export type ToldLoss = { readonly hour: number; readonly where: "kernel" | "shed"; readonly count: number };
const LOST = '"sensor.lost"';
export type Placed = { readonly hours: ReadonlyMap<number, number>; readonly losses: readonly ToldLoss[] };

/** The one hour in which all between two times were caused; undefined when it was more than one. */
export function hourBetween(
  [fromMs, toMs]: readonly [number, number],
  ...[boot, clock, receivedMs]: [boot: string, clock: Clock | undefined, receivedMs: number]
): number | undefined {
  // The site's time rises with the device's.
  const hour = hourOf(siteTime(fromMs, boot, clock, receivedMs));
  return hour === hourOf(siteTime(toMs, boot, clock, receivedMs)) ? hour : undefined;
}

/** In which hours the events of `runs` were caused, one by one. For batches of more than one hour, and those that tell of loss. */
export function placeEach(
  payload: Uint8Array,
  runs: readonly (readonly [number, number])[],
  clock: Clock | undefined,
  receivedMs: number,
): Placed {
  const { header, body } = openBatch(payload);
  const inflated = inflateBatch(body);
  const lines = inflated.includes(LOST) ? inflated.toString("utf8").split("\n") : [];
  const wanted = wantedIn(header, runs);
  const hours = new Map<number, number>();
  const losses: ToldLoss[] = [];
  for (const [index, timeMs] of timesOf(inflated).entries()) {
    if (!wanted[index]) continue;
    const hour = hourOf(siteTime(timeMs, header.boot, clock, receivedMs));
    hours.set(hour, (hours.get(hour) ?? 0) + 1);
    const line = lines[index];
    const loss = line?.includes(LOST) ? lossIn(line) : undefined;
    if (loss) losses.push({ hour, ...loss });
  }
  return { hours, losses };
}

/** For each line of the batch, whether it is of one of the runs. Both rise. */
function wantedIn(header: BatchHeader, runs: readonly (readonly [number, number])[]): boolean[] {
  const wanted: boolean[] = [];
  let at = 0;
  for (const [first, count] of header.runs) {
    for (let seq = first; seq < first + count; seq++) {
      while (at < runs.length && runs[at]![0] + runs[at]![1] <= seq) at++;
      wanted.push(at < runs.length && runs[at]![0] <= seq);
    }
  }
  return wanted;
}

/** These lose knowledge, not events: no heartbeat counts them. */
const notEvents = new Set(["process-tree", "exec-arguments", "file-names"]);

function lossIn(line: string): { where: "kernel" | "shed"; count: number } | undefined {
  try {
    const { type, body } = JSON.parse(line) as { type?: unknown; body?: { collector?: string; where?: string; count?: number } };
    if (type !== "sensor.lost" || !body || notEvents.has(String(body.collector))) return undefined;
    const { where, count } = body;
    if ((where !== "kernel" && where !== "shed") || !Number.isSafeInteger(count) || count! <= 0) return undefined;
    return { where, count: count! };
  } catch {
    return undefined;
  }
}

/** `total` spread evenly over the hours of an interval, as whole numbers that add up to it. Later hours get what is left over. */
export function spread(total: number, fromMs: number, toMs: number): Map<number, number> {
  const last = hourOf(toMs);
  const first = Math.min(hourOf(fromMs), last);
  const span = Math.max(toMs - fromMs, 1);
  const spread = new Map<number, number>();
  let given = 0;
  for (let hour = first; hour < last && given < total; hour++) {
    const until = Math.floor((total * ((hour + 1) * HOUR_MS - fromMs)) / span);
    const part = Math.min(until, total) - given;
    if (part > 0) spread.set(hour, part);
    given += Math.max(part, 0);
  }
  if (total > given) spread.set(last, total - given);
  return spread;
}
