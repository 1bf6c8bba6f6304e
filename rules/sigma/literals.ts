// Texts without which a regular expression cannot match: looking for them first is fifty times cheaper than the expression.

/** Pieces of a pattern in sequence; each is a choice of literals, one of which must be there, or nothing known. */
type Choice = readonly string[] | undefined;

const MIN_LENGTH = 3;
const MAX_CHOICES = 24;

/**
 * Lower-case literals of which at least one stands in every text (in lower case) that `pattern` (RE2 syntax) matches; undefined when none
 * can be told. Knows the usual syntax and gives up on all else, so it is never wrong, only of no help.
 */
export function requiredLiterals(pattern: string, ignoreCase: boolean): readonly string[] | undefined {
  try {
    const reader = new Reader(pattern, ignoreCase);
    const found = reader.alternatives();
    return reader.done ? found : undefined;
  } catch (error) {
    if (error instanceof GiveUp) return undefined;
    throw error;
  }
}

class GiveUp extends Error {}

class Reader {
  #at = 0;
  #fold: boolean;
  readonly #pattern: string;

  constructor(pattern: string, fold: boolean) {
    this.#pattern = pattern;
    this.#fold = fold;
  }

  get done(): boolean {
    return this.#at === this.#pattern.length;
  }

  alternatives(): Choice {
    const fold = this.#fold;
    const all: Choice[] = [this.#sequence()];
    while (this.#pattern[this.#at] === "|") {
      this.#at++;
      all.push(this.#sequence());
    }
    // Flags set inside a group end with it.
    this.#fold = fold;
    if (all.some((choice) => choice === undefined)) return undefined;
    const union = [...new Set(all.flatMap((choice) => [...choice!]))];
    return union.length <= MAX_CHOICES ? union : undefined;
  }

  /** The best choice of one sequence: the one whose shortest literal is longest. */
  #sequence(): Choice {
    let best: Choice;
    let run = "";
    const offer = (choice: Choice) => {
      if (choice && shortest(choice) >= MIN_LENGTH && (!best || shortest(choice) > shortest(best))) best = choice;
    };
    const endRun = () => {
      if (run !== "") offer([run]);
      run = "";
    };
    while (!this.done && this.#pattern[this.#at] !== "|" && this.#pattern[this.#at] !== ")") {
      const atom = this.#atom();
      const repeat = this.#repeat();
      if (typeof atom === "string" && repeat === "once") run += atom;
      else if (typeof atom === "string" && repeat === "some") {
        run += atom;
        endRun();
        run = atom;
      } else {
        endRun();
        if (typeof atom !== "string" && repeat !== "maybe") offer(atom);
      }
    }
    endRun();
    return best;
  }

  /** One character as text, or what is known of a group or class. */
  #atom(): string | Choice {
    const char = this.#pattern[this.#at++]!;
    switch (char) {
      case "(":
        return this.#group();
      case "[":
        return this.#charClass();
      case "\\":
        return this.#escape();
      case ".":
      case "^":
      case "$":
        return undefined;
      case "*":
      case "+":
      case "?":
      case "{":
        throw new GiveUp();
      default:
        return this.#literal(char);
    }
  }

  #literal(char: string): string | undefined {
    // Only ASCII: elsewhere lower case may change the length. `s` and `k` fold with characters beyond it.
    if (char > "~" || (this.#fold && /[sk]/i.test(char))) return undefined;
    return char.toLowerCase();
  }

  #group(): Choice {
    const flags = /^\?(i)?(:|\))/.exec(this.#pattern.slice(this.#at, this.#at + 3));
    if (flags) this.#at += flags[0].length;
    else if (this.#pattern[this.#at] === "?") throw new GiveUp();
    if (flags?.[2] === ")") {
      if (flags[1]) this.#fold = true;
      return undefined;
    }
    const outer = this.#fold;
    if (flags?.[1]) this.#fold = true;
    const inside = this.alternatives();
    if (this.#pattern[this.#at++] !== ")") throw new GiveUp();
    this.#fold = outer;
    return inside;
  }

  #charClass(): undefined {
    if (this.#pattern[this.#at] === "^") this.#at++;
    if (this.#pattern[this.#at] === "]") this.#at++;
    while (!this.done && this.#pattern[this.#at] !== "]") {
      if (this.#pattern.startsWith("[:", this.#at)) throw new GiveUp();
      this.#at += this.#pattern[this.#at] === "\\" ? 2 : 1;
    }
    if (this.done) throw new GiveUp();
    this.#at++;
    return undefined;
  }

  #escape(): string | undefined {
    const char = this.#pattern[this.#at++];
    if (char === undefined) throw new GiveUp();
    if (/[sSdDwWbBAz]/.test(char)) return undefined;
    if (char === "x" && /^[0-9a-fA-F]{2}/.test(this.#pattern.slice(this.#at))) {
      const code = Number.parseInt(this.#pattern.slice(this.#at, this.#at + 2), 16);
      this.#at += 2;
      return this.#literal(String.fromCharCode(code));
    }
    if (/[a-zA-Z0-9]/.test(char)) throw new GiveUp();
    return this.#literal(char);
  }

  /** Reads a quantifier: once, at least once, or perhaps not at all. */
  #repeat(): "once" | "some" | "maybe" {
    const match = /^(\*|\+|\?|\{(\d+)(,\d*)?\})\??/.exec(this.#pattern.slice(this.#at, this.#at + 16));
    if (!match) return "once";
    this.#at += match[0].length;
    if (match[1] === "*" || match[1] === "?") return "maybe";
    return match[2] !== undefined && Number(match[2]) === 0 ? "maybe" : "some";
  }
}

const shortest = (choice: readonly string[]) => Math.min(...choice.map((literal) => literal.length));
