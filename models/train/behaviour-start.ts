// The behaviour model Picket ships: learnt from synthetic sites and recorded work, to be used for devices it has never seen.
import { networkOf } from "../behaviour/keys.ts";
import { type Learnt, learn } from "../behaviour/learn.ts";
import { Tally } from "../behaviour/past.ts";
import type { Minute } from "../behaviour/window.ts";
import { DAY } from "./behaviour-device.ts";
import { minutesOf } from "./behaviour-evaluate.ts";
import type { RecordedMinute } from "./behaviour-habits.ts";
import { syntheticSite } from "./behaviour-profiles.ts";

export type StartOptions = {
  readonly seed: number;
  readonly devices: number;
  readonly days: number;
  readonly recorded: readonly RecordedMinute[];
};

/** The same seed gives the same model. A device is held against devices of other profiles only: a real one is like none of them. */
export function learnStart({ seed, devices, days, recorded }: StartOptions): { learnt: Learnt; minutes: readonly Minute[] } {
  const site = syntheticSite(seed, devices, recorded);
  const profiles = new Map(site.map(({ name, profile }) => [name, profile]));
  const minutes = site.flatMap((device) => minutesOf(device, 0, days * DAY));
  const learnt = learn(minutes, {
    weights: { own: 10, stranger: 10 },
    groupOf: (device) => profiles.get(device)!,
  });
  return {
    learnt: { ...learnt, site: common(minutes, profiles), devices: new Map(), calibration: { stranger: learnt.calibration.stranger! } },
    minutes,
  };
}

/** What is only one profile's, and all addresses, are of these synthetic devices: no real one is measured by them. */
function common(minutes: readonly Minute[], profiles: ReadonlyMap<string, string>): Learnt["site"] {
  const of = new Map<string, Tally>();
  const all = new Tally();
  for (const minute of minutes) {
    const profile = profiles.get(minute.device)!;
    let tally = of.get(profile);
    if (!tally) {
      tally = new Tally();
      of.set(profile, tally);
    }
    tally.add(minute);
    all.add(minute);
  }
  const loopback = Bun.hash.xxHash32(`destination\0${networkOf("127.0.0.1")}`);
  return all.table(5000, (kind, hash) =>
    kind === "destination" ? hash === loopback : [...of.values()].filter((tally) => tally.count(kind, hash) > 0).length > 1,
  );
}
