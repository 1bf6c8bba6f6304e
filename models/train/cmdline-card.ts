// The model card of the command-line model, from what was measured.
import { type Calibration, STARTS_PER_DAY, scoreOf, thresholdFor } from "../cmdline/calibration.ts";
import { type DataLine, licenceOf } from "./cmdline-data.ts";
import type { Line } from "./cmdline-examples.ts";
import type { Figures, Measured, Row } from "./cmdline-measure.ts";
import type { Recipe } from "./cmdline-model.ts";

export type Card = {
  readonly data: readonly DataLine[];
  readonly own: readonly Line[];
  readonly measured: Measured;
  readonly calibration: Calibration;
  readonly recipe: Recipe;
  readonly folds: number;
  readonly bytes: number;
};

const BUDGETS = [0.02, 0.1, 0.2, 1, 5];
const worse = ({ ours, baseline }: Row) => (["auc", "at100", "at1000"] as const).some((key) => shown(ours[key]) < shown(baseline[key]));
const shown = (value: number) => Number(value.toFixed(3));

export function writeCard({ data, own, measured, calibration, recipe, folds, bytes }: Card): string {
  const rows = measured.rows.flatMap((of) => of.rows.map((row) => ({ title: of.title, row })));
  const lost = rows.filter(({ row }) => worse(row));
  return `# Model card: cmdline

How suspicious is one command line, with the program that started it. Written by \`bun run train:cmdline\`; do not edit.

- Output: 0 to 1, higher is worse. Used by the detector's \`onnx\` engine and by \`picket model score cmdline\`.
- Form: hashed words, word kinds in order and runs of 3 to 5 characters; a linear model and a small network over them. ${(bytes / 1e6).toFixed(1)} MB of ONNX, seed ${recipe.seed}.
- A line is also judged in its parts (commands, runs of commands, decoded payloads): the highest score counts. Quotes, \`\${IFS}\`, escapes and letter case are undone before.
- It judges behaviour in text. It does not run, fetch or look up anything.

## Learnt from
${learntFrom(data, own)}

${measured.honestLines} honest lines measured below, ${data.filter(({ label, source }) => label === 0 && licenceOf(source) === undefined).length} of them of sources that only measure.

## Measured
Cross-validation by group in ${folds} folds: near-duplicates share a group, and every line is scored by the fold that learnt from nothing of its group. Sources without a permissive licence are
never learnt from: they show lines of an origin that nobody learnt from. The thresholds of each model are its own, on the honest lines of all folds. Baseline: TF-IDF of words (1-2) and characters (3-5) with
logistic regression, trained on the same lines of the same folds (our templates included). Our templates were written with errors on these lines in view, though none was copied: the rows of sources left
out flatter both models somewhat. TPR is the share of attacks found at a false-positive rate of 1 in 100 and 1 in 1000 lines.

${measured.rows.map(({ title, rows: of }) => `### ${title}\n\n${table(of)}`).join("\n\n")}

${lost.length === 0 ? "No row is worse than the baseline in any column." : `Worse than the baseline in some column: ${lost.map(({ title, row }) => `${row.name} (${title.toLowerCase()}; ${row.lines} lines)`).join(", ")}.`}

## Thresholds
Budgets are false alerts per device and day, for a device that makes ${STARTS_PER_DAY} different program starts a day (equal ones are one alert). The rate comes from ${calibration.lines} honest lines of permissive sources out of sample,
most of them typed by people and so harder than what services start.

| alerts per device and day | score | share of lines |
|---:|---:|---:|
${BUDGETS.map((budget) => `| ${budget} | ${scoreOf(thresholdFor(calibration, budget)).toFixed(4)} | ${(budget / STARTS_PER_DAY).toExponential(1)} |`).join("\n")}

## Limits
- Dual-use lines (\`cat /etc/passwd\`, reading a file with an odd program) cannot be told apart by the line alone: they belong to correlation.
- A program that was renamed or compiled is seen only by where it lies and by its arguments; \`./x\` alone says little.
- A payload that is decoded by something else than base64, hexadecimal or reversal on the same line is not seen, only that something is decoded.
- Padding a line beyond ${4096} characters hides its middle; the start and the end are read. Long chains of harmless commands around an attack cost some of its score.
- Honest lines of unusual administration (set-uid searches, \`scp\` with host key checks off, interpreter one-liners with sockets) score like attacks.
- Where only the AUC is below the baseline's, it is lost among lines that score like honest ones anyway (reading a file with an odd program, a renamed program with harmless arguments); at rates of
  false alarms that somebody can live with, more of them are found.
- Learnt on English and shell: no Windows, no macOS.
`;
}

function table(rows: readonly Row[]): string {
  const three = ({ auc, at100, at1000 }: Figures) => [auc, at100, at1000].map((value) => value.toFixed(3)).join(" | ");
  const lines = rows.map((row) => `| ${row.name} | ${row.lines} | ${three(row.ours)} | ${three(row.baseline)} |`);
  return [
    "| attacks | lines | AUC | TPR 1e-2 | TPR 1e-3 | baseline AUC | TPR 1e-2 | TPR 1e-3 |",
    "|---|---:|---:|---:|---:|---:|---:|---:|",
    ...lines,
  ].join("\n");
}

function learntFrom(data: readonly DataLine[], own: readonly Line[]): string {
  const count = new Map<string, { honest: number; attacks: number; licence: string }>();
  const add = (name: string, licence: string, label: 0 | 1) => {
    const of = count.get(name) ?? { honest: 0, attacks: 0, licence };
    if (label === 1) of.attacks++;
    else of.honest++;
    count.set(name, of);
  };
  for (const { source, label } of own) add(`our own: ${source}`, "Apache-2.0", label);
  for (const { source, label } of data) {
    const licence = licenceOf(source);
    if (licence !== undefined) add(source.replace(/^\w+:(.*)\+/, "$1/"), licence, label);
  }
  const rows = [...count].sort(([a], [b]) => (a < b ? -1 : 1));
  return [
    "| source | licence | honest lines | attack lines |",
    "|---|---|---:|---:|",
    ...rows.map(([name, { licence, honest, attacks }]) => `| ${name} | ${licence} | ${honest} | ${attacks} |`),
    "",
    "tldr-pages: © the tldr-pages contributors, CC BY 4.0 (github.com/tldr-pages/tldr); lines were normalised.",
  ].join("\n");
}
