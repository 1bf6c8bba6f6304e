// The bar: TF-IDF of words (1-2) and of characters inside words (3-5), and logistic regression, as everybody would build it.
import { minimise } from "./minimise.ts";

type Line = { readonly ids: Int32Array; readonly values: Float64Array };
export type Baseline = { readonly score: (text: string) => number };

const MIN_LINES = 2;
const MAX_TEXT = 4096;

/** Trains on texts as they are, two classes of equal weight, L2 penalty 1/C. */
export function trainBaseline(texts: readonly string[], labels: readonly (0 | 1)[], inverse = 10): Baseline {
  const counted = texts.map(termsOf);
  const lines = new Map<string, number>();
  for (const terms of counted) for (const term of terms.keys()) lines.set(term, (lines.get(term) ?? 0) + 1);
  const ids = new Map<string, number>();
  const idf: number[] = [];
  for (const [term, count] of lines) {
    if (count < MIN_LINES) continue;
    ids.set(term, idf.length);
    idf.push(Math.log((1 + texts.length) / (1 + count)) + 1);
  }
  const rows = counted.map((terms) => vector(terms, ids, idf));
  const weights = fit(rows, labels, idf.length, inverse);
  return { score: (text) => dot(vector(termsOf(text), ids, idf), weights) };
}

function termsOf(full: string): Map<string, number> {
  const text = full.slice(0, MAX_TEXT).toLowerCase();
  const terms = new Map<string, number>();
  const add = (term: string) => terms.set(term, (terms.get(term) ?? 0) + 1);
  const words = text.match(/[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
  for (const [at, word] of words.entries()) {
    add(`w ${word}`);
    if (at > 0) add(`w ${words[at - 1]} ${word}`);
  }
  for (const word of text.split(/\s+/)) {
    const padded = ` ${word} `;
    for (let size = 3; size <= 5; size++) for (let at = 0; at + size <= padded.length; at++) add(`c${padded.slice(at, at + size)}`);
  }
  return terms;
}

/** Words and characters each have length 1. */
function vector(terms: ReadonlyMap<string, number>, ids: ReadonlyMap<string, number>, idf: readonly number[]): Line {
  const at: number[] = [];
  const values: number[] = [];
  const norms = { w: 0, c: 0 };
  const kinds: ("w" | "c")[] = [];
  for (const [term, count] of terms) {
    const id = ids.get(term);
    if (id === undefined) continue;
    const kind = term[0] as "w" | "c";
    const value = (1 + Math.log(count)) * idf[id]!;
    norms[kind] += value * value;
    at.push(id);
    values.push(value);
    kinds.push(kind);
  }
  return { ids: Int32Array.from(at), values: Float64Array.from(values, (value, of) => value / Math.sqrt(norms[kinds[of]!])) };
}

function dot({ ids, values }: Line, weights: Float64Array): number {
  let sum = weights[weights.length - 1]!;
  for (let at = 0; at < ids.length; at++) sum += values[at]! * weights[ids[at]!]!;
  return sum;
}

function fit(rows: readonly Line[], labels: readonly (0 | 1)[], size: number, inverse: number): Float64Array {
  const attacks = labels.filter((label) => label === 1).length;
  const weightOf = [labels.length / (2 * (labels.length - attacks)), labels.length / (2 * attacks)] as const;
  return minimise(new Float64Array(size + 1), (weights, slope) => {
    slope.fill(0);
    let loss = 0;
    for (let at = 0; at < size; at++) {
      loss += weights[at]! ** 2 / (2 * inverse);
      slope[at] = weights[at]! / inverse;
    }
    for (let line = 0; line < rows.length; line++) {
      const row = rows[line]!;
      const label = labels[line]!;
      const margin = (label === 1 ? 1 : -1) * dot(row, weights);
      loss += weightOf[label] * (margin > 0 ? Math.log1p(Math.exp(-margin)) : -margin + Math.log1p(Math.exp(margin)));
      const blame = (-(label === 1 ? 1 : -1) * weightOf[label]) / (1 + Math.exp(margin));
      for (let at = 0; at < row.ids.length; at++) slope[row.ids[at]!]! += blame * row.values[at]!;
      slope[size]! += blame;
    }
    return loss;
  });
}
