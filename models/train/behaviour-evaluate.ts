// Measures a behaviour model on synthetic sites: attacks put into later minutes of their devices, beside a plain baseline on the same minutes.
import type { SensorEvent } from "@picket/protocol/event";
import { energyAt } from "../behaviour/calibration.ts";
import { FEATURES, featuresOf, rarityFeatures } from "../behaviour/features.ts";
import { type Learnt, learn, pastOf } from "../behaviour/learn.ts";
import { energyOf } from "../behaviour/network.ts";
import { scaled } from "../behaviour/scale.ts";
import { type Minute, MinuteWindow } from "../behaviour/window.ts";
import { attackMinute, scenarios } from "./behaviour-attacks.ts";
import { DAY, FIRST_MINUTE, type SyntheticDevice } from "./behaviour-device.ts";
import type { RecordedMinute } from "./behaviour-habits.ts";
import { syntheticSite } from "./behaviour-profiles.ts";
import { shareAbove, thresholdAt } from "./metrics.ts";
import { randomOf } from "./random.ts";

/** Shares of benign minutes at which attacks are counted. */
export const RATES = [1e-3, 3e-4, 1e-4] as const;
export const BUDGET = 0.1;
/** The model Picket ships may use a tenth of the budget; detector/engines/onnx/behaviour-models.ts. */
const START_BUDGET = BUDGET / 10;

export type Past = "own" | "stranger" | "start";
export type Row = {
  readonly past: Past;
  readonly scenario: string;
  readonly attacks: number;
  readonly model: readonly number[];
  readonly baseline: readonly number[];
  readonly atBudget: number;
};
export type Evaluation = {
  readonly rows: readonly Row[];
  readonly falseAlerts: Readonly<Record<Past, number>>;
  readonly deviceDays: Readonly<Record<Past, number>>;
};

export type EvaluationOptions = {
  readonly seeds: readonly number[];
  /** Devices that are learnt, and devices that come after. */
  readonly devices: number;
  readonly strangers: number;
  readonly trainDays: number;
  readonly testDays: number;
  readonly recorded: readonly RecordedMinute[];
  readonly start: Learnt;
};

/** A minute as training and measuring see it. */
export function summaryOf(device: string, at: number, events: readonly SensorEvent[]): Minute {
  const window = new MinuteWindow(device, FIRST_MINUTE + at);
  for (const event of events) window.add(event, "");
  return window.summary();
}

export function minutesOf(device: SyntheticDevice, from: number, to: number): Minute[] {
  return Array.from({ length: to - from }, (_, at) => summaryOf(device.name, from + at, device.minute(from + at)));
}

/** Energy by the network, and the baseline: the sum of the rarities, each in steps of what is usual. */
type Judge = (minute: Minute) => { readonly energy: number; readonly baseline: number };

function judgeBy(learnt: Learnt, device: string): Judge {
  const past = pastOf(learnt, device);
  const row = new Float32Array(FEATURES);
  return (minute) => {
    scaled(featuresOf(minute, past), past.scale, row);
    let baseline = 0;
    for (const feature of rarityFeatures) baseline += row[feature]!;
    return { energy: energyOf(learnt.network, past.regime, row), baseline };
  };
}

type Scores = { readonly energy: number[]; readonly baseline: number[]; alarms: number };
type Measured = { readonly benign: Scores; readonly attacks: Map<string, Scores> };
const scores = (): Scores => ({ energy: [], baseline: [], alarms: 0 });

export function evaluate(options: EvaluationOptions): Evaluation {
  const all: Record<Past, Measured> = { own: measured(), stranger: measured(), start: measured() };
  for (const seed of options.seeds) evaluateSite(seed, options, all);
  const rows = (Object.keys(all) as Past[]).flatMap((past) => Object.keys(scenarios).map((scenario) => rowOf(past, scenario, all[past])));
  const of = (what: (measured: Measured) => number) => ({ own: what(all.own), stranger: what(all.stranger), start: what(all.start) });
  const days = ({ benign }: Measured) => benign.energy.length / DAY;
  return { rows, deviceDays: of(days), falseAlerts: of((one) => one.benign.alarms / days(one)) };
}

const measured = (): Measured => ({ benign: scores(), attacks: new Map(Object.keys(scenarios).map((name) => [name, scores()])) });

function rowOf(past: Past, scenario: string, { benign, attacks }: Measured): Row {
  const of = attacks.get(scenario)!;
  const at = (which: "energy" | "baseline") => RATES.map((rate) => shareAbove(of[which], thresholdAt(benign[which], rate)));
  return {
    past,
    scenario,
    attacks: of.energy.length,
    model: at("energy"),
    baseline: at("baseline"),
    atBudget: of.alarms / of.energy.length,
  };
}

function evaluateSite(seed: number, options: EvaluationOptions, all: Record<Past, Measured>): void {
  const { devices, strangers, trainDays, testDays, recorded, start } = options;
  const site = syntheticSite(seed, devices + strangers, recorded);
  const from = trainDays * DAY;
  const learnt = learn(site.slice(0, devices).flatMap((device) => minutesOf(device, 0, from)));
  const random = randomOf(seed + 500);
  const thresholds: Record<Past, number> = {
    own: energyAt(learnt.calibration.own!.alerts, BUDGET),
    stranger: learnt.calibration.stranger ? energyAt(learnt.calibration.stranger.alerts, BUDGET) : Number.POSITIVE_INFINITY,
    start: energyAt(start.calibration.stranger!.alerts, START_BUDGET),
  };
  for (const [index, device] of site.entries()) {
    const pasts: readonly Past[] = index < devices ? ["own", "start"] : ["stranger"];
    const judges = pasts.map((past) => ({ past, judge: judgeBy(past === "start" ? start : learnt, past === "start" ? "" : device.name) }));
    const quiet: Record<Past, number> = { own: 0, stranger: 0, start: 0 };
    for (let at = from; at < from + testDays * DAY; at++) {
      const events = device.minute(at);
      for (const { past, judge } of judges) {
        const { energy, baseline } = judge(summaryOf(device.name, at, events));
        const { benign } = all[past];
        benign.energy.push(energy);
        benign.baseline.push(baseline);
        // Within ten minutes an alert grows.
        if (energy >= thresholds[past] && at >= quiet[past]) {
          benign.alarms++;
          quiet[past] = at + 10;
        }
      }
      if (at % 60 !== 7) continue;
      for (const scenario of Object.keys(scenarios)) {
        const minute = summaryOf(device.name, at, [...events, ...attackMinute(scenario, device.name, at, random)]);
        for (const { past, judge } of judges) {
          const { energy, baseline } = judge(minute);
          const of = all[past].attacks.get(scenario)!;
          of.energy.push(energy);
          of.baseline.push(baseline);
          if (energy >= thresholds[past]) of.alarms++;
        }
      }
    }
  }
}
