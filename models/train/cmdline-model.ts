// From lines to a trained model, and from a line to its score.
import { DECODED, featuresOf, type Sight, type View, viewsOf } from "../cmdline/features.ts";
import { attackLines, disguised, type Line, traceLines, workLines } from "./cmdline-examples.ts";
import { type Example, type Learning, logit, type Network, train } from "./cmdline-network.ts";

export type Recipe = {
  readonly seed: number;
  /** Fillings of a template, at least. */
  readonly attackVariants: number;
  readonly workVariants: number;
  /** Share of lines that are learnt disguised as well. */
  readonly disguisedAttacks: number;
  readonly disguisedWork: number;
  readonly learning: Learning;
};
/** How the shipped model is made. */
export const recipe: Recipe = {
  seed: 1,
  attackVariants: 3,
  workVariants: 3,
  disguisedAttacks: 0.6,
  disguisedWork: 0.3,
  learning: { seed: 1, epochs: 7, averaged: 5, rate: 0.1, decay: 1e-6, dropout: 0.2 },
};

/** The lines of our own that every model and every fold learns from. */
export const ownLines = ({ seed, attackVariants, workVariants }: Recipe): Line[] => [
  ...attackLines(seed, attackVariants),
  ...workLines(seed + 1, workVariants),
  ...traceLines(),
];

/** What a network learns from lines: attacks whole, honest lines in all their views, because any of them could raise an alarm. */
export function examplesOf(lines: readonly Line[], { seed, disguisedAttacks, disguisedWork }: Recipe): Example[] {
  const attacks = lines.filter(({ label }) => label === 1);
  const honest = lines.filter(({ label }) => label === 0);
  const all = [...lines, ...disguised(attacks, disguisedAttacks, seed + 2), ...disguised(honest, disguisedWork, seed + 3)];
  return all.flatMap(({ text, label, parent }) => {
    const views = viewsOf({ argv: [text], parent });
    // Of an attack, what it decodes is an attack too; any one of its commands need not be.
    if (label === 1)
      return [views[0]!, ...views.filter(isDecoded).slice(0, 1)].map((view): Example => ({ features: featuresOf(view), label, weight: 1 }));
    return views.map((view, at): Example => ({ features: featuresOf(view), label, weight: at === 0 ? 1 : 0.3 }));
  });
}

export const trainModel = (lines: readonly Line[], recipe: Recipe): Network => train(examplesOf(lines, recipe), recipe.learning);

const isDecoded = ({ signs }: View) => signs.includes(DECODED);

/** The highest logit of all views of a program start. */
export function scoreSight(network: Network, sight: Sight): number {
  let highest = Number.NEGATIVE_INFINITY;
  for (const view of viewsOf(sight)) highest = Math.max(highest, logit(network, featuresOf(view)) - view.handicap);
  return highest;
}

/** The same of a line. */
export const scoreLine = (network: Network, { text, parent }: Pick<Line, "text" | "parent">): number =>
  scoreSight(network, { argv: [text], parent });
