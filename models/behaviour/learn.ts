// Learns a site's model from its minutes. Whatever is measured or calibrated is measured on minutes whose part of the time was held back.
import { type Calibration, calibrate, type Scored } from "./calibration.ts";
import { FEATURES, featuresOf } from "./features.ts";
import { energyOf, fitNetwork, type Network, type Weights } from "./network.ts";
import { type Known, knownOf, MAX_DEVICE_KEYS, MAX_SITE_KEYS, type Table, Tally, without } from "./past.ts";
import { Moments, type Scale, scaled } from "./scale.ts";
import type { Minute } from "./window.ts";

/** A device with fewer minutes than this is compared with its site only. */
export const OWN_MINUTES = 240;
const FOLDS = 5;
/** Devices needed to say how a device looks that the site does not know yet. */
const STRANGER_DEVICES = 3;

/** Whose past a minute is compared with: the device's own and the site's, or (for a device not learnt yet) the site's only. */
export const regimes = ["own", "stranger"] as const;
export type Regime = (typeof regimes)[number];

export type DevicePast = { readonly table: Table; readonly scale: Scale };
export type Learnt = {
  readonly network: Network;
  readonly site: Table;
  readonly stranger: Scale;
  readonly devices: ReadonlyMap<string, DevicePast>;
  /** Without a calibration a regime is not judged. */
  readonly calibration: Readonly<Partial<Record<Regime, Calibration>>>;
};
export type LearnOptions = {
  readonly weights?: Weights;
  /** Which group a device belongs to: a stranger is compared with other groups only. Default: each is its own. */
  readonly groupOf?: (device: string) => string;
  /** Told what is being done. */
  readonly progress?: (what: string) => void;
};

/** Throws when there are too few minutes to hold some back. Same minutes in the same order, same model. */
export function learn(minutes: readonly Minute[], options: LearnOptions = {}): Learnt {
  if (minutes.length < FOLDS * 20) throw new Error(`${minutes.length} minutes are too few to learn from: at least ${FOLDS * 20}`);
  const { progress = () => {}, weights = { own: 10, stranger: 5000 }, groupOf = (device) => device } = options;
  progress("features of held-back minutes");
  const folds = foldsOf(minutes);
  const held = heldBack(minutes, folds, groupOf);
  progress("scales");
  const rows = scaleHeldBack(minutes, folds, held, groupOf);
  progress("network and thresholds");
  const own = owners(minutes);
  // Strangers too are judged by how far out the own minutes of known devices lie; shaped on strangers the network found less.
  const shaped = (only: (at: number) => boolean) => fitNetwork(pick(rows.own, only), weights);
  const energies = { own: new Float64Array(minutes.length), stranger: new Float64Array(minutes.length) };
  for (let fold = 0; fold < FOLDS; fold++) {
    const network = shaped((at) => folds[at] !== fold);
    for (const regime of regimes)
      for (let at = 0; at < minutes.length; at++)
        if (folds[at] === fold) energies[regime][at] = energyOf(network, regime, rowAt(rows[regime], at));
  }
  const scoredOf = (regime: Regime, only: (at: number) => boolean): Scored[] =>
    minutes.flatMap(({ device, minute }, at) => (only(at) ? [{ device, minute, energy: energies[regime][at]! }] : []));
  const calibration: Partial<Record<Regime, Calibration>> = {};
  if (own.size > 0) calibration.own = calibrate(scoredOf("own", (at) => own.has(minutes[at]!.device)));
  const groups = new Set(minutes.map(({ device }) => groupOf(device)));
  if (groups.size >= STRANGER_DEVICES) calibration.stranger = calibrate(scoredOf("stranger", () => true));
  return { ...final(minutes, held, own), network: shaped(() => true), calibration };
}

/** Parts of the time, not of the devices: what a whole site does at once is held back at once. */
function foldsOf(minutes: readonly Minute[]): Uint8Array {
  const times = Float64Array.from(minutes, ({ minute }) => minute).sort();
  const bounds = Array.from({ length: FOLDS - 1 }, (_, at) => times[Math.floor(((at + 1) * times.length) / FOLDS)]!);
  return Uint8Array.from(minutes, ({ minute }) => bounds.filter((bound) => minute >= bound).length);
}

function owners(minutes: readonly Minute[]): ReadonlySet<string> {
  const counts = new Map<string, number>();
  for (const { device } of minutes) counts.set(device, (counts.get(device) ?? 0) + 1);
  return new Set([...counts].flatMap(([device, count]) => (count >= OWN_MINUTES ? [device] : [])));
}

type Rows = Readonly<Record<Regime, Float32Array>>;
const rowAt = (rows: Float32Array, at: number) => rows.subarray(at * FEATURES, (at + 1) * FEATURES);

/** Features of each minute by a past that lacks its part of the time. */
function heldBack(minutes: readonly Minute[], folds: Uint8Array, groupOf: (device: string) => string): Rows {
  const rows = { own: new Float32Array(minutes.length * FEATURES), stranger: new Float32Array(minutes.length * FEATURES) };
  for (let fold = 0; fold < FOLDS; fold++) {
    const site = new Tally();
    const groups = new Map<string, Tally>();
    const devices = new Map<string, Tally>();
    for (const [at, minute] of minutes.entries()) {
      if (folds[at] === fold) continue;
      site.add(minute);
      tallyOf(devices, minute.device).add(minute);
      const group = groupOf(minute.device);
      if (group !== minute.device) tallyOf(groups, group).add(minute);
    }
    for (const [at, minute] of minutes.entries()) {
      if (folds[at] !== fold) continue;
      const device = tallyOf(devices, minute.device);
      const group = groups.get(groupOf(minute.device)) ?? device;
      featuresOf(minute, { own: device, site }, rowAt(rows.own, at));
      featuresOf(minute, { own: undefined, site: without(site, group) }, rowAt(rows.stranger, at));
    }
  }
  return rows;
}

function tallyOf(of: Map<string, Tally>, name: string): Tally {
  let tally = of.get(name);
  if (!tally) {
    tally = new Tally();
    of.set(name, tally);
  }
  return tally;
}

/** Rows in steps of what is usual in the other parts of the time; for a stranger, of other groups. */
function scaleHeldBack(minutes: readonly Minute[], folds: Uint8Array, raw: Rows, groupOf: (device: string) => string): Rows {
  const all = momentsOf(minutes, raw.stranger, () => true);
  const out = { own: new Float32Array(raw.own.length), stranger: new Float32Array(raw.stranger.length) };
  for (let fold = 0; fold < FOLDS; fold++) {
    const inFold = (at: number) => folds[at] === fold;
    const own = momentsOf(minutes, raw.own, (at) => !inFold(at));
    const site = siteScale(own.values());
    const scales = new Map([...own].map(([device, moments]) => [device, moments.scale(site)]));
    const strangers = new Map<string, Scale>();
    for (const [at, { device }] of minutes.entries()) {
      if (!inFold(at)) continue;
      scaled(rowAt(raw.own, at), scales.get(device) ?? site, rowAt(out.own, at));
      const group = groupOf(device);
      let stranger = strangers.get(group);
      if (!stranger) {
        const others = [...all].flatMap(([name, moments]) => (groupOf(name) === group ? [] : [moments]));
        stranger = siteScale(others.length > 0 ? others : all.values());
        strangers.set(group, stranger);
      }
      scaled(rowAt(raw.stranger, at), stranger, rowAt(out.stranger, at));
    }
  }
  return out;
}

function momentsOf(minutes: readonly Minute[], rows: Float32Array, only: (at: number) => boolean): Map<string, Moments> {
  const of = new Map<string, Moments>();
  for (const [at, { device }] of minutes.entries()) {
    if (!only(at)) continue;
    let moments = of.get(device);
    if (!moments) {
      moments = new Moments();
      of.set(device, moments);
    }
    moments.add(rowAt(rows, at));
  }
  return of;
}

function siteScale(of: Iterable<Moments>): Scale {
  const all = new Moments();
  for (const moments of of) all.join(moments);
  return all.scale();
}

function pick(rows: Float32Array, only: (at: number) => boolean): Float32Array {
  const picked = new Float32Array(rows.length);
  let count = 0;
  for (let at = 0; at * FEATURES < rows.length; at++) if (only(at)) picked.set(rowAt(rows, at), count++ * FEATURES);
  return picked.slice(0, count * FEATURES);
}

/** Tables of all minutes; scales from features of held-back minutes, or nothing would ever have been new. */
function final(minutes: readonly Minute[], held: Rows, own: ReadonlySet<string>): Pick<Learnt, "site" | "stranger" | "devices"> {
  const site = new Tally();
  const devices = new Map<string, Tally>();
  for (const minute of minutes) {
    site.add(minute);
    if (own.has(minute.device)) tallyOf(devices, minute.device).add(minute);
  }
  const moments = momentsOf(minutes, held.own, () => true);
  const usual = siteScale(moments.values());
  return {
    site: site.table(MAX_SITE_KEYS),
    stranger: siteScale(momentsOf(minutes, held.stranger, () => true).values()),
    devices: new Map(
      [...devices].map(([device, tally]) => [device, { table: tally.table(MAX_DEVICE_KEYS), scale: moments.get(device)!.scale(usual) }]),
    ),
  };
}

/** What a learnt model compares a device's minutes with. */
export function pastOf(
  learnt: Pick<Learnt, "site" | "stranger" | "devices">,
  device: string,
): {
  readonly regime: Regime;
  readonly own: Known | undefined;
  readonly site: Known;
  readonly scale: Scale;
} {
  const known = learnt.devices.get(device);
  const site = knownOf(learnt.site);
  return known
    ? { regime: "own", own: knownOf(known.table), site, scale: known.scale }
    : { regime: "stranger", own: undefined, site, scale: learnt.stranger };
}
