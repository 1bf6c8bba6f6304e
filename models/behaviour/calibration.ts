// From energy to a score of 0 to 1 and to alerts per device and day, by what held-back benign minutes had.
import { MINUTE_MS } from "./window.ts";

/** Minutes within which unusual minutes are one alert: as long as an alert grows. */
export const BLOCK_MINUTES = 10;
export const MINUTES_PER_DAY = (24 * 3600_000) / MINUTE_MS;

/** Energies, falling, and what share or rate lies at or above each; between them straight lines of the logarithm, beyond the first an exponential tail. */
export type Curve = { readonly energies: readonly number[]; readonly rates: readonly number[]; readonly scale: number };
export type Calibration = {
  /** Held-back minutes. */
  readonly minutes: number;
  /** Share of minutes. */
  readonly share: Curve;
  /** Alerts per device and day, were this energy the threshold. */
  readonly alerts: Curve;
};

export type Scored = { readonly device: string; readonly minute: number; readonly energy: number };

/** How many of the largest make the tail. */
const TAIL = 40;
const LEAST_SCALE = 1;

export function calibrate(minutes: readonly Scored[]): Calibration {
  const blocks = new Map<string, number>();
  for (const { device, minute, energy } of minutes) {
    const block = `${device} ${Math.floor(minute / BLOCK_MINUTES)}`;
    blocks.set(block, Math.max(energy, blocks.get(block) ?? 0));
  }
  const days = minutes.length / MINUTES_PER_DAY;
  return {
    minutes: minutes.length,
    share: curveOf(
      minutes.map(({ energy }) => energy),
      minutes.length,
    ),
    alerts: curveOf([...blocks.values()], days),
  };
}

/** `rate` of the k-th largest is k for each of `per`. */
function curveOf(energies: readonly number[], per: number): Curve {
  const sorted = Float64Array.from(energies).sort().reverse();
  const at: number[] = [];
  const rates: number[] = [];
  for (let rank = 1; rank <= sorted.length; rank = nextRank(rank, sorted.length)) {
    const energy = round(sorted[rank - 1]!);
    if (at.length > 0 && energy >= at.at(-1)!) {
      rates[rates.length - 1] = round(rank / per);
      continue;
    }
    at.push(energy);
    rates.push(round(rank / per));
  }
  const tail = Math.min(TAIL, Math.floor(sorted.length / 4));
  const from = sorted[tail] ?? 0;
  const mean = tail === 0 ? 0 : sorted.subarray(0, tail).reduce((sum, energy) => sum + energy - from, 0) / tail;
  return { energies: at, rates, scale: round(Math.max(LEAST_SCALE, mean)) };
}

/** Every rank at first, then ever fewer, and the last. */
const nextRank = (rank: number, last: number): number =>
  rank === last ? last + 1 : Math.min(last, Math.max(rank + 1, Math.floor(rank * 1.25)));

const round = (value: number): number => Number(value.toPrecision(7));

/** Share or rate at or above this energy. */
export function rateAt({ energies, rates, scale }: Curve, energy: number): number {
  if (energies.length === 0) return 1;
  if (energy >= energies[0]!) return rates[0]! * Math.exp(-(energy - energies[0]!) / scale);
  let from = 0;
  let to = energies.length - 1;
  if (energy <= energies[to]!) return rates[to]!;
  while (to - from > 1) {
    const middle = (from + to) >>> 1;
    if (energies[middle]! >= energy) from = middle;
    else to = middle;
  }
  const share = (energies[from]! - energy) / (energies[from]! - energies[to]!);
  return Math.exp(Math.log(rates[from]!) + share * (Math.log(rates[to]!) - Math.log(rates[from]!)));
}

/** The least energy at which no more than `rate` is expected. */
export function energyAt({ energies, rates, scale }: Curve, rate: number): number {
  if (energies.length === 0) return Number.POSITIVE_INFINITY;
  if (rate <= rates[0]!) return energies[0]! + scale * Math.log(rates[0]! / rate);
  const at = rates.findIndex((there) => there > rate);
  // More than there ever is: everything.
  if (at < 0) return 0;
  const share = Math.log(rate / rates[at - 1]!) / Math.log(rates[at]! / rates[at - 1]!);
  return energies[at - 1]! + share * (energies[at]! - energies[at - 1]!);
}

/** 0 to 1, six decimals: the share of benign minutes that were less unusual. */
export const scoreOf = (calibration: Calibration, energy: number): number =>
  Math.round((1 - Math.min(1, rateAt(calibration.share, energy))) * 1e6) / 1e6;
