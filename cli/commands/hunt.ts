// `picket hunt`: a rule over what the site has stored.
import { existsSync } from "node:fs";
import { type Hit, type Hunt, huntSequence, huntTogether, sequences } from "@picket/detector/hunt";
import type { SigmaSet } from "@picket/detector/rule-set";
import { builtinRules } from "@picket/rules/builtin";
import { builtinCorrelations } from "@picket/rules/correlation/builtin";
import { parseRules, type RuleProblem } from "@picket/rules/engine";
import { loadRules, shipped } from "@picket/rules/load";
import { eventWords } from "@picket/tui/event-words";
import { dateWords } from "@picket/tui/words";
import type { Command } from "commander";
import { homeOf, readAccess, siteOf } from "../access.ts";
import { device, since } from "../arguments.ts";
import { durationText } from "../duration.ts";
import { Failure } from "../failure.ts";
import { plural, printJson, printLine, progress } from "../output.ts";
import { siteLog } from "../site-log.ts";
import { untilInterrupted } from "../until.ts";

const WEEK_MS = 7 * 86_400_000;
/** How often it says how far it is. Elsewhere than on a terminal each time is a line. */
const TELL_MS = { terminal: 200, lines: 5000 };

type Options = { readonly since?: number; readonly device?: string; readonly json?: boolean };

export function addHunt(program: Command): void {
  program
    .command("hunt")
    .description("run a rule over the events the site has stored, and print what it finds")
    .argument("<rule>", "a Sigma file or folder, the id of a rule Picket ships, or - for a rule on standard input")
    .option("--since <time>", "what the site received since then: 30m, 24h, 7d, or a date (default: 7d)", since)
    .option("--device <id>", "only of this device", device)
    .option("--json", "one hit a line (NDJSON), and nothing else on stdout")
    .addHelpText(
      "after",
      "\nProgress and a summary go to stderr. Ctrl-C stops it, says where, and is no error.\nNothing at the site changes: a hunt makes no alerts there.\n\nExamples:\n  picket hunt my-rules/new-ioc.yml\n  picket hunt my-rules/ --since 30d --json > hits.ndjson\n  picket hunt picket-chain-reverse-shell --device gw-014\n  cat advisory.yml | picket hunt - --since 24h",
    )
    .action(async (rule: string, options: Options, command: Command) => hunt(await huntFor(rule), options, command));
}

async function hunt(hunting: Hunt, options: Options, command: Command): Promise<void> {
  const access = readAccess(homeOf(command));
  const stop = untilInterrupted();
  const sinceMs = options.since ?? Date.now() - WEEK_MS;
  const beganMs = performance.now();
  using line = progress(process.stderr);
  const tellEveryMs = process.stderr.isTTY ? TELL_MS.terminal : TELL_MS.lines;
  let toldMs = beganMs;
  let total = 0;
  let hits = 0;
  let readTo: number | undefined;
  const print = (found: readonly Hit[]) => {
    hits += found.length;
    for (const hit of found) printHit(hit, options.json ?? false);
  };
  for await (const { item, batch } of siteLog(access, { sinceMs, device: options.device }, stop)) {
    if (stop.aborted) break;
    if (item.kind === "range") total = item.events;
    if (item.kind !== "batch") continue;
    print(hunting.take(batch, item.receivedMs));
    readTo = item.receivedMs;
    if (performance.now() - toldMs < tellEveryMs) continue;
    toldMs = performance.now();
    line.say(
      `${hunting.events} of ${total} events, ${rate(hunting, beganMs)} events/s, ${plural(hits, "hit")}, ${leftOf(hunting, total, beganMs)} left`,
    );
    // Ctrl-C is heard between batches.
    await new Promise((resolve) => setImmediate(resolve));
  }
  print(hunting.rest());
  line[Symbol.dispose]();
  // Nothing found on a device that is not there would read like an answer.
  if (hunting.events === 0 && options.device !== undefined && !stop.aborted)
    await siteOf(command).call("device", { params: { id: options.device } });
  const refused = hunting.refused > 0 ? `, ${plural(hunting.refused, "event")} that could not be read` : "";
  console.error(`${plural(hunting.events, "event")}, ${plural(hits, "hit")}${refused}; ${rate(hunting, beganMs)} events/s`);
  if (!stop.aborted) return;
  const where = readTo === undefined ? "before the first batch" : `after what the site received until ${new Date(readTo).toISOString()}`;
  console.error(`stopped ${where}; the rest was not looked at (--since that time goes on)`);
}

const rate = ({ events }: Hunt, beganMs: number) => Math.round(events / Math.max(1e-3, (performance.now() - beganMs) / 1000));

function leftOf(hunting: Hunt, total: number, beganMs: number): string {
  const perS = rate(hunting, beganMs);
  const leftS = perS === 0 ? 0 : Math.max(1, Math.round((total - hunting.events) / perS));
  return perS === 0 ? "some time" : durationText(leftS * 1000);
}

/** What to hunt for. Throws `Failure` when it is no rule, or one that cannot find an event. */
async function huntFor(asked: string): Promise<Hunt> {
  if (asked === "-") return huntTogether(usable(parseRules([{ file: "standard input", text: await Bun.stdin.text() }], shipped()), asked));
  if (sequences.some(({ id }) => id === asked)) return huntSequence(asked);
  const isAsked = ({ id }: { id: string }) => id === asked;
  // Asked for by its name, one that is only there for others is told too.
  const own = {
    rules: builtinRules().filter(isAsked),
    correlations: builtinCorrelations()
      .correlations.filter(isAsked)
      .map((one) => ({ ...one, part: false })),
  };
  if (own.rules.length + own.correlations.length > 0) return huntTogether(own);
  if (!existsSync(asked))
    throw new Failure(
      `there is no rule ${JSON.stringify(asked)}: neither a file nor the id of a rule Picket ships`,
      "`picket alert ID` names the rule of an alert; a rule of your own is named by its file.",
    );
  const loaded = await loadRules([asked]);
  if (loaded.yara.length > 0 && loaded.rules.length === 0)
    throw new Failure(`${asked} holds YARA rules, which look into files and not at events`, "`picket rules scan` tries them on files");
  return huntTogether(usable(loaded, asked));
}

function usable(of: SigmaSet & { errors: readonly RuleProblem[]; warnings: readonly RuleProblem[] }, asked: string): SigmaSet {
  const problems = [...of.errors, ...of.warnings].map(({ file, line, message }) => `${file}:${line}: ${message}`);
  if (of.rules.length + of.correlations.length === 0)
    throw new Failure(
      [`${asked === "-" ? "standard input" : asked} holds no rule that can find an event`, ...problems.slice(0, 10)].join("\n"),
      "`picket rules check` says what it would take",
    );
  for (const problem of problems) printError(problem);
  return of;
}

const printError = (problem: string) => console.error(`left out: ${problem.replaceAll(/\p{Control}/gu, " ")}`);

function printHit(hit: Hit, json: boolean): void {
  if (json) printJson(hit);
  else if ("event" in hit) {
    const { event, rule } = hit;
    printLine(
      `${dateWords(event.timeMs)}  ${event.device}  ${rule.level}  ${rule.title}  ${event.type}  ${eventWords(event)}  ${event.id}`,
    );
  } else {
    const { alert } = hit;
    printLine(`${dateWords(alert.timeMs)}  ${alert.device}  ${alert.severity}  ${alert.rule.title}  x${alert.count}  ${alert.summary}`);
  }
}
