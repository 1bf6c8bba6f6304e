// `picket rules check`, `match` and `scan`: what a rule author runs before a rule meets a site.
import { type CheckedYara, checkYara } from "@picket/detector/engines/yara/check";
import { builtinRules } from "@picket/rules/builtin";
import { compileRules, type Rule, type RuleProblem } from "@picket/rules/engine";
import { type LoadedRules, loadRules } from "@picket/rules/load";
import type { Command } from "commander";
import { collect } from "../arguments.ts";
import { plural } from "../output.ts";
import { type RecordedProblem, readRecorded } from "../recorded-events.ts";
import { addRulesList } from "./rules-list.ts";
import { addRulePacks } from "./rules-pack.ts";
import { addScan } from "./rules-scan.ts";

/** Adds `rules` with its subcommands. They set `process.exitCode` to 1 when a rule or an event is broken. */
export function addRules(program: Command): void {
  const rules = program.command("rules").description("check rules and try them on recorded events");
  rules
    .command("check")
    .description("parse rules and say what cannot be used, with file and line")
    .argument("<path...>", "rule files or folders: Sigma (.yml, .yaml) and YARA (.yar, .yara)")
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
  addScan(rules);
  addRulePacks(rules);
  addRulesList(rules);
}

async function check(paths: readonly string[], json: boolean): Promise<void> {
  const sigma = await loadRules(paths);
  const yara = sigma.yara.length > 0 ? await checkYara(sigma.yara) : undefined;
  const checked = report(sigma, yara);
  if (checked.errors.length > 0) process.exitCode = 1;
  if (json) console.log(JSON.stringify(checked));
  else {
    for (const problem of checked.errors) console.log(line(problem, "error"));
    for (const problem of checked.warnings) console.log(line(problem, "warning"));
    console.log(
      `${checked.loaded} of ${checked.rules} rules in ${plural(checked.files, "file")} can fire; ${plural(checked.errors.length, "error")}, ${plural(checked.warnings.length, "warning")}`,
    );
  }
}

/** The stable shape of `rules check --json`. */
const report = (sigma: LoadedRules, yara?: CheckedYara) => ({
  files: sigma.files + (yara?.files ?? 0),
  rules: sigma.documents + (yara?.rules ?? 0),
  loaded: sigma.rules.length + sigma.correlations.length + (yara?.loaded ?? 0),
  byFormat: { sigma: sigma.documents, yara: yara?.rules ?? 0 },
  errors: [...sigma.errors, ...(yara?.errors ?? [])],
  warnings: [...sigma.warnings, ...(yara?.warnings ?? [])],
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
