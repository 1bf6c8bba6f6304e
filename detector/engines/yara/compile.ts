// Rule files to one set of compiled rules. Runs in the Worker only: the compiler holds the thread for seconds with large packs.
import type { RuleFile, RuleProblem } from "@picket/rules/rule";
import { Compiler, type Rules } from "@virustotal/yara-x";
import { blank, offsetOf, type RuleSpan, ruleSpans } from "./source.ts";

export type Compiled = {
  readonly rules: Rules;
  readonly loaded: number;
  readonly problems: readonly RuleProblem[];
  /** What was compiled of files that could not be compiled whole: with these in their place, the next time takes one pass. */
  readonly mended: readonly RuleFile[];
};
export type Checked = { readonly loaded: number; readonly total: number; readonly errors: RuleProblem[]; readonly warnings: RuleProblem[] };

/** Errors read of one file; whoever has more of them has another kind of file. */
const MAX_PROBLEMS_OF_FILE = 1000;

/**
 * Compiles every file in a namespace of its own, so that names may repeat from file to file. A rule that cannot be compiled is left out together with those that need it.
 * `begin` is told the index of each file before the compiler sees it. Whoever calls frees `rules`.
 */
export function compileFiles(files: readonly RuleFile[], begin: (index: number) => void): Compiled {
  const problems: RuleProblem[] = [];
  const good = [...files];
  for (;;) {
    using compiler = new Compiler();
    let failed = false;
    for (const [index, file] of good.entries()) {
      begin(index);
      compiler.newNamespace(file.file);
      try {
        compiler.addSource(file.text);
      } catch {
        // Its rules have to be left out and the compiler keeps the errors of all: it must start again.
        failed = true;
        const text = withoutBadRules(file, problems);
        // Fine alone and refused here: nothing to leave out but all of it.
        if (text === file.text)
          problems.push({ file: file.file, line: 1, message: "the file cannot be compiled together with the others" });
        good[index] = { file: file.file, text: text === file.text ? "" : text };
      }
    }
    if (failed) continue;
    const loaded = good.reduce((sum, { text }) => sum + ruleSpans(text).length, 0);
    return { rules: compiler.build(), loaded, problems, mended: good.filter((file, at) => file !== files[at]) };
  }
}

/** Checks every file alone, with the compiler's warnings. `begin` as above. */
export function checkFiles(files: readonly RuleFile[], begin: (index: number) => void): Checked {
  const errors: RuleProblem[] = [];
  const warnings: RuleProblem[] = [];
  let loaded = 0;
  let total = 0;
  for (const [index, file] of files.entries()) {
    begin(index);
    const rules = ruleSpans(file.text).length;
    total += rules;
    if (rules === 0) warnings.push({ file: file.file, line: 1, message: "the file holds no rule" });
    const text = withoutBadRules(file, errors);
    loaded += ruleSpans(text).length;
    using compiler = new Compiler();
    compiler.addSource(text);
    for (const warning of compiler.warnings.slice(0, MAX_PROBLEMS_OF_FILE)) warnings.push(plain(problemOf(file.file, warning)));
  }
  return { loaded, total, errors, warnings };
}

/** The text without the rules the compiler refuses; empty when what is wrong lies outside of rules. Adds what was wrong to `problems`. */
function withoutBadRules(file: RuleFile, problems: RuleProblem[]): string {
  let { text } = file;
  // Each round leaves something out, and rules that need what was left out fail in the next.
  for (;;) {
    const errors = errorsOf(text);
    if (errors.length === 0) return text;
    const spans = ruleSpans(text);
    const found = errors.slice(0, MAX_PROBLEMS_OF_FILE).map((error) => problemOf(file.file, error));
    problems.push(...found.map(plain));
    const out = found.map((problem) => culprit(text, spans, problem));
    if (out.includes(undefined)) return "";
    for (const span of out) text = blank(text, span!);
  }
}

function errorsOf(text: string): readonly string[] {
  using compiler = new Compiler();
  try {
    compiler.addSource(text);
    return [];
  } catch (error) {
    const { errors } = compiler;
    return errors.length > 0 ? errors : [String(error)];
  }
}

type Place = RuleProblem & { readonly column: number };

const plain = ({ file, line, message }: Place): RuleProblem => ({ file, line, message });

/** What must go: the rule around the place, or the import or include that stands there. */
function culprit(text: string, spans: readonly RuleSpan[], { line, column }: Place): Pick<RuleSpan, "start" | "end"> | undefined {
  const at = offsetOf(text, line, column);
  const span = spans.find(({ start, end }) => start <= at && at < end);
  if (span) return span;
  const statement = /\b(?:import|include)\s+"[^"\n]*"/y;
  statement.lastIndex = at;
  const found = statement.exec(text)?.[0];
  return found === undefined ? undefined : { start: at, end: at + found.length };
}

/** YARA-X reports as rustc does: a title, `--> line:L:C`, the source, and what is wrong under a row of carets. */
function problemOf(file: string, report: string): Place {
  const title = /^(?:error|warning)(?:\[\w+\])?: (.+)$/m.exec(report)?.[1] ?? report.split("\n", 1)[0]!.replace(/^Error: /, "");
  const [, line = "1", column = "1"] = /^\s*--> line:(\d+):(\d+)/m.exec(report) ?? [];
  const label = /\^+ (.+)$/m.exec(report)?.[1];
  const message = /^error[^\n]*including/.test(report)
    ? "include is not allowed: name the file or its folder instead"
    : label === undefined
      ? title
      : `${title}: ${label}`;
  return { file, line: Number(line), column: Number(column), message: message.slice(0, 500) };
}
