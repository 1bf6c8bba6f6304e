// `picket rules list` and `show`: the rules a site runs, where each comes from, and what was counted of it.

import type { Device } from "@picket/protocol/rest";
import type { ListedRule } from "@picket/protocol/rule-list";
import { coverageOf } from "@picket/rules/coverage";
import type { Rule } from "@picket/rules/rule";
import { dateWords } from "@picket/tui/words";
import { type Command, Option } from "commander";
import { siteOf } from "../access.ts";
import { Failure } from "../failure.ts";
import { plural, printJson, printLine, printTable } from "../output.ts";

type ListOptions = {
  readonly json?: boolean;
  readonly tactic?: string;
  readonly level?: ListedRule["level"];
  readonly engine?: ListedRule["engine"];
  readonly source?: ListedRule["source"];
  readonly noisy?: boolean;
};
type Shares = { readonly live: number; readonly degraded: number; readonly dead: number };

const levels: readonly ListedRule["level"][] = ["critical", "high", "medium", "low", "informational"];

/** Adds them to the command `rules`. */
export function addRulesList(rules: Command): void {
  rules
    .command("list")
    .description("list the rules that the site and its devices run, with what was counted of each")
    .option("--tactic <name>", "of this ATT&CK tactic, such as credential-access")
    .addOption(new Option("--level <level>", "of this level").choices(levels))
    .addOption(new Option("--engine <engine>", "of this engine").choices(["sigma", "correlation"]))
    .addOption(
      new Option("--source <source>", "from there: shipped with Picket, a file of the site, or only in a pack").choices([
        "shipped",
        "site",
        "pack",
      ]),
    )
    .option("--noisy", "only those that match nearly everything somewhere")
    .option("--json", "one JSON object: { version, readMs, rules: [...], troubles: [...] }")
    .addHelpText(
      "after",
      "\nmatches: in the last day, of all devices; alerts: of the last day.\n\nExamples:\n  picket rules list\n  picket rules list --tactic persistence --level high\n  picket rules list --json | jq -r '.rules[] | select(.matches.week == 0) | .id'",
    )
    .action((options: ListOptions, command: Command) => list(options, command));
  rules
    .command("show")
    .description("show one rule: what it is, where it comes from, which devices can see it, and how often it matched")
    .argument("<id>", "id of the rule, or its beginning")
    .option("--json", "one JSON object")
    .addHelpText("after", "\nExamples:\n  picket rules show 9e71b33d\n  picket rules show 9e71b33d-70c0-56e0-9f28-a18c94316997 --json")
    .action((id: string, options: { json?: boolean }, command: Command) => show(id, options, command));
}

async function list(options: ListOptions, command: Command): Promise<void> {
  const found = await siteOf(command).call("rules");
  const { tactic, level, engine, source, noisy } = options;
  const rules = found.rules.filter(
    (rule) =>
      (tactic === undefined || rule.tactics.includes(tactic)) &&
      (level === undefined || rule.level === level) &&
      (engine === undefined || rule.engine === engine) &&
      (source === undefined || rule.source === source) &&
      (!noisy || rule.noisy !== undefined),
  );
  if (options.json) return printJson({ ...found, rules });
  if (found.version === undefined) printLine("The detector has not said yet what it runs: is it connected? `picket doctor` knows.");
  else
    printLine(`Version ${found.version}, read ${dateWords(found.readMs ?? 0)}: ${plural(rules.length, "rule")} of ${found.rules.length}`);
  const byLevel = rules.toSorted((a, b) => levels.indexOf(a.level) - levels.indexOf(b.level) || (a.title < b.title ? -1 : 1));
  if (rules.length > 0)
    printTable(
      ["id", "level", "engine", "from", "matches", "alerts", "state", "title"],
      byLevel.map((rule) => [
        rule.id,
        rule.level,
        rule.engine,
        rule.source,
        String(rule.matches.day),
        String(rule.alertCount.day),
        stateOf(rule),
        rule.title,
      ]),
    );
  for (const { file, line, message } of found.troubles) printLine(`${file}:${line}: not used: ${message}`);
}

function stateOf({ noisy, packs, source }: ListedRule): string {
  const words = [
    ...(noisy ? [`NOISY on ${plural(noisy.devices.length, "device")}`] : []),
    ...(packs.some(({ is }) => is === "disables") ? ["switched off on devices"] : []),
    ...(packs.some(({ is }) => is === "carries") ? [source === "shipped" ? "replaced on devices" : "in a pack"] : []),
  ];
  return words.join(", ") || "-";
}

async function show(id: string, options: { json?: boolean }, command: Command): Promise<void> {
  const client = siteOf(command);
  const { rules } = await client.call("rules");
  const exact = rules.filter((rule) => rule.id === id);
  const found = exact.length > 0 ? exact : rules.filter((rule) => rule.id.startsWith(id));
  const [rule] = found;
  if (!rule) throw new Failure(`this site has no rule ${JSON.stringify(id)}`, "`picket rules list` shows those there are.");
  if (found.length > 1)
    throw new Failure(
      `${plural(found.length, "rule")} begin with ${id}: ${found
        .slice(0, 5)
        .map((one) => one.id)
        .join(", ")}`,
      "Give more of it.",
    );
  const devices = sharesOf(rule, (await client.call("devices")).devices);
  if (options.json) return printJson({ ...rule, devices });
  for (const line of linesOf(rule, devices)) printLine(line);
}

function linesOf(rule: ListedRule, devices: Shares | undefined): string[] {
  const { noisy } = rule;
  return [
    `${rule.title}`,
    `  id        ${rule.id}, version ${rule.version}`,
    `  level     ${rule.level}${rule.alerts ? "" : ", only adds to the score of the process"}`,
    `  from      ${rule.source === "site" ? rule.file : rule.source}, ${rule.engine}`,
    ...rule.packs.map(
      ({ dev, version, is }) =>
        `  pack      version ${version} ${dev === "*" ? "for the whole site" : `for ${dev}`} ${is === "disables" ? "switches it off on devices" : rule.source === "shipped" ? "brings devices another in its place" : "brings it to devices"}`,
    ),
    `  ATT&CK    ${[...rule.tactics, ...rule.techniques].join(", ") || "-"}`,
    ...(devices ? [`  devices   ${devices.live} see all it needs, ${devices.degraded} a part, ${devices.dead} nothing`] : []),
    `  matches   ${rule.matches.day} in the last day, ${rule.matches.week} in the last week`,
    `  alerts    ${rule.alertCount.day} in the last day, ${rule.alertCount.week} in the last week`,
    ...(noisy
      ? [
          `  NOISY     ${noisy.muted} matches left out lately: ${noisy.devices.map(({ device, muted }) => `${device} ${muted}`).join(", ")}`,
          "            Narrow it, or except what it should not see; it speaks again by itself once it matches less.",
        ]
      : []),
    ...(rule.todo === undefined ? [] : [`  to do     ${rule.todo}`]),
  ];
}

/** How many devices of the site bring what the rule looks at; undefined where that is not told. */
function sharesOf({ events }: ListedRule, devices: readonly Device[]): Shares | undefined {
  if (events.length === 0) return undefined;
  const rule = { detection: { events } } as unknown as Rule;
  const shares = { live: 0, degraded: 0, dead: 0 };
  for (const { trust, status } of devices) {
    if (trust === "revoked") continue;
    const { live, degraded } = coverageOf([rule], status?.capabilities ?? []);
    shares[live.length > 0 ? "live" : degraded.length > 0 ? "degraded" : "dead"]++;
  }
  return shares;
}
