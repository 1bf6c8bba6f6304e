// From a budget of false alarms to a threshold: how often honest lines, which the model never saw, reach a score.
import * as z from "zod";

/** Different program starts, by arguments and parent, that a device is taken to make in a day; equal ones are one alert. */
export const STARTS_PER_DAY = 500;
/** The part of the lines whose scores are kept one by one. */
const MOST = 0.2;

/** Logits of honest lines out of sample: how many there were, and the highest of them, highest first. */
export const Calibration = z.object({ lines: z.int().positive(), highest: z.array(z.number()).min(2) });
export type Calibration = z.infer<typeof Calibration>;

/** Keeps what thresholds are made from. */
export function calibrate(logits: readonly number[]): Calibration {
  const kept = Math.max(2, Math.ceil(logits.length * MOST));
  return {
    lines: logits.length,
    highest: logits
      .toSorted((a, b) => b - a)
      .slice(0, kept)
      .map((logit) => Number(logit.toFixed(4))),
  };
}

/**
 * The logit that a share of honest lines reaches. Below one line in all, the tail is taken to fall as fast as its highest twentieth does:
 * a budget can be smaller than what was measured.
 */
export function logitAt({ lines, highest }: Calibration, share: number): number {
  const place = share * lines;
  if (place >= 1) return highest[Math.min(highest.length - 1, Math.floor(place) - 1)]!;
  const last = Math.min(highest.length - 1, Math.max(1, Math.floor(lines / 20)));
  const slope = highest.slice(0, last).reduce((sum, logit) => sum + logit - highest[last]!, 0) / last;
  return highest[0]! - slope * Math.log(Math.max(place, 1e-6));
}

/** The logit from which an alert is worth it for so many alerts per device and day. */
export const thresholdFor = (calibration: Calibration, alertsPerDeviceDay: number): number =>
  logitAt(calibration, alertsPerDeviceDay / STARTS_PER_DAY);

/** A logit as people read it: 0 to 1, higher is worse. Flatter than the network's own, so that what is bad and what is worse differ. */
export const scoreOf = (logit: number): number => 1 / (1 + Math.exp(-logit / 4));
