// Scores program starts with the command-line model, many at once.
import { type Features, featuresOf, type Sight, type View, viewsOf } from "@picket/models/cmdline/features";
import { type Runtime, type Session, Tensor } from "./runtime.ts";

/** Views computed at once: padding to the longest costs more than it saves beyond. */
const CHUNK = 128;
/** Words of a line that are tried without. */
const MAX_TRIED = 32;
const MAX_PARTS = 3;

export type Judged = {
  readonly logit: number;
  /** The part of the line that scored highest, its handicap taken off. */
  readonly view: View;
};

export class CmdlineScorer implements Disposable {
  readonly #session: Session;

  /** Throws when the model cannot be computed here. */
  constructor(runtime: Runtime, onnx: Uint8Array) {
    this.#session = runtime.open(onnx);
  }

  /** One for each sight: the highest score of all its views. */
  judge(sights: readonly Sight[]): Judged[] {
    const views = sights.map(viewsOf);
    const flat = views.flat();
    const logits = this.#logits(flat.map(featuresOf));
    for (const [index, { handicap }] of flat.entries()) logits[index]! -= handicap;
    let at = 0;
    return views.map((of) => {
      let highest = 0;
      for (let index = 1; index < of.length; index++) if (logits[at + index]! > logits[at + highest]!) highest = index;
      const judged = { logit: logits[at + highest]!, view: of[highest]! };
      at += of.length;
      return judged;
    });
  }

  /** The words of a judged line that made it suspicious, most first: those without which it would score less. */
  reasons({ view, logit }: Judged): string[] {
    const words = view.text.split(" ").slice(0, MAX_TRIED);
    const rest = view.text.split(" ").slice(MAX_TRIED).join(" ");
    const without = words.map((_, at) => ({ text: `${words.toSpliced(at, 1).join(" ")} ${rest}`.trim(), signs: view.signs }));
    const logits = this.#logits(without.map(featuresOf));
    return words
      .map((word, at) => ({ word, lost: logit + view.handicap - logits[at]! }))
      .filter(({ word, lost }) => lost > 0 && word !== ";")
      .sort((a, b) => b.lost - a.lost)
      .slice(0, MAX_PARTS)
      .map(({ word }) => word);
  }

  #logits(features: readonly Features[]): Float32Array {
    const out = new Float32Array(features.length);
    const order = Array.from(features.keys()).sort((a, b) => features[a]!.rows.length - features[b]!.rows.length);
    for (let from = 0; from < order.length; from += CHUNK) {
      const chunk = order.slice(from, from + CHUNK);
      const width = Math.max(1, features[chunk.at(-1)!]!.rows.length);
      const rows = new Int32Array(chunk.length * width);
      const weights = new Float32Array(chunk.length * width);
      for (const [line, at] of chunk.entries()) {
        rows.set(features[at]!.rows, line * width);
        weights.set(features[at]!.weights, line * width);
      }
      const dims = [chunk.length, width];
      const { logit } = this.#session.run({ rows: new Tensor("int32", rows, dims), weights: new Tensor("float32", weights, dims) });
      for (const [line, at] of chunk.entries()) out[at] = (logit!.data as Float32Array)[line]!;
    }
    return out;
  }

  [Symbol.dispose](): void {
    this.#session[Symbol.dispose]();
  }
}
