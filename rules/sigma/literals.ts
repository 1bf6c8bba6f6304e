// What a text must hold for a regular expression to match it: looking for that first is fifty times cheaper than the expression.
import { fold } from "./fold.ts";

export type Needs = {
  /** Of each list one stands in every text that matches, once that is folded (fold.ts). The list that says most comes first; none when nothing can be told. */
  readonly literals: readonly (readonly string[])[];
  /** UTF-16 units every match has at least. */
  readonly atLeast: number;
};

const MAX_CHOICES = 256;
const MAX_LENGTH = 64;
const MAX_LEAST = 1 << 16;
const MAX_CLASS = 8;

/** What is known of a piece of a pattern: all texts it matches, where they are few, and lists of which one each must be there. */
type Piece = {
  readonly exact?: readonly string[] | undefined;
  /** Where `exact` is not known: with one of these each of its texts begins. */
  readonly heads?: readonly string[] | undefined;
  readonly lists: readonly (readonly string[])[];
  readonly atLeast: number;
};
const unknown: Piece = { lists: [], atLeast: 1 };
const nowhere: Piece = { exact: [""], lists: [], atLeast: 0 };

/** What `pattern` (RE2 syntax, whatever its flags) needs. Knows the usual syntax and gives up on all else, so it is never wrong, only of no help. */
export function needsOf(pattern: string): Needs {
  try {
    const reader = new Reader(pattern);
    const { lists, atLeast } = reader.alternatives();
    return reader.done ? { literals: telling(lists), atLeast } : nothing;
  } catch (error) {
    if (error instanceof GiveUp) return nothing;
    throw error;
  }
}

const nothing: Needs = { literals: [], atLeast: 0 };

class GiveUp extends Error {}

class Reader {
  #at = 0;
  readonly #pattern: string;

  constructor(pattern: string) {
    this.#pattern = pattern;
  }

  get done(): boolean {
    return this.#at === this.#pattern.length;
  }

  alternatives(): Piece {
    const all = [this.#sequence()];
    while (this.#pattern[this.#at] === "|") {
      this.#at++;
      all.push(this.#sequence());
    }
    const [only, second] = all;
    if (only && !second) return only;
    const either = union(all.map(({ lists }) => lists.toSorted((a, b) => worth(b) - worth(a))[0]));
    return {
      exact: union(all.map(({ exact }) => exact)),
      heads: union(all.map(({ exact, heads }) => exact ?? heads)),
      lists: either ? [least(either)] : [],
      atLeast: Math.min(...all.map((piece) => piece.atLeast)),
    };
  }

  #sequence(): Piece {
    const lists: (readonly string[])[] = [];
    /** The best of the run that is being read. */
    let best: readonly string[] | undefined;
    /** All that can stand just before the reader, since it last lost count; `whole` while that is the start. */
    let run: readonly string[] = [""];
    let whole = true;
    let heads: readonly string[] | undefined;
    let atLeast = 0;
    while (!this.done && this.#pattern[this.#at] !== "|" && this.#pattern[this.#at] !== ")") {
      const piece = this.#atom();
      const { least, most } = this.#repeat();
      atLeast = Math.min(atLeast + piece.atLeast * least, MAX_LEAST);
      const round = piece.exact && (least > 0 ? piece.exact : most === 1 ? ["", ...piece.exact] : undefined);
      const longer = round && cross(run, round);
      best = better(best, longer);
      if (longer && most === 1) run = longer;
      else {
        const begun = least > 0 && !piece.exact && piece.heads ? cross(run, piece.heads) : undefined;
        best = better(best, begun);
        if (whole) heads = begun ?? longer ?? run;
        whole = false;
        if (best) lists.push(best);
        if (least > 0) lists.push(...piece.lists);
        // What follows a repetition stands behind its last round.
        run = least > 0 && piece.exact ? piece.exact : [""];
        best = better(undefined, run);
      }
    }
    if (best) lists.push(best);
    return { exact: whole ? run : undefined, heads, lists, atLeast };
  }

  #atom(): Piece {
    const char = this.#pattern[this.#at++]!;
    switch (char) {
      case "(":
        return this.#group();
      case "[":
        return this.#charClass();
      case "\\":
        return this.#escape();
      case "^":
      case "$":
        return nowhere;
      case ".":
        return unknown;
      case "*":
      case "+":
      case "?":
      case "{":
        throw new GiveUp();
      default:
        return literal(char);
    }
  }

  #group(): Piece {
    const flags = /^\?(i)?(:|\))/.exec(this.#pattern.slice(this.#at, this.#at + 3));
    if (flags) this.#at += flags[0].length;
    else if (this.#pattern[this.#at] === "?") throw new GiveUp();
    if (flags?.[2] === ")") return nowhere;
    const inside = this.alternatives();
    if (this.#pattern[this.#at++] !== ")") throw new GiveUp();
    return inside;
  }

  #charClass(): Piece {
    const negated = this.#pattern[this.#at] === "^";
    if (negated) this.#at++;
    const members: Piece[] = [];
    let ranges = false;
    do {
      if (this.done || this.#pattern.startsWith("[:", this.#at)) throw new GiveUp();
      const char = this.#pattern[this.#at++]!;
      members.push(char === "\\" ? this.#escape() : literal(char));
      ranges ||= this.#pattern[this.#at] === "-" && this.#pattern[this.#at + 1] !== "]";
    } while (this.#pattern[this.#at] !== "]");
    this.#at++;
    const exact = negated || ranges ? undefined : union(members.map((member) => member.exact));
    return exact && exact.length <= MAX_CLASS ? { exact, lists: [], atLeast: 1 } : unknown;
  }

  #escape(): Piece {
    const char = this.#pattern[this.#at++];
    if (char === undefined) throw new GiveUp();
    // White space is folded to a space.
    if (/[sntrf]/.test(char)) return { exact: [" "], lists: [], atLeast: 1 };
    if (/[bBAz]/.test(char)) return nowhere;
    if (/[SdDwW]/.test(char)) return unknown;
    if (char === "x" && /^[0-9a-fA-F]{2}/.test(this.#pattern.slice(this.#at))) {
      const code = Number.parseInt(this.#pattern.slice(this.#at, this.#at + 2), 16);
      this.#at += 2;
      return literal(String.fromCharCode(code));
    }
    if (/[a-zA-Z0-9]/.test(char)) throw new GiveUp();
    return literal(char);
  }

  /** Reads a quantifier. */
  #repeat(): { least: number; most: number } {
    const match = /^(?:([*+?])|\{(\d+)(,(\d*))?\})\??/.exec(this.#pattern.slice(this.#at, this.#at + 16));
    if (!match) return { least: 1, most: 1 };
    this.#at += match[0].length;
    const [, sign, least, upTo, most] = match;
    if (sign) return { least: sign === "+" ? 1 : 0, most: sign === "?" ? 1 : Infinity };
    return { least: Number(least), most: upTo === undefined ? Number(least) : most ? Number(most) : Infinity };
  }
}

/** Only ASCII: elsewhere lower case may change the length. */
const literal = (char: string): Piece => (char > "~" ? unknown : { exact: [fold(char.toLowerCase())], lists: [], atLeast: 1 });

/** All texts of all lists, or undefined when one of them is unknown or there are too many. */
function union(lists: readonly (readonly string[] | undefined)[]): readonly string[] | undefined {
  const all = new Set<string>();
  for (const list of lists) {
    if (!list) return undefined;
    for (const text of list) all.add(text);
  }
  return all.size <= MAX_CHOICES ? [...all] : undefined;
}

function cross(heads: readonly string[], tails: readonly string[]): readonly string[] | undefined {
  if (heads.length * tails.length > MAX_CHOICES) return undefined;
  const all = new Set(heads.flatMap((head) => tails.map((tail) => head + tail)));
  return Math.max(...[...all].map((text) => text.length)) <= MAX_LENGTH ? [...all] : undefined;
}

/** The list that is rarer in ordinary text: three characters are far rarer than two, and a longer list is looked for longer. */
function better(a: readonly string[] | undefined, b: readonly string[] | undefined): readonly string[] | undefined {
  if (!b || b.includes("")) return a;
  const short = least(b);
  return a && worth(a) >= worth(short) ? a : short;
}

/** A list without what holds another of its texts. */
const least = (list: readonly string[]) => list.filter((text) => !list.some((other) => other !== text && text.includes(other)));

const worthOfLength = [0, 25, 30, 60, 68, 72, 74];
function worth(list: readonly string[]): number {
  const shortest = Math.min(...list.map((text) => text.length));
  return worthOfLength[Math.min(shortest, worthOfLength.length - 1)]! + shortest / MAX_LENGTH - list.length;
}

const MAX_LISTS = 4;
/** Single characters that most texts have are not worth looking for. */
const ordinary = /^[a-z0-9 /.-]$/;

/** The lists worth keeping, best first: none that another one implies. */
function telling(lists: readonly (readonly string[])[]): readonly (readonly string[])[] {
  const implies = (strong: readonly string[], weak: readonly string[]) => strong.every((text) => weak.some((part) => text.includes(part)));
  const kept: (readonly string[])[] = [];
  for (const list of lists.toSorted((a, b) => worth(b) - worth(a))) {
    if (!list.some((text) => ordinary.test(text)) && !kept.some((other) => implies(other, list))) kept.push(list);
  }
  return kept.slice(0, MAX_LISTS);
}
