// `%name%` in values with the modifier `expand`: what the site put in for it.
import type { RuleProblem } from "../rule.ts";
import { get, RuleError, type Yaml } from "./yaml.ts";

/** What each name stands for: texts as values of a rule are, wildcards and all. */
export type Placeholders = ReadonlyMap<string, readonly string[]>;

/** Of one value: several placeholders in it multiply. */
const MAX_FORMS = 1000;
const MAX_NAMES = 1000;

const NAME = /^[A-Za-z0-9_.-]{1,64}$/;

/** Adds what a document `placeholders: { name: value or list }` defines. A name belongs to the document that was first to define it. */
export function readPlaceholders(file: string, root: Yaml, into: Map<string, readonly string[]>, errors: RuleProblem[]): void {
  const node = get(root, "placeholders");
  const fail = (line: number, message: string) => errors.push({ file, line, message });
  if (node?.kind !== "map") {
    fail(node?.line ?? root.line, "placeholders must be a map of names and values, such as: placeholders: { admins: [root, ada] }");
    return;
  }
  for (const { key, line, value } of node.entries) {
    const items = value.kind === "list" ? value.items : [value];
    const texts = items.flatMap((item) => (item.kind === "scalar" ? [item.text] : []));
    if (!NAME.test(key)) fail(line, `placeholder "${key.slice(0, 80)}": a name has letters, digits, _, . and -`);
    else if (into.has(key)) fail(line, `placeholder "${key}" is already defined; only the first counts`);
    else if (texts.length === 0 || texts.length < items.length) fail(line, `placeholder "${key}" must be a text or a list of texts`);
    else if (into.size >= MAX_NAMES) fail(line, `more than ${MAX_NAMES} placeholders`);
    else into.set(key, texts);
  }
}

/** `text` with each placeholder replaced by each of its values. Throws RuleError; `unknown` makes the error for a name nobody defined. */
export function expand(text: string, placeholders: Placeholders, line: number, unknown: (name: string) => Error): string[] {
  let forms = [""];
  let from = 0;
  for (const found of text.matchAll(/(?<!\\)%([A-Za-z0-9_.-]{1,64})%/g)) {
    const values = placeholders.get(found[1]!);
    if (!values) throw unknown(found[1]!);
    if (forms.length * values.length > MAX_FORMS)
      throw new RuleError(line, `more than ${MAX_FORMS} values for one placeholder text: split it`);
    const before = text.slice(from, found.index);
    forms = forms.flatMap((form) => values.map((value) => form + before + value));
    from = found.index + found[0].length;
  }
  return forms.map((form) => form + text.slice(from));
}
