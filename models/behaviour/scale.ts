// How much of each feature is usual for a device: mean and spread of its own minutes, drawn towards the site's while it has few.
import { FEATURES } from "./features.ts";

/** Usual value and spread of each feature. */
export type Scale = { readonly mean: Float32Array; readonly spread: Float32Array };

/** Minutes of the site that a device's own minutes are mixed with. */
const SITE_WEIGHT = 60;
/** No device is so regular that less than this, or half of the site's spread, counts as one step. */
const LEAST_SPREAD = 0.25;

/** Sums of features and of their squares. */
export class Moments {
  count = 0;
  readonly #sum = new Float64Array(FEATURES);
  readonly #squares = new Float64Array(FEATURES);

  add(row: Float32Array, sign: 1 | -1 = 1): void {
    this.count += sign;
    for (let at = 0; at < FEATURES; at++) {
      this.#sum[at]! += sign * row[at]!;
      this.#squares[at]! += sign * row[at]! * row[at]!;
    }
  }

  join(other: Moments, sign: 1 | -1 = 1): void {
    this.count += sign * other.count;
    for (let at = 0; at < FEATURES; at++) {
      this.#sum[at]! += sign * other.#sum[at]!;
      this.#squares[at]! += sign * other.#squares[at]!;
    }
  }

  /** Of a site, or (with the site's) of a device. */
  scale(site?: Scale): Scale {
    const mean = new Float32Array(FEATURES);
    const spread = new Float32Array(FEATURES);
    const weight = site ? SITE_WEIGHT : 0;
    const total = Math.max(1, this.count + weight);
    for (let at = 0; at < FEATURES; at++) {
      const siteMean = site?.mean[at] ?? 0;
      const siteSquare = site ? site.spread[at]! ** 2 + siteMean ** 2 : 0;
      mean[at] = (this.#sum[at]! + weight * siteMean) / total;
      const variance = Math.max(0, (this.#squares[at]! + weight * siteSquare) / total - mean[at]! ** 2);
      spread[at] = Math.max(LEAST_SPREAD, Math.sqrt(variance), (site?.spread[at] ?? 0) / 2);
    }
    return { mean, spread };
  }
}

/** A row in steps of spread from what is usual. */
export function scaled(row: Float32Array, { mean, spread }: Scale, into: Float32Array = new Float32Array(FEATURES)): Float32Array {
  for (let at = 0; at < FEATURES; at++) into[at] = (row[at]! - mean[at]!) / spread[at]!;
  return into;
}
