// `bun run train:behaviour [--seed N] [--quick]`: learns the behaviour model Picket ships, measures it and what a site would learn, and writes the model card.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { encodeModel, modelFiles } from "../behaviour/files.ts";
import { behaviourCard, ERRORS, worseRows } from "./behaviour-card.ts";
import { evaluate } from "./behaviour-evaluate.ts";
import type { RecordedMinute } from "./behaviour-habits.ts";
import { learnStart } from "./behaviour-start.ts";

const { values } = parseArgs({ options: { seed: { type: "string", default: "7" }, quick: { type: "boolean", default: false } } });
const seed = Number(values.seed);
if (!Number.isInteger(seed) || seed < 0) {
  console.error("train:behaviour: --seed takes a whole number");
  process.exit(2);
}
const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const recorded = readFileSync(here("./behaviour-recorded.ndjson"), "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as RecordedMinute);

const of = values.quick
  ? { devices: 4, days: 2, evaluate: { seeds: [201], devices: 4, strangers: 1, trainDays: 2, testDays: 1 } }
  : { devices: 16, days: 5, evaluate: { seeds: [201, 202, 203], devices: 8, strangers: 4, trainDays: 7, testDays: 3 } };
console.error("learning the model Picket ships");
const { learnt, minutes } = learnStart({ seed, devices: of.devices, days: of.days, recorded });
const trained = {
  site: "start",
  atMs: null,
  minutes: minutes.length,
  devices: of.devices,
  from: minutes[0]!.minute,
  to: minutes.at(-1)!.minute,
  leftOut: 0,
};
console.error("measuring");
const evaluation = evaluate({ ...of.evaluate, recorded, start: learnt });
const card = behaviourCard({ seed, trained, recorded: recorded.length, of: of.evaluate, evaluation });
if (values.quick) console.log(card);
else {
  const files = encodeModel(learnt, trained);
  for (const name of modelFiles) writeFileSync(here(`../behaviour/start/${name}`), files[name]);
  writeFileSync(here("../behaviour/CARD.md"), card);
  console.error("written: models/behaviour/start, models/behaviour/CARD.md");
}
const worse = worseRows(evaluation.rows, ERRORS);
if (worse.length > 0) {
  for (const row of worse) console.error(`worse than the baseline: ${row}`);
  process.exitCode = 1;
}
