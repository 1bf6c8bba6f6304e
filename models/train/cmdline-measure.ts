// Cross-validation by group, ours and the baseline on the same folds, and what comes of it in rows.
import { type Baseline, trainBaseline } from "./cmdline-baseline.ts";
import { type DataLine, licenceOf } from "./cmdline-data.ts";
import { ownLines, type Recipe, scoreLine, trainModel } from "./cmdline-model.ts";
import type { Network } from "./cmdline-network.ts";
import { evasions, under } from "./evasions.ts";
import { foldsByGroup } from "./folds.ts";
import { auc, shareAbove, thresholdAt } from "./metrics.ts";

/** How well one model tells some attacks from all honest lines. */
export type Figures = { readonly auc: number; readonly at100: number; readonly at1000: number };
export type Row = { readonly name: string; readonly lines: number; readonly ours: Figures; readonly baseline: Figures };
export type Measured = {
  readonly rows: readonly { readonly title: string; readonly rows: readonly Row[] }[];
  /** Logits of permissive honest lines by the fold that did not learn from them. */
  readonly honest: readonly number[];
  readonly honestLines: number;
};

type Scores = { ours: number; baseline: number };

/** Every line is scored by the fold that learnt neither from it nor from its group; sources that may only measure are never learnt from. */
export function measure(data: readonly DataLine[], recipe: Recipe, folds: number, progress: (text: string) => void): Measured {
  const fold = foldsByGroup(
    data.map(({ group }) => group),
    folds,
  );
  const own = ownLines(recipe);
  const overt = data.flatMap(({ tier }, at) => (tier === "overt" ? [at] : []));
  const texts = Object.entries(evasions).map(([name, evasion]) => ({
    name,
    lines: under(
      evasion,
      overt.map((at) => data[at]!.text),
      recipe.seed + 9,
    ),
  }));
  const scores = new Array<Scores>(data.length);
  const evaded = new Map(texts.map(({ name }): [string, Scores[]] => [name, new Array<Scores>(overt.length)]));
  for (let left = 0; left < folds; left++) {
    const lines = [...own, ...data.filter(({ source }, at) => fold[at] !== left && licenceOf(source) !== undefined)];
    progress(`fold ${left + 1} of ${folds}: ${lines.length} lines`);
    const network = trainModel(lines, recipe);
    const baseline = trainBaseline(
      lines.map(({ text }) => text),
      lines.map(({ label }) => label),
    );
    for (const [at, line] of data.entries()) if (fold[at] === left) scores[at] = both(network, baseline, line);
    for (const { name, lines: hidden } of texts) {
      const into = evaded.get(name)!;
      for (const [at, of] of overt.entries()) if (fold[of] === left) into[at] = both(network, baseline, { text: hidden[at]! });
    }
  }
  return summary(data, scores, evaded);
}

const both = (network: Network, baseline: Baseline, line: { text: string; parent?: string }): Scores => ({
  ours: scoreLine(network, line),
  baseline: baseline.score(line.text),
});

function summary(data: readonly DataLine[], scores: readonly Scores[], evaded: ReadonlyMap<string, readonly Scores[]>): Measured {
  const honest = scores.filter((_, at) => data[at]!.label === 0);
  const ours = figures(honest.map((of) => of.ours));
  const baseline = figures(honest.map((of) => of.baseline));
  const row = (name: string, of: readonly Scores[]): Row => ({
    name,
    lines: of.length,
    ours: ours(of.map((one) => one.ours)),
    baseline: baseline(of.map((one) => one.baseline)),
  });
  const where = (test: (line: DataLine) => boolean) => scores.filter((_, at) => data[at]!.label === 1 && test(data[at]!));
  const bySource = (may: boolean) =>
    [...new Set(data.flatMap(({ label, source }) => (label === 1 && (licenceOf(source) !== undefined) === may ? [source] : [])))]
      .sort()
      .flatMap((source) =>
        (["overt", "dual_use"] as const).flatMap((tier) => {
          const of = where((line) => line.source === source && line.tier === tier);
          return of.length === 0 ? [] : [row(`${source}, ${tier}`, of)];
        }),
      );
  const tiers = (test: (line: DataLine) => boolean) =>
    (["overt", "dual_use"] as const).map((tier) =>
      row(
        tier,
        where((line) => line.tier === tier && test(line)),
      ),
    );
  return {
    rows: [
      { title: "All attacks, by tier", rows: tiers(() => true) },
      { title: "Permissive sources, by cross-validation", rows: bySource(true) },
      { title: "Sources left out of training altogether", rows: bySource(false) },
      { title: "Overt attacks under evasions", rows: [...evaded].map(([name, of]) => row(name, of)) },
    ],
    honest: scores.flatMap((of, at) => (data[at]!.label === 0 && licenceOf(data[at]!.source) !== undefined ? [of.ours] : [])),
    honestLines: honest.length,
  };
}

function figures(honest: readonly number[]): (attacks: readonly number[]) => Figures {
  const at100 = thresholdAt(honest, 1e-2);
  const at1000 = thresholdAt(honest, 1e-3);
  return (attacks) => ({ auc: auc(attacks, honest), at100: shareAbove(attacks, at100), at1000: shareAbove(attacks, at1000) });
}
