// `bun run train:cmdline --data DIR`: trains the command-line model, measures it and writes what ships. The same data and seed give the same bytes.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { calibrate, scoreOf } from "../cmdline/calibration.ts";
import type { Sight } from "../cmdline/features.ts";
import { writeCard } from "./cmdline-card.ts";
import { licenceOf, readData } from "./cmdline-data.ts";
import { measure } from "./cmdline-measure.ts";
import { ownLines, scoreSight, recipe as shipped, trainModel } from "./cmdline-model.ts";
import { networkToOnnx, quantised } from "./cmdline-onnx.ts";

const { values } = parseArgs({
  options: {
    data: { type: "string" },
    out: { type: "string", default: new URL("../cmdline/", import.meta.url).pathname },
    seed: { type: "string", default: "1" },
    folds: { type: "string", default: "5" },
    help: { type: "boolean", default: false },
  },
});
if (values.help || values.data === undefined) {
  console.log(
    "bun run train:cmdline --data DIR [--out DIR] [--seed N] [--folds N]\n\nTrains models/cmdline from DIR/cmdline-dev.ndjson, our templates and our traces, and writes model.onnx, calibration.json,\ngolden.json and CARD.md. Takes a few minutes.\n\nExample:\n  bun run train:cmdline --data ../shared/data",
  );
  process.exit(values.help ? 0 : 2);
}

const recipe = { ...shipped, seed: Number(values.seed) };
const folds = Number(values.folds);
const data = readData(values.data);
const measured = measure(data, recipe, folds, (text) => console.error(text));
const own = ownLines(recipe);
console.error("all lines");
const network = quantised(trainModel([...own, ...data.filter(({ source }) => licenceOf(source) !== undefined)], recipe));
const onnx = networkToOnnx(network, { seed: values.seed });
const calibration = calibrate(measured.honest);
const cases = JSON.parse(readFileSync(new URL("./cmdline-golden.json", import.meta.url), "utf8")) as Sight[];
const golden = cases.map((sight) => ({ ...sight, score: Number(scoreOf(scoreSight(network, sight)).toFixed(6)) }));

writeFileSync(join(values.out, "model.onnx"), onnx);
writeFileSync(join(values.out, "calibration.json"), `${JSON.stringify(calibration)}\n`);
writeFileSync(join(values.out, "golden.json"), `${JSON.stringify(golden, null, 2)}\n`);
writeFileSync(join(values.out, "CARD.md"), writeCard({ data, own, measured, calibration, recipe, folds, bytes: onnx.length }));
for (const { title, rows } of measured.rows) {
  console.error(title);
  for (const { name, lines, ours, baseline } of rows)
    console.error(
      `  ${name.padEnd(38)}${String(lines).padStart(5)}  ${[ours, baseline].map((of) => [of.auc, of.at100, of.at1000].map((value) => value.toFixed(3)).join(" ")).join("   baseline ")}`,
    );
}
