// The model card of the behaviour model: written by training, never by hand.
import { FEATURES } from "../behaviour/features.ts";
import type { Trained } from "../behaviour/files.ts";
import { BUDGET, type Evaluation, type EvaluationOptions, type Past, RATES, type Row } from "./behaviour-evaluate.ts";

const percent = (share: number) => share.toFixed(3);

/** Rows, and rates, in which the baseline finds more; `errors`: by more than so many standard errors of the share. */
export const worseRows = (rows: readonly Row[], errors = 0): string[] =>
  rows.flatMap(({ past, scenario, attacks, model, baseline }) =>
    RATES.flatMap((rate, at) => {
      const [ours, theirs] = [model[at]!, baseline[at]!];
      const error = Math.sqrt((theirs * (1 - theirs)) / attacks);
      return theirs - ours > errors * error ? [`${past}, ${scenario}, at ${rate}: ${percent(ours)} < ${percent(theirs)}`] : [];
    }),
  );

/** More than this is no accident of which attacks were drawn. Standard errors. */
export const ERRORS = 2;

const heads: Record<Past, string> = {
  own: "Learnt on site, devices with a past of their own",
  stranger: "Learnt on site, devices that came after training (compared with the site's past only)",
  start: "The model Picket ships, on sites it has never seen",
};

export type CardFacts = {
  readonly seed: number;
  readonly trained: Trained;
  readonly recorded: number;
  readonly of: Pick<EvaluationOptions, "seeds" | "devices" | "strangers" | "trainDays" | "testDays">;
  readonly evaluation: Evaluation;
};

export function behaviourCard({ seed, trained, recorded, of, evaluation }: CardFacts): string {
  const { rows, falseAlerts, deviceDays } = evaluation;
  const worse = worseRows(rows, ERRORS);
  const within = worseRows(rows).filter((row) => !worse.includes(row));
  const sections = (Object.keys(heads) as Past[]).map((past) => {
    const budget = past === "start" ? BUDGET / 10 : BUDGET;
    return `### ${heads[past]}

${deviceDays[past].toFixed(0)} device-days without attacks: ${falseAlerts[past].toFixed(3)} alerts a device and day, where ${budget} were asked for.

| attack in one minute | minutes | ${RATES.map((rate) => `at ${rate}: model | baseline`).join(" | ")} | at its own threshold |
|---|---|${RATES.map(() => "---|---|").join("")}---|
${rows
  .filter((row) => row.past === past)
  .map(
    ({ scenario, attacks, model, baseline, atBudget }) =>
      `| ${scenario} | ${attacks} | ${RATES.map((_, at) => `${percent(model[at]!)} | ${percent(baseline[at]!)}`).join(" | ")} | ${percent(atBudget)} |`,
  )
  .join("\n")}
`;
  });
  return `# Model card: behaviour

Written by \`bun run train:behaviour --seed ${seed}\`; the same seed writes the same files. How to use it: docs/models.md.

**What it says.** How unusual one minute of one device is: ${FEATURES} numbers (counts of events and of different things; how rare the programs, pairs of parent and program, networks,
ports and places written to are in the device's and the site's past), each in steps of what is usual for the device, through a network that adds up how far out in its tail each
number and some of their sums lie. It does not know what an attack is. Rarity comes from tables that are frozen at training: the same log and the same files give the same alerts.

**What it learnt from.** The model Picket ships: ${trained.minutes.toLocaleString("en")} minutes of ${trained.devices} synthetic devices (gateways, kiosks, sensors, small servers; models/train/behaviour-profiles.ts),
among them ${recorded} minutes of real work that we recorded (package queries, git, tests, archives, searches; models/train/behaviour-recorded.ndjson). All of it our own, Apache-2.0. A site then learns from its own
log (\`picket model train behaviour\`).

**How it is measured.** Sites made with other seeds (${of.seeds.join(", ")}): ${of.devices} devices learnt for ${of.trainDays} days, then ${of.testDays} days with attacks put into one minute an hour; ${of.strangers} more devices that were not learnt. Attacks are
sequences of events (models/train/behaviour-attacks.ts) added to what the device does anyway. The share found is given where the same share of the benign minutes that follow would be
called unusual, for the model and for the baseline (sum of the rarities in steps of what is usual); the last column is the share found at the threshold that the model itself set in training for
${BUDGET} alerts a device and day (a tenth of it for the model Picket ships), which is what a site gets.

**Against the baseline.** ${worse.length === 0 ? "In no row does the baseline find more by more than the sampling error (two standard errors)." : `The baseline finds more in: ${worse.join("; ")}.`}
${within.length === 0 ? "" : `Within that error it finds more in: ${within.join("; ")}.`}

${sections.join("\n")}
## Limits

- Devices and attacks here are synthetic: figures compare models, they do not promise rates on a real site. Habits are more regular here than where people work.
- It sees a minute at a time. Somebody who does one usual thing a minute is not seen; nor is what happens in a minute that never ends because the device sends nothing more.
- Who is inside while the site learns becomes usual. Minutes with alerts are left out, others are not.
- Hashed names in the tables hide them from a glance only: whoever guesses a name can look it up.
- The model Picket ships knows no device of a site. It alerts only where a device differs from its own minutes just before, at low severity.
`;
}
