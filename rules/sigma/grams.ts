// Many literals looked for in one pass over a text: a rolling window of four characters finds where one may stand, a comparison decides.
import { foldCode } from "./fold.ts";

/** Where a literal must stand in the text. */
export type Literal = { readonly text: string; readonly at: "start" | "end" | "any"; readonly ids: readonly number[] };

const GOLDEN = 0x9e3779b1;
/** Places in the table for each literal: nine windows in ten meet an empty one. */
const SPARSE = 8;

export class Grams {
  /** By hash of a window: the first literal with such a window, plus one. */
  readonly #first: Uint16Array | Uint32Array;
  readonly #shift: number;
  /** Of each literal: the next with the same hash (plus one), its window, and how far the window's end is from the literal's start. */
  readonly #next: Uint32Array;
  readonly #window: Int32Array;
  readonly #offset: Uint16Array;
  readonly #literals: readonly Literal[];
  /** Which lengths below four there are. */
  readonly #has: readonly [boolean, boolean, boolean];

  /** `literals` are folded ASCII of one character or more, without NUL. */
  constructor(literals: readonly Literal[]) {
    const bits = Math.max(8, Math.ceil(Math.log2(literals.length * SPARSE + 1)));
    this.#shift = 32 - bits;
    this.#first = literals.length < 0xffff ? new Uint16Array(1 << bits) : new Uint32Array(1 << bits);
    this.#next = new Uint32Array(literals.length);
    this.#window = new Int32Array(literals.length);
    this.#offset = new Uint16Array(literals.length);
    this.#literals = literals;
    const has = (length: number) => literals.some(({ text }) => text.length === length);
    this.#has = [has(1), has(2), has(3)];
    const shared = countWindows(literals);
    for (const [at, { text }] of literals.entries()) {
      // The window that fewest others have, so that a common piece such as "/bin" is met and compared for few.
      const windows = windowsOf(text);
      const best = windows.reduce((a, b) => (shared.get(b.window)! < shared.get(a.window)! ? b : a));
      const place = Math.imul(best.window, GOLDEN) >>> this.#shift;
      this.#window[at] = best.window;
      this.#offset[at] = best.end;
      this.#next[at] = this.#first[place]!;
      this.#first[place] = at + 1;
    }
  }

  /** Calls `found` for each literal that stands in `text`, folded, perhaps more than once. */
  search(text: string, found: (ids: readonly number[]) => void): void {
    // Letters beyond ASCII can become ASCII ones (the Kelvin sign is a k).
    if (this.#scan(text, found) > 127) this.#scan(text.toLowerCase(), found);
  }

  #scan(text: string, found: (ids: readonly number[]) => void): number {
    const first = this.#first;
    const shift = this.#shift;
    const [has1, has2, has3] = this.#has;
    let window = 0;
    let seen = 0;
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at);
      seen |= code;
      window = (window << 8) | foldCode(code);
      const place = first[Math.imul(window, GOLDEN) >>> shift]!;
      if (place !== 0) this.#compare(place, window, text, at, found);
      if (has3) this.#try(window & 0xffffff, text, at, found);
      if (has2) this.#try(window & 0xffff, text, at, found);
      if (has1) this.#try(window & 0xff, text, at, found);
    }
    return seen;
  }

  #try(window: number, text: string, end: number, found: (ids: readonly number[]) => void): void {
    const place = this.#first[Math.imul(window, GOLDEN) >>> this.#shift]!;
    if (place !== 0) this.#compare(place, window, text, end, found);
  }

  #compare(place: number, window: number, text: string, end: number, found: (ids: readonly number[]) => void): void {
    for (let at = place - 1; at >= 0; at = this.#next[at]! - 1) {
      if (this.#window[at] !== window) continue;
      const literal = this.#literals[at]!;
      if (stands(literal, text, end - this.#offset[at]!)) found(literal.ids);
    }
  }
}

function stands({ text: wanted, at }: Literal, text: string, from: number): boolean {
  if (from < 0 || from + wanted.length > text.length) return false;
  if (at === "start" ? from !== 0 : at === "end" && from + wanted.length !== text.length) return false;
  for (let index = 0; index < wanted.length; index++) {
    const code = text.charCodeAt(from + index);
    if (foldCode(code) !== wanted.charCodeAt(index)) return false;
  }
  return true;
}

/** Windows of a literal: four characters each, or the fewer it has. `end`: index of the last one. */
function windowsOf(text: string): { window: number; end: number }[] {
  const size = Math.min(4, text.length);
  return Array.from({ length: text.length - size + 1 }, (_, start) => {
    let window = 0;
    for (let at = start; at < start + size; at++) window = (window << 8) | text.charCodeAt(at);
    return { window, end: start + size - 1 };
  });
}

function countWindows(literals: readonly Literal[]): ReadonlyMap<number, number> {
  const counts = new Map<number, number>();
  for (const { text } of literals) for (const { window } of windowsOf(text)) counts.set(window, (counts.get(window) ?? 0) + 1);
  return counts;
}
