// `picket rules check` and `picket rules match`: what a rule author runs before a rule meets a site.
import { builtinRules } from "@picket/rules/builtin";
import { compileRules, type Rule, type RuleProblem } from "@picket/rules/engine";
import { type LoadedRules, loadRules } from "@picket/rules/load";
import type { Command } from "commander";
import { collect } from "../arguments.ts";
import { plural } from "../output.ts";
import { type RecordedProblem, readRecorded } from "../recorded-events.ts";

/** Adds `rules` with its subcommands. They set `process.exitCode` to 1 when a rule or an event is broken. */
export function addRules(program: Command): void {
  const rules = program.command("rules").description("check rules and try them on recorded events");
  rules
    .command("check")
    .description("parse rules and say what cannot be used, with file and line")
    .argument("<path...>", "rule files or folders (.yml, .yaml)")
    .option("--json", "one JSON object: { files, rules, loaded, byFormat, errors, warnings }")
    .addHelpText(
      "after",
      "\nExits 1 when a file has an error; one bad rule never stops the others.\n\nExample:\n  picket rules check my-rules/",
    )
    .action(async (paths: string[], options: { json?: boolean }) => check(paths, options.json ?? false));
  rules
    .command("match")
    .description("print which single-event rules match each recorded event")
    .argument("<events...>", "NDJSON files of recorded events; - is standard input")
    .option("--rules <path>", "rule file or folder to add to the shipped rules; may be repeated", collect)
    .option("--no-builtin", "leave the shipped rules out")
    .option("--json", "one JSON object a line: { id, matches }")
    .addHelpText(
      "after",
      "\nExamples:\n  picket rules match events.ndjson\n  picket events --since 1h --json | picket rules match - --rules my-rules/ --json",
    )
    .action(match);
}

async function check(paths: readonly string[], json: boolean): Promise<void> {
  const loaded = await loadRules(paths);
  if (loaded.errors.length > 0) process.exitCode = 1;
  if (json) console.log(JSON.stringify(report(loaded)));
  else {
    for (const problem of loaded.errors) console.log(line(problem, "error"));
    for (const problem of loaded.warnings) console.log(line(problem, "warning"));
    console.log(
      `${loaded.rules.length} of ${loaded.documents} rules in ${plural(loaded.files, "file")} can fire; ${plural(loaded.errors.length, "error")}, ${plural(loaded.warnings.length, "warning")}`,
    );
  }
}

/** The stable shape of `rules check --json`. */
export const report = ({ files, documents, rules, errors, warnings }: LoadedRules) => ({
  files,
  rules: documents,
  loaded: rules.length,
  byFormat: { sigma: documents, yara: 0 },
  errors,
  warnings,
});

type MatchOptions = { readonly rules?: readonly string[]; readonly builtin: boolean; readonly json?: boolean };

async function match(events: readonly string[], options: MatchOptions): Promise<void> {
  const loaded = await loadRules(options.rules ?? []);
  for (const problem of loaded.errors) complain(line(problem, "error"));
  const matcher = compileRules(together(options.builtin ? builtinRules() : [], loaded.rules));
  const onProblem = (problem: RecordedProblem) => complain(line(problem, "error"));
  const out = Bun.stdout.writer();
  for await (const { id, event } of readRecorded(events, onProblem)) {
    const matches = matcher.match(event);
    if (options.json) out.write(`${JSON.stringify({ id, matches: matches.map((rule) => rule.id) })}\n`);
    else if (matches.length > 0) out.write(`${printable(`${id}  ${matches.map(short).join("; ")}`)}\n`);
  }
  await out.end();
}

const short = (rule: Rule) => `${rule.level} ${rule.title} (${rule.id})`;

/** A rule given on the command line replaces the shipped one of the same id. */
function together(shipped: readonly Rule[], given: readonly Rule[]): Rule[] {
  const ids = new Set(given.map((rule) => rule.id));
  return [...shipped.filter((rule) => !ids.has(rule.id)), ...given];
}

function complain(text: string): void {
  console.error(text);
  process.exitCode = 1;
}

const line = ({ file, line, message }: RuleProblem, kind: string) => printable(`${file}:${line}: ${kind}: ${message}`);

/** Rules and events come from strangers: nothing of theirs may steer the terminal. */
const printable = (text: string) => Bun.stripANSI(text).replaceAll(/\p{Control}/gu, "\uFFFD");
