// `picket model train | list | use`: the model a site learns from its own log.
import { accessSync, constants, existsSync } from "node:fs";
import { join } from "node:path";
import {
  currentVersion,
  isVersion,
  modelsFolder,
  readVersion,
  START,
  useVersion,
  versions,
  writeVersion,
} from "@picket/detector/engines/onnx/behaviour-folder";
import { energyAt } from "@picket/models/behaviour/calibration";
import { decodeModel, encodeModel, type Trained } from "@picket/models/behaviour/files";
import { type Learnt, learn } from "@picket/models/behaviour/learn";
import { startFiles } from "@picket/models/behaviour/start";
import { dateWords } from "@picket/tui/words";
import { type Command, InvalidArgumentError } from "commander";
import { siteOf } from "../access.ts";
import { since } from "../arguments.ts";
import { Failure } from "../failure.ts";
import { readMinutes } from "../minutes.ts";
import { plural, printJson, printLine, printTable, progress } from "../output.ts";
import { readSiteConfig } from "../site-config.ts";

/** A site that saw less has nothing usual yet. Minutes of devices. */
const LEAST_MINUTES = 1440;
const DAY_MS = 86_400_000;

type Where = { readonly config?: string; readonly dir?: string };
type TrainOptions = Where & { readonly since?: number; readonly dryRun?: boolean };

/** Adds `train`, `list` and `use` to `picket model`. */
export function addModelTraining(model: Command): void {
  where(model.command("train"))
    .description("learn what is usual at this site from its own log, and use it; the running detector takes it up by itself")
    .argument("<name>", "the model: behaviour", behaviour)
    .option("--since <time>", "from events since then: 7d, 24h, or a date (default: 7d)", since)
    .option("--dry-run", "learn and say what would come of it, but keep nothing")
    .addHelpText(
      "after",
      `
Runs on the site's host, as the site's user: the model is kept in <site's directory>/models/behaviour. It reads the log through
the site's API, with the operator's credential (--home). Minutes with alerts are left out, but for alerts of this model
that an operator has closed: close what was harmless before you train.

Examples:
  picket model train behaviour --dry-run
  sudo -u picket picket model train behaviour --since 14d --home /var/lib/picket/operator`,
    )
    .action(train);
  where(model.command("list"))
    .description("list the models in use and the versions this site learnt")
    .option("--json", "one JSON object a line: { name, version, inUse, trained }")
    .addHelpText("after", "\nExample:\n  picket model list")
    .action(list);
  where(model.command("use"))
    .description("go back to another version of a model; the running detector takes it up by itself")
    .argument("<name>", "the model: behaviour", behaviour)
    .argument("<version>", `as \`picket model list\` shows it; ${START}: the one Picket ships`, version)
    .addHelpText("after", "\nExamples:\n  picket model use behaviour 2026-03-01T04-00-00Z\n  picket model use behaviour start")
    .action(use);
}

const where = (command: Command) =>
  command
    .option("--dir <dir>", "the site's directory; overrides the configuration")
    .option("--config <file>", "site configuration, TOML; default: /etc/picket/site.toml");

function behaviour(name: string): string {
  if (name === "behaviour") return name;
  throw new InvalidArgumentError("only the model `behaviour` learns at a site.");
}

function version(text: string): string {
  if (isVersion(text)) return text;
  throw new InvalidArgumentError("a version is 1-64 letters, digits, dots and hyphens (see `picket model list`).");
}

const configOf = ({ config, dir }: Where) => readSiteConfig(config, { detector: { dir } }).detector;

async function train(_name: string, options: TrainOptions, command: Command): Promise<void> {
  const { dir, models } = configOf(options);
  if (!options.dryRun) checkWritable(dir);
  using line = progress(process.stderr);
  const sinceMs = options.since ?? Date.now() - 7 * DAY_MS;
  const { minutes, leftOut, events, truncated } = await readMinutes(siteOf(command), sinceMs, (text) => line.say(text));
  for (const text of truncated) console.error(`picket: ${text}`);
  if (minutes.length < LEAST_MINUTES)
    throw new Failure(
      `${plural(events, "event")} in ${plural(minutes.length, "minute")} of devices (${leftOut} more left out because of alerts) are too few to learn what is usual: at least ${LEAST_MINUTES}`,
      "Train when the site has run for some days, or begin earlier with --since.",
    );
  const learnt = learn(minutes, { progress: (what) => line.say(`learning: ${what}`) });
  const times = minutes.map(({ minute }) => minute).sort((a, b) => a - b);
  const site = (await siteOf(command).call("site")).site;
  const atMs = Date.now();
  const trained: Trained = {
    site,
    atMs,
    minutes: minutes.length,
    devices: learnt.devices.size,
    from: times[0]!,
    to: times.at(-1)!,
    leftOut,
  };
  const budget = models.behaviourAlertsPerDeviceDay;
  const facts = factsOf(trained, learnt, budget);
  line.say(options.dryRun ? "nothing is kept" : "writing");
  for (const text of facts) printLine(text);
  if (options.dryRun) return printLine("Dry run: nothing was kept.");
  const name = `${new Date(atMs).toISOString().slice(0, 19).replaceAll(":", "-")}Z`;
  const folder = modelsFolder(dir);
  writeVersion(folder, name, encodeModel(learnt, trained), card(name, facts));
  useVersion(folder, name);
  printLine(
    `In use: behaviour ${name}. The running detector takes it up with the next events; \`picket model use behaviour VERSION\` goes back.`,
  );
}

function checkWritable(dir: string): void {
  const todo = "Run it on the site's host as the site's user (sudo -u picket picket model ...), or name the site's directory with --dir.";
  if (!existsSync(join(dir, "site.json"))) throw new Failure(`${dir} is no site's directory: it has no site.json`, todo);
  try {
    accessSync(dir, constants.W_OK);
    const folder = modelsFolder(dir);
    if (existsSync(folder)) accessSync(folder, constants.W_OK);
  } catch (error) {
    throw new Failure(`the model could not be kept: ${(error as Error).message}`, todo);
  }
}

function factsOf(trained: Trained, learnt: Learnt, budget: number): string[] {
  const day = (minute: number) => new Date(minute * 60_000).toISOString().slice(0, 16).replace("T", " ");
  const { own, stranger } = learnt.calibration;
  const from = (calibration: typeof own) => (calibration ? energyAt(calibration.alerts, budget).toFixed(1) : undefined);
  return [
    `Learnt from ${plural(trained.minutes, "minute")} of devices, ${day(trained.from)} to ${day(trained.to)} UTC; ${trained.leftOut} more left out because of alerts.`,
    `${plural(trained.devices, "device")} with a past of their own; others are ${stranger ? "compared with the site" : "judged by the model Picket ships"}.`,
    ...(own ? [`Alerts from energy ${from(own)}: by held-back minutes, ${budget} a device and day.`] : []),
    ...(stranger ? [`Of devices not learnt: from energy ${from(stranger)}.`] : []),
  ];
}

const card = (name: string, facts: readonly string[]) =>
  `# Behaviour model ${name}\n\nLearnt by \`picket model train behaviour\` from this site's own log. What the figures mean: docs/models.md.\n\n${facts.map((text) => `- ${text}`).join("\n")}\n`;

async function list(options: Where & { readonly json?: boolean }): Promise<void> {
  const folder = modelsFolder(configOf(options).dir);
  const inUse = readable(() => currentVersion(folder)) ?? START;
  const shipped = decodeModel(await startFiles()).trained;
  const rows = [
    { name: "cmdline", version: "shipped", inUse: true, trained: undefined },
    { name: "behaviour", version: START, inUse: inUse === START, trained: shipped },
    ...versions(folder).map((one) => ({
      name: "behaviour",
      version: one,
      inUse: one === inUse,
      trained: readable(() => decodeModel(readVersion(folder, one)).trained),
    })),
  ];
  if (options.json) for (const row of rows) printJson(row);
  else
    printTable(
      ["model", "version", "in use", "learnt", "minutes", "devices"],
      rows.map(({ name, version, inUse, trained }) => [
        name,
        version,
        inUse ? "yes" : "",
        trained ? (trained.atMs === null ? "by Picket" : dateWords(trained.atMs)) : name === "behaviour" ? "cannot be read" : "by Picket",
        trained ? String(trained.minutes) : "",
        trained ? String(trained.devices) : "",
      ]),
    );
}

function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

async function use(_name: string, chosen: string, options: Where): Promise<void> {
  const { dir } = configOf(options);
  checkWritable(dir);
  const folder = modelsFolder(dir);
  if (chosen !== START) {
    if (!versions(folder).includes(chosen))
      throw new Failure(`there is no version ${chosen} in ${folder}`, "`picket model list` shows them.");
    // Refused here already: the detector would refuse it too, but only say so in its log.
    decodeModel(readVersion(folder, chosen));
  }
  useVersion(folder, chosen);
  printLine(`In use: behaviour ${chosen}. The running detector takes it up with the next events.`);
}
