// Which rules an event can match at all, told by what stands in it: the cost of an event grows with the rules it resembles, not with all there are.
import type { Condition } from "../rule.ts";
import { type Clue, cluesOf, keyOf } from "./clues.ts";
import type { Getter } from "./fields.ts";
import { Grams, type Literal } from "./grams.ts";
import { Segments } from "./segments.ts";
import type { View } from "./view.ts";

/** Of a value that half of all events have. */
const EVERY_DAY = 100;
const everyDay: ReadonlySet<string> = new Set(["true", "false", "network_connect_4", "network_connect_6"]);

/** Half of all paths and command lines hold one of these. */
const everyPath = /^(sh|bash|\/?(usr|s?bin|var|etc|lib|opt|home)\/?)$/;

const costOfLength = [EVERY_DAY, 60, 30, 10, 3, 1.5, 1];

/** One field's texts, and the tables they are looked up in. */
type Lookup = { readonly slot: number; readonly get: Getter; readonly segments?: Segments; readonly grams?: Grams };
type Slot = { readonly slot: number; readonly get: Getter };

export class Shortlist {
  readonly #lookups: readonly Lookup[];
  readonly #always: readonly number[];
  /** Indexes of candidates; the first `#count` are of this event. */
  readonly candidates: Uint32Array;
  #count = 0;
  /** When each rule was last put on the list. */
  readonly #marked: Uint32Array;
  #stamp = 0;
  readonly #add: (ids: readonly number[]) => void;

  /** `slotOf` knows where the view keeps a field; it is asked for fields of `fields` only. */
  constructor(conditions: readonly Condition[], fields: ReadonlySet<string>, slotOf: (field: string) => Slot) {
    const costOf = costs(conditions, fields);
    const always: number[] = [];
    const byClue = new Map<string, { clue: Clue; ids: number[] }>();
    for (const [id, condition] of conditions.entries()) {
      const clues = cluesOf(condition, fields, costOf);
      if (!clues) always.push(id);
      for (const clue of clues ?? []) {
        const known = byClue.get(keyOf(clue));
        if (known) known.ids.push(id);
        else byClue.set(keyOf(clue), { clue, ids: [id] });
      }
    }
    this.#always = always;
    this.#lookups = lookups([...byClue.values()], slotOf);
    this.candidates = new Uint32Array(conditions.length);
    this.#marked = new Uint32Array(conditions.length);
    this.#add = (ids) => this.#put(ids);
  }

  /** How many rules can match the event of `view`: the first so many of `candidates`, in no order. The next call overwrites them. */
  look(view: View): number {
    this.#count = 0;
    // A stamp that comes round again would hide a rule.
    if (this.#stamp === 0xffffffff) this.#marked.fill(0);
    this.#stamp = this.#stamp === 0xffffffff ? 1 : this.#stamp + 1;
    this.#put(this.#always);
    for (const lookup of this.#lookups) {
      const texts = view.text(lookup.slot, lookup.get);
      if (typeof texts === "string") this.#search(lookup, texts);
      else if (texts) for (const text of texts) this.#search(lookup, text);
    }
    return this.#count;
  }

  #search({ segments, grams }: Lookup, text: string): void {
    segments?.search(text, this.#add);
    grams?.search(text, this.#add);
  }

  #put(ids: readonly number[]): void {
    for (const id of ids) {
      if (this.#marked[id] === this.#stamp) continue;
      this.#marked[id] = this.#stamp;
      this.candidates[this.#count++] = id;
    }
  }
}

function lookups(found: readonly { clue: Clue; ids: readonly number[] }[], slotOf: (field: string) => Slot): Lookup[] {
  const byField = new Map<string, { readonly names: Map<string, readonly number[]>; readonly literals: Literal[] }>();
  for (const { clue, ids } of found) {
    if (!byField.has(clue.field)) byField.set(clue.field, { names: new Map(), literals: [] });
    const of = byField.get(clue.field)!;
    if (clue.at === "segment") of.names.set(clue.text, ids);
    else of.literals.push({ text: clue.text, at: clue.at, ids });
  }
  return [...byField].map(([field, { names, literals }]) => ({
    ...slotOf(field),
    ...(names.size > 0 && { segments: new Segments(names) }),
    ...(literals.length > 0 && { grams: new Grams(literals) }),
  }));
}

/** How often a clue will put a rule on the list for nothing, roughly: names of programs are seen every day, and so is what many rules ask for. */
function costs(conditions: readonly Condition[], fields: ReadonlySet<string>): (clue: Clue) => number {
  const rulesWith = new Map<string, number>();
  for (const condition of conditions) {
    const seen = new Set<string>();
    eachClue(condition, fields, (clue) => seen.add(keyOf(clue)));
    for (const key of seen) rulesWith.set(key, (rulesWith.get(key) ?? 0) + 1);
  }
  return (clue) => (rulesWith.get(keyOf(clue)) ?? 1) * costOfKind(clue);
}

/** Every clue of the condition outside of its negations. */
function eachClue(condition: Condition, fields: ReadonlySet<string>, see: (clue: Clue) => void): void {
  if (condition.op === "and" || condition.op === "or") for (const part of condition.of) eachClue(part, fields, see);
  else for (const clue of cluesOf(condition, fields, () => 1) ?? []) see(clue);
}

function costOfKind({ at, text }: Clue): number {
  if (at === "segment") return everyDay.has(text) ? EVERY_DAY : 2;
  if (everyPath.test(text)) return EVERY_DAY;
  const cost = costOfLength[Math.min(text.length, costOfLength.length - 1)]!;
  // Endings that are not whole names are those of kinds of files.
  return at === "end" ? 2 * cost : cost;
}
