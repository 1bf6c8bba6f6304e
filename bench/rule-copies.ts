// More rules than anybody has written yet: copies that ask for other words of the same programs, and match nothing of the workload.
import type { SensorEvent } from "../protocol/event.ts";
import { compileRules, type Rule } from "../rules/engine.ts";
import type { Condition, FieldTest } from "../rules/rule.ts";
import { needsOf } from "../rules/sigma/literals.ts";

/** `rules` and, for each of them, `times - 1` copies. A copy keeps the names of programs unless it would then match one of `sample`. */
export function withCopies(rules: readonly Rule[], times: number, sample: readonly SensorEvent[]): Rule[] {
  const all = [...rules];
  for (let turn = 1; turn < times; turn++) {
    const sameNames = compileRules(rules.map((rule, at) => copyOf(rule, at, turn, true)));
    const matched = new Set(sample.flatMap((event) => sameNames.match(event).map(({ id }) => id)));
    all.push(
      ...rules.map((rule, at) => {
        const copy = copyOf(rule, at, turn, true);
        return matched.has(copy.id) ? copyOf(rule, at, turn, false) : copy;
      }),
    );
  }
  return all;
}

/** Fields in which an audit rule names a program. */
const auditPrograms: ReadonlySet<string> = new Set(["a0", "comm", "exe"]);
/** Fields that say what kind of event is meant: another word would make a rule that never fires. */
const ofKind: ReadonlySet<string> = new Set(["Initiated", "type", "SYSCALL", "syscall", "nametype", "key", "Source"]);

function copyOf(rule: Rule, at: number, turn: number, keepNames: boolean): Rule {
  const condition = turned(rule.detection.condition, turn, keepNames);
  return { ...rule, id: `copy-${turn}-${at}`, title: `${rule.title} (${turn})`, detection: { ...rule.detection, condition } };
}

function turned(of: Condition, turn: number, keepNames: boolean): Condition {
  switch (of.op) {
    case "constant":
      return of;
    case "and":
    case "or":
      return { op: of.op, of: of.of.map((part) => turned(part, turn, keepNames)) };
    case "not":
      return { op: "not", of: turned(of.of, turn, keepNames) };
    case "field":
      if (keepNames && (of.field.endsWith("Image") || auditPrograms.has(of.field))) return of;
      if (ofKind.has(of.field)) return of;
      return { ...of, tests: of.tests.map((test) => turnedTest(test, turn)) };
    case "keyword":
      return { ...of, test: turnedTest(of.test, turn) };
  }
}

function turnedTest(test: FieldTest, turn: number): FieldTest {
  if ("text" in test) return { ...test, text: rotate(test.text, turn) };
  if (test.kind === "glob") return { ...test, parts: test.parts.map((part) => part.map((char) => char && rotate(char, turn))) };
  if (test.kind !== "regex") return test;
  // Words only: an escape or a range of letters must stay what it is.
  const source = test.source.replaceAll(/\\x..|\\.|[A-Za-z]{3,}/g, (word) => (word.startsWith("\\") ? word : rotate(word, turn)));
  const { literals, atLeast } = needsOf(source);
  return { kind: "regex", source, flags: test.flags, ...(literals.length > 0 && { literals }), ...(test.atLeast && { atLeast }) };
}

/** Each letter and digit replaced by the one `turn` places on. */
const rotate = (text: string, turn: number): string =>
  text.replaceAll(/[a-z0-9]/gi, (char) => {
    const [first, count] = char >= "a" ? [97, 26] : char >= "A" ? [65, 26] : [48, 10];
    return String.fromCharCode(first + ((char.charCodeAt(0) - first + turn) % count));
  });
