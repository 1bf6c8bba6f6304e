// STIX patterns (STIX 2.1, section 9), as far as one value decides: comparisons with = and IN, joined by OR, and by AND where one of both sides is enough.
import { canonical, type Indicator, type IndicatorKind, recognise, type Unusable } from "@picket/protocol/ioc-value";

const MAX_PATTERN = 64 << 10;
const MAX_DEPTH = 32;

/** What a pattern looks for; or why it cannot be honoured: then nothing of it is used, since a part could mean something else. */
export function indicatorsOf(pattern: string): { all: (Indicator | Unusable)[] } | Unusable {
  if (pattern.length > MAX_PATTERN) return { why: `its pattern is longer than ${MAX_PATTERN} characters` };
  try {
    return { all: new Parser(tokensOf(pattern)).pattern() };
  } catch (error) {
    if (!(error instanceof NotHonoured)) throw error;
    return { why: error.message };
  }
}

class NotHonoured extends Error {}

const TOKEN =
  /\s+|([[\]()=,])|(!=|<=|>=|<|>)|'((?:[^'\\]|\\.)*)'|([A-Za-z_][\w-]*:(?:[\w.-]|'[^']*'|"[^"]*"|\[[^\]]*\])+)|([A-Za-z]+)|(-?[\d.]+)/gy;

type Token = { readonly kind: "mark" | "operator" | "text" | "path" | "word" | "number"; readonly value: string };

function tokensOf(pattern: string): Token[] {
  const tokens: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < pattern.length) {
    const from = TOKEN.lastIndex;
    const found = TOKEN.exec(pattern);
    if (!found) throw new NotHonoured(`its pattern cannot be read from character ${from + 1} on`);
    const [, mark, operator, text, path, word, number] = found;
    if (mark !== undefined) tokens.push({ kind: "mark", value: mark });
    else if (operator !== undefined) tokens.push({ kind: "operator", value: operator });
    else if (text !== undefined) tokens.push({ kind: "text", value: text.replaceAll(/\\(.)/g, "$1") });
    else if (path !== undefined) tokens.push({ kind: "path", value: path });
    else if (word !== undefined) tokens.push({ kind: "word", value: word.toUpperCase() });
    else if (number !== undefined) tokens.push({ kind: "number", value: number });
  }
  return tokens;
}

/** Alternatives; undefined: something that only narrows down what stands beside it. */
type Alternatives = readonly (Indicator | Unusable)[] | undefined;

/** The surest sign first. */
const rank: Readonly<Record<IndicatorKind, number>> = { sha256: 0, url: 1, path: 2, address: 3, domain: 4, name: 5 };
const rankOf = (alternatives: readonly (Indicator | Unusable)[]): number =>
  Math.max(...alternatives.map((one) => ("why" in one ? 9 : rank[one.kind])));

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  pattern(): (Indicator | Unusable)[] {
    const all = this.#observations();
    const left = this.#tokens[this.#at];
    if (left?.kind === "word")
      throw new NotHonoured(`${left.value} between observations asks when things happen: write a Sigma correlation rule for that`);
    if (left) throw new NotHonoured(`its pattern cannot be read from ${JSON.stringify(left.value)} on`);
    return all;
  }

  #observations(): (Indicator | Unusable)[] {
    const all = [...this.#observation()];
    while (this.#takes("word", "OR")) all.push(...this.#observation());
    return all;
  }

  #observation(): (Indicator | Unusable)[] {
    this.#deeper();
    const isGroup = this.#takes("mark", "(");
    if (!isGroup) this.#expect("[");
    const found = isGroup ? this.#observations() : this.#or();
    this.#expect(isGroup ? ")" : "]");
    this.#depth--;
    if (!found) throw new NotHonoured("its pattern compares nothing that devices tell");
    return [...found];
  }

  #or(): Alternatives {
    let all = this.#and();
    while (this.#takes("word", "OR")) {
      const other = this.#and();
      if (!all || !other) throw new NotHonoured("one of its alternatives compares nothing that devices tell");
      all = [...all, ...other];
    }
    return all;
  }

  /** Both are to be true: what is the surest sign decides, and what it stands beside is not looked at. */
  #and(): Alternatives {
    let best = this.#comparison();
    while (this.#takes("word", "AND")) {
      const other = this.#comparison();
      if (best && other && rankOf(best) === rankOf(other) && rankOf(best) < 9)
        throw new NotHonoured("two things of the same kind at once (AND) are more than one value can say");
      if (!best || (other && rankOf(other) < rankOf(best))) best = other;
    }
    return best;
  }

  #comparison(): Alternatives {
    if (this.#takes("mark", "(")) {
      this.#deeper();
      const found = this.#or();
      this.#expect(")");
      this.#depth--;
      return found;
    }
    const path = this.#next("path").value;
    const token = this.#tokens[this.#at++];
    const operator = token?.value ?? "nothing";
    if (operator !== "=" && operator !== "IN")
      throw new NotHonoured(`${operator} is no comparison with a value: only = and IN are matched (for others write a Sigma rule)`);
    const values = operator === "=" ? [this.#literal()] : this.#set();
    return meaningOf(path, values);
  }

  #set(): string[] {
    this.#expect("(");
    const values = [this.#literal()];
    while (this.#takes("mark", ",")) values.push(this.#literal());
    this.#expect(")");
    return values;
  }

  #literal(): string {
    const token = this.#tokens[this.#at++];
    if (token?.kind === "text" || token?.kind === "number" || token?.kind === "word") return token.value;
    throw new NotHonoured("its pattern lacks a value");
  }

  #takes(kind: Token["kind"], value: string): boolean {
    const token = this.#tokens[this.#at];
    if (token?.kind !== kind || token.value !== value) return false;
    this.#at++;
    return true;
  }

  #expect(mark: string): void {
    if (!this.#takes("mark", mark))
      throw new NotHonoured(`its pattern lacks a ${JSON.stringify(mark)}, or has what cannot be honoured in its place`);
  }

  #next(kind: Token["kind"]): Token {
    const token = this.#tokens[this.#at++];
    if (token?.kind !== kind)
      throw new NotHonoured(`its pattern has ${JSON.stringify(token?.value ?? "its end")} where a property belongs`);
    return token;
  }

  #deeper(): void {
    if (++this.#depth > MAX_DEPTH) throw new NotHonoured("its pattern is nested too deeply");
  }
}

/** Properties that make another comparison narrower: without them more matches, never less. */
const NARROWING =
  /^(file:(size|parent_directory_ref\.path|mime_type|name_enc)|network-traffic:(dst_port|src_port|protocols(\[\*?\d*\])?)|x-[\w-]+:.*)$/;

function meaningOf(path: string, values: readonly string[]): Alternatives {
  const plain = path.replaceAll(/["']/g, "").toLowerCase();
  const hash = /^file:(?:content_ref\.)?hashes\.(.+)$/.exec(plain)?.[1]?.replace("sha-", "sha");
  if (hash === "sha256") return values.map((value) => canonical("sha256", value));
  if (hash !== undefined)
    return values.map(() => ({
      why: `a file's ${hash.toUpperCase()} cannot be matched: it needs the SHA-256, which is what devices report`,
    }));
  if (/^ipv[46]-addr:value$/.test(plain)) return values.map((value) => canonical("address", value));
  if (/^network-traffic:(dst|src)_ref\.value$/.test(plain)) return values.map((value) => recognise(value));
  if (plain === "domain-name:value") return values.map((value) => canonical("domain", value));
  if (plain === "url:value") return values.map((value) => canonical("url", value));
  if (plain === "file:name") return values.map((value) => canonical("name", value));
  if (plain === "file:path") return values.map((value) => canonical("path", value));
  if (NARROWING.test(plain)) return undefined;
  throw new NotHonoured(`${path.slice(0, 80)} is nothing that devices tell`);
}
