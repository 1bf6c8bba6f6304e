// Rules to closures, for each event type apart. Which of them an event meets is told by shortlist.ts.
import type { EventType, SensorEvent } from "@picket/protocol/event";
import type { Condition, FieldTest, Matcher, Rule } from "../rule.ts";
import { recordFieldsOf } from "./auditd.ts";
import { fieldsOf, type Getter, isSearched } from "./fields.ts";
import { passesMissing } from "./reach.ts";
import { conditionOn } from "./records.ts";
import { lazyRegex } from "./regex.ts";
import { Shortlist } from "./shortlist.ts";
import { anyText, compare, containsAny, isText, type TextTest, wantsCase } from "./tests.ts";
import { type Texts, View } from "./view.ts";

type Check = (view: View) => boolean;

/** The rules of one event type. */
type TypeRules = { readonly rules: readonly Rule[]; readonly checks: readonly Check[]; readonly shortlist: Shortlist };

const none: readonly Rule[] = Object.freeze([]);

/** Rules become code when the first event of a type they look at comes; the matcher is called for every event and keeps nothing between two of them. */
export function compileRules(rules: readonly Rule[]): Matcher {
  const view = new View();
  const asked = new Set(rules.flatMap((rule) => rule.detection.events));
  const types = new Map<EventType, TypeRules>();
  return {
    match(event: SensorEvent): readonly Rule[] {
      if (!asked.has(event.type)) return none;
      let mine = types.get(event.type);
      if (!mine) {
        mine = compileType(rules, event.type, view);
        types.set(event.type, mine);
      }
      view.look(event);
      const count = mine.shortlist.look(view);
      return count === 0 ? none : passing(mine, count, view);
    },
  };
}

function passing({ rules, checks, shortlist }: TypeRules, count: number, view: View): readonly Rule[] {
  let found: number[] | undefined;
  for (let at = 0; at < count; at++) {
    const id = shortlist.candidates[at]!;
    if (!checks[id]!(view)) continue;
    if (found) found.push(id);
    else found = [id];
  }
  if (!found) return none;
  if (found.length > 1) found.sort((a, b) => a - b);
  return found.map((id) => rules[id]!);
}

function compileType(rules: readonly Rule[], type: EventType, view: View): TypeRules {
  const slots = new Slots(type, view);
  const own = rules.filter((rule) => rule.detection.events.includes(type));
  const conditions = own.map((rule) => conditionOn(type, rule.detection));
  return {
    rules: own,
    checks: conditions.map((condition) => checkOf(condition, slots)),
    shortlist: new Shortlist(conditions, new Set([...fieldsOf(type).keys(), ...recordFieldsOf(type).keys()]), (field) => slots.of(field)!),
  };
}

/** Fields of one event type, each with its place in the view. */
class Slots {
  readonly #slots = new Map<string, { slot: number; get: Getter }>();
  readonly type: EventType;
  readonly #view: View;

  constructor(type: EventType, view: View) {
    this.type = type;
    this.#view = view;
  }

  /** Undefined where this event type lacks the field: a rule may cover several types. */
  of(field: string): { slot: number; get: Getter } | undefined {
    const get = fieldsOf(this.type).get(field) ?? recordFieldsOf(this.type).get(field);
    if (!get) return undefined;
    const known = this.#slots.get(field) ?? { slot: this.#view.slot(), get };
    this.#slots.set(field, known);
    return known;
  }

  all() {
    return [...fieldsOf(this.type).keys()].filter(isSearched).map((name) => this.of(name)!);
  }
}

function checkOf(condition: Condition, slots: Slots): Check {
  switch (condition.op) {
    case "constant":
      return () => condition.value;
    case "not": {
      const check = checkOf(condition.of, slots);
      return (view) => !check(view);
    }
    case "and":
      return allOf(cheapestFirst(condition.of).map((part) => checkOf(part, slots)));
    case "or":
      return anyOf(cheapestFirst(condition.of).map((part) => checkOf(part, slots)));
    case "field":
      return fieldCheck(condition.field, condition.tests, slots);
    case "keyword":
      return keywordCheck(condition.test, slots);
  }
}

function allOf(checks: readonly Check[]): Check {
  const [first, second] = checks;
  if (checks.length === 2) return (view) => first!(view) && second!(view);
  return (view) => {
    for (const check of checks) if (!check(view)) return false;
    return true;
  };
}

function anyOf(checks: readonly Check[]): Check {
  return (view) => {
    for (const check of checks) if (check(view)) return true;
    return false;
  };
}

/** The order of `and` and `or` changes no result, only how much is tried. */
const cheapestFirst = (parts: readonly Condition[]) => parts.toSorted((a, b) => cost(a) - cost(b));

function cost(condition: Condition): number {
  switch (condition.op) {
    case "constant":
      return 0;
    case "not":
      return cost(condition.of);
    case "and":
    case "or":
      return condition.of.reduce((sum, part) => sum + cost(part), 0);
    case "keyword":
      return 500;
    case "field":
      return condition.tests.reduce((sum, test) => sum + costOf(test), 0);
  }
}

const costOf = (test: FieldTest) =>
  isRegex(test) && test.literals ? test.literals.flat().length * testCost.contains + 2 : testCost[test.kind];

const testCost: Record<FieldTest["kind"], number> = {
  equals: 0.2,
  endswith: 0.5,
  startswith: 1,
  exists: 1,
  null: 1,
  compare: 3,
  time: 10,
  contains: 5,
  fieldref: 5,
  glob: 10,
  cidr: 20,
  regex: 100,
};

function fieldCheck(field: string, tests: readonly FieldTest[], slots: Slots): Check {
  const at = slots.of(field);
  if (!at) return tests.some(passesMissing) ? () => true : () => false;
  const { slot, get } = at;
  const texts = tests.filter(isText);
  const checks: Check[] = [];
  const exact = texts.filter((test) => wantsCase(test) && !(isRegex(test) && isPromised(test)));
  const folded = texts.filter((test) => !wantsCase(test));
  if (folded.length > 0) checks.push(onTexts((view) => view.lower(slot, get), anyText(folded)));
  if (exact.length > 0) checks.push(onTexts((view) => view.text(slot, get), anyText(exact)));
  for (const test of tests) {
    if (isRegex(test)) {
      if (isPromised(test)) checks.push(regexCheck(at, test));
    } else if (test.kind === "null") checks.push((view) => view.value(slot, get) === undefined);
    else if (test.kind === "exists") checks.push((view) => (view.value(slot, get) !== undefined) === test.wanted);
    else if (test.kind === "fieldref") checks.push(referenceCheck(at, test, slots));
  }
  return checks.length === 1 ? checks[0]! : anyOf(checks);
}

type RegexTest = Extract<FieldTest, { kind: "regex" }>;
const isRegex = (test: FieldTest): test is RegexTest => test.kind === "regex";
/** Whether something cheaper than the expression can tell that most texts do not match. */
const isPromised = (test: RegexTest) => test.literals !== undefined || test.atLeast !== undefined;

/** First what every match needs. */
function regexCheck({ slot, get }: { slot: number; get: Getter }, { source, flags, literals = [], atLeast = 0 }: RegexTest): Check {
  const lists = literals.map(containsAny);
  const hasAll = (text: string) => lists.every((list) => list(text));
  const possible = onTexts(
    (view) => view.folded(slot, get),
    (text) => text.length >= atLeast && hasAll(text),
  );
  const certain = onTexts((view) => view.text(slot, get), lazyRegex(source, flags));
  return (view) => possible(view) && certain(view);
}

function onTexts(read: (view: View) => Texts, test: TextTest): Check {
  return (view) => {
    const texts = read(view);
    if (typeof texts === "string") return test(texts);
    return texts?.some(test) ?? false;
  };
}

function referenceCheck(at: { slot: number; get: Getter }, test: Extract<FieldTest, { kind: "fieldref" }>, slots: Slots): Check {
  const other = slots.of(test.field);
  if (!other) return () => false;
  const list = (texts: Texts) => (typeof texts === "string" ? [texts] : (texts ?? []));
  const read = (view: View, from: typeof at) => list(test.cased ? view.text(from.slot, from.get) : view.lower(from.slot, from.get));
  return (view) => read(view, at).some((mine) => read(view, other).some((wanted) => compare[test.how](mine, wanted)));
}

function keywordCheck(test: FieldTest, slots: Slots): Check {
  if (!isText(test)) return () => false;
  const matches = anyText([test]);
  const exact = wantsCase(test);
  return anyOf(slots.all().map(({ slot, get }) => onTexts((view) => (exact ? view.text(slot, get) : view.lower(slot, get)), matches)));
}
