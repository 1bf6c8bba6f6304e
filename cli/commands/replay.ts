// `picket replay`: what a site would have said about recorded events.

import { DetectorConfig } from "@picket/detector/config";
import { openTextRules, textEngine } from "@picket/detector/engines/yara/texts";
import { modelEngines } from "@picket/detector/models";
import { replay } from "@picket/detector/replay";
import { ruleSet } from "@picket/detector/rule-set";
import type { Alert } from "@picket/protocol/alert";
import { compileRules } from "@picket/rules/engine";
import { loadRules } from "@picket/rules/load";
import type { Command } from "commander";
import { collect } from "../arguments.ts";
import { plural } from "../output.ts";
import { readRecorded } from "../recorded-events.ts";

type Options = { readonly rules?: readonly string[]; readonly builtin: boolean; readonly json?: boolean };

/** Bad lines named one by one; the rest is only counted. */
const NAMED = 20;
const PROGRESS_EVERY = 500_000;

/** Adds `replay`. It sets `process.exitCode` to 1 when a line, a file or a rule could not be used. */
export function addReplay(program: Command): void {
  program
    .command("replay")
    .description("run recorded events through the detector's pipeline and print the alerts")
    .argument("<events...>", "NDJSON files of recorded events; - is standard input")
    .option("--rules <path>", "rule file or folder to add to the shipped rules; may be repeated", collect)
    .option("--no-builtin", "leave the shipped rules and models out")
    .option("--json", "each alert as one JSON line, and nothing else on stdout")
    .addHelpText(
      "after",
      "\nExits 1 when a line, a file or a rule could not be used.\n\nExamples:\n  picket replay events.ndjson\n  picket events --since 2d --limit 1000000 --json | picket replay - --rules my-rules/ --json",
    )
    .action(run);
}

async function run(files: readonly string[], options: Options): Promise<void> {
  const loaded = await loadRules(options.rules ?? []);
  let problems = 0;
  const complain = (at: { file: string; line: number; message: string }) => {
    process.exitCode = 1;
    if (++problems <= NAMED) console.error(printable(`${at.file}:${at.line}: error: ${at.message}`));
    else if (problems === NAMED + 1) console.error("further problems are only counted");
  };
  for (const problem of loaded.errors) complain(problem);
  const { rules, correlations } = ruleSet(options.builtin, loaded);

  const warn = (text: string) => console.error(printable(`warning: ${text}`));
  const createEngines = options.builtin
    ? await modelEngines(DetectorConfig.parse({}).models, (level, message, details) => {
        if (level !== "info") warn(`${message}: ${details?.problem}`);
      })
    : () => [];

  const startMs = performance.now();
  let events = 0;
  let alerts = 0;
  const onEvent = () => {
    if (++events % PROGRESS_EVERY === 0) console.error(`${events} events, ${rate(events, startMs)} events/s`);
  };
  const out = Bun.stdout.writer();
  const onProblem = (engine: string, error: unknown) => warn(`the engine ${engine} failed; its events are judged without it: ${error}`);
  await using texts = await openTextRules({
    packs: loaded.yara,
    builtin: options.builtin,
    log: (_, message, details) => warn(`${message}: ${details?.text ?? ""}`),
  });
  const engines = texts ? [...createEngines(), textEngine(async () => texts)] : createEngines();
  for await (const alert of replay(readRecorded(files, complain), {
    rules,
    correlations,
    matcher: compileRules(rules),
    engines,
    onProblem,
    onEvent,
  })) {
    alerts++;
    out.write(options.json ? `${JSON.stringify(alert)}\n` : `${describe(alert)}\n`);
  }
  await out.end();
  console.error(
    `${plural(events, "event")}, ${plural(alerts, "alert")}, ${plural(problems, "problem")}, ${plural(rules.length, "rule")}; ${rate(events, startMs)} events/s over the whole input`,
  );
}

const rate = (events: number, startMs: number) => Math.round(events / Math.max(1e-3, (performance.now() - startMs) / 1000));

function describe(alert: Alert): string {
  const techniques = alert.attack.techniques.join(" ");
  const times = alert.count > 1 ? ` x${alert.count}` : "";
  return printable(
    `${time(alert.timeMs)}  ${alert.severity.padEnd(8)} ${alert.device}  ${alert.rule.title}${times}  ${techniques}\n    ${alert.summary}`,
  );
}

/** Any whole number may stand in a recording; a Date holds less. */
const time = (ms: number) => (ms <= 8.64e15 ? new Date(ms).toISOString() : `${ms} ms`);

/** Recordings come from strangers: nothing of theirs may steer the terminal. */
const printable = (text: string) => Bun.stripANSI(text).replaceAll(/(?!\n)\p{Control}/gu, "\uFFFD");
