// `picket settings`, `picket settings set` and `unset`
import { WHOLE_SITE } from "@picket/protocol/pack";
import { isSettingKey, readSettings, type SettingKey, type Settings, settingKeys, settings as table } from "@picket/protocol/settings";
import type { SiteClient } from "@picket/tui/client/client";
import { dateWords } from "@picket/tui/words";
import type { Command } from "commander";
import { homeOf, siteOf } from "../access.ts";
import { device as deviceArgument } from "../arguments.ts";
import { parseDuration } from "../duration.ts";
import { Failure } from "../failure.ts";
import { printJson, printLine, printTable, progress } from "../output.ts";
import { type SettingsState, settingsOf } from "../settings-view.ts";

type ShowOptions = { readonly json?: boolean };
type ChangeOptions = { readonly device?: string; readonly trustSite?: boolean; readonly wait: boolean; readonly json?: boolean };

/** How long devices that are online are waited for, milliseconds. */
const WAIT_MS = 20_000;
const POLL_MS = 300;
const KIND = "settings";

export function addSettings(program: Command): void {
  const settings = program
    .command("settings")
    .description("show and change how often devices measure, look and report")
    .option("--json", "one JSON object: { packs: [...], devices: [...] }")
    .addHelpText(
      "after",
      "\nWithout a subcommand: what is set, and which devices run it.\n\nExamples:\n  picket settings\n  picket settings set metricsS=30 inventory.processes=10m\n  picket settings set canaryS=30 --device gw-014\n  picket settings unset metricsS\n  picket settings --json | jq -r '.devices[] | select(.state != \"runs\") | .device'",
    )
    .action((_: unknown, command: Command) => show(command.opts<ShowOptions>(), command));
  const changing = (command: Command) =>
    command
      .option("--device <id>", "for one device, before what is set for the whole site", deviceArgument)
      .option("--trust-site", "build on what the site shows, even where your keys cannot prove it")
      .option("--no-wait", "do not wait for the devices that are online")
      .option("--json", "one JSON object: { dev, version, values, devices: [...] }");
  changing(settings.command("set"))
    .description("sign new values and hand them to the site, which carries them to its devices")
    .argument("<key=value...>", "settings; seconds may be written like 10m")
    .addHelpText(
      "after",
      `\n${keysHelp()}\n\nExamples:\n  picket settings set metricsS=30 inventory.processes=600\n  picket settings set heartbeatS=30 --device gw-014`,
    )
    .action((pairs: string[], _: unknown, command: Command) => change(changesOf(pairs), command));
  changing(settings.command("unset"))
    .description("take values back: what holds without them holds again")
    .argument("<key...>", "settings")
    .addHelpText(
      "after",
      "\nExamples:\n  picket settings unset metricsS\n  picket settings unset inventory.users inventory.groups --device gw-014",
    )
    .action((keys: string[], _: unknown, command: Command) => change(new Map(keys.map((key) => [known(key), undefined])), command));
}

const keysHelp = () =>
  `Settings, what holds without them, and what they take:\n${settingKeys
    .map((key) => `  ${key.padEnd(26)}${String(table[key].standard).padStart(5)}  ${table[key].min} to ${table[key].max}`)
    .join("\n")}`;

type Changes = ReadonlyMap<SettingKey, number | undefined>;

const HELP = "`picket settings set --help` lists them, with what they take.";

function known(key: string): SettingKey {
  if (isSettingKey(key)) return key;
  throw new Failure(`${JSON.stringify(key)} is not a setting`, HELP, 2);
}

function changesOf(pairs: readonly string[]): Changes {
  const changes = new Map<SettingKey, number | undefined>();
  for (const pair of pairs) {
    const [name = "", text, ...rest] = pair.split("=");
    const key = known(name);
    if (text === undefined || text === "" || rest.length > 0)
      throw new Failure(`${JSON.stringify(pair)} is not KEY=VALUE`, `For example: ${key}=${table[key].standard}`, 2);
    const value = parseValue(key, text);
    const wrong = readSettings({ [key]: value });
    if (typeof wrong === "string") throw new Failure(`${JSON.stringify(pair)} is out of bounds: ${wrong}`, HELP, 2);
    if (changes.has(key)) throw new Failure(`${key} is set twice`, "Give it one value.", 2);
    changes.set(key, value);
  }
  return changes;
}

function parseValue(key: SettingKey, text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  try {
    if (key !== "eventsPerS") return parseDuration(text) / 1000;
  } catch {
    // Said below, with the bounds.
  }
  throw new Failure(`${key}: ${JSON.stringify(text)} is no value; it takes ${table[key].min} to ${table[key].max}`, HELP, 2);
}

const settingPacks = async (client: SiteClient) => (await client.call("packs")).packs.filter(({ kind }) => kind === KIND);

async function change(changes: Changes, command: Command): Promise<void> {
  const options = command.optsWithGlobals<ChangeOptions>();
  const [{ loadOperator }, { noteKept, openPack, signPack }] = await Promise.all([
    import("../operator/keys.ts"),
    import("../operator/pack.ts"),
  ]);
  const home = homeOf(command);
  const operator = await loadOperator(home);
  const client = siteOf(command);
  const target = { kind: KIND, dev: options.device ?? WHOLE_SITE } as const;
  const record = (await settingPacks(client)).find(({ dev }) => dev === target.dev);
  const before = record && (await openPack(home, { ...target, jws: record.jws }));
  if (before?.doubt !== undefined && !options.trustSite)
    throw new Failure(
      `the present settings cannot be proved: ${before.doubt}`,
      "What you sign now would hold them too. Look at `picket settings`; when they are what you want: --trust-site. A newer key list comes as public.json.",
    );
  const base = valuesOf(before?.payload);
  const next = withChanges(base, changes);
  if (before && before.doubt === undefined && same(base, next)) {
    if (options.json)
      return printJson({ dev: target.dev, version: before.version, values: base, devices: await statesOf(client, target.dev) });
    return printLine(`Nothing to change ${forWhom(target.dev)}: version ${before.version} already says ${wordsOf(base)}.`);
  }
  const { jws, version } = await signPack(operator, { ...target, payload: next, above: before?.version ?? 0, nowMs: Date.now() });
  await client.call("putPack", { body: { jws } });
  await noteKept(home, target, version);
  if (!options.json) {
    printLine(`Version ${version} ${forWhom(target.dev)}: ${wordsOf(next)}`);
    printLine(`The site carries it to ${target.dev === WHOLE_SITE ? "its devices" : target.dev}.`);
  }
  const concerned = options.wait ? await waitForOnline(client, target.dev) : await statesOf(client, target.dev);
  if (options.json) printJson({ dev: target.dev, version, values: next, devices: concerned });
  else sayWhoRuns(concerned);
  const refused = concerned.filter(({ state }) => state === "refused");
  if (refused.length > 0)
    throw new Failure(
      refused.map(({ device, words }) => `${device} ${words}`).join("\n"),
      "They go on with what they had. See docs/settings.md.",
    );
}

/** Of the devices that settings for `dev` concern. */
async function statesOf(client: SiteClient, dev: string) {
  const states = settingsOf((await client.call("devices")).devices, await settingPacks(client));
  return states.filter(({ device }) => dev === WHOLE_SITE || device === dev);
}

async function waitForOnline(client: SiteClient, dev: string) {
  using line = progress(process.stderr);
  const endMs = Date.now() + WAIT_MS;
  for (;;) {
    const states = await statesOf(client, dev);
    const waiting = states.filter(({ state }) => state === "waiting");
    if (waiting.length === 0 || Date.now() > endMs) return states;
    line.say(`waiting for ${waiting.length} of ${states.length} devices`);
    await Bun.sleep(POLL_MS);
  }
}

async function show(options: ShowOptions, command: Command): Promise<void> {
  const { openPack } = await import("../operator/pack.ts");
  const client = siteOf(command);
  const packs = await Promise.all(
    (await settingPacks(client)).map(async ({ jws, ...record }) => {
      // Without keys at hand one may still look.
      const opened = await openPack(homeOf(command), { kind: KIND, dev: record.dev, jws }).catch((error: Error) => ({
        payload: undefined,
        doubt: error.message,
      }));
      return {
        ...record,
        values: valuesOf(opened.payload ?? payloadIn(jws)),
        ...(opened.doubt === undefined ? {} : { doubt: opened.doubt }),
      };
    }),
  );
  const devices = settingsOf((await client.call("devices")).devices, packs);
  if (options.json) return printJson({ packs, devices });
  if (packs.length === 0)
    printLine(
      "Nothing is set from the site: every device does as its own configuration says. `picket settings set --help` lists what can be set.",
    );
  for (const { dev, version, operator, putMs, values, doubt } of packs) {
    printLine(
      `Version ${version} ${forWhom(dev)}, handed in by ${operator} ${dateWords(putMs)}${Object.keys(values).length === 0 ? ": nothing is set" : ""}`,
    );
    if (doubt !== undefined) printLine(`  Not proved: ${doubt}`);
    const rows = settingKeys
      .filter((key) => values[key] !== undefined)
      .map((key) => [`  ${key}`, String(values[key]), String(table[key].standard), table[key].what]);
    if (rows.length > 0) printTable(["  setting", "value", "otherwise", "what"], rows);
  }
  if (devices.length === 0) return;
  const number = (version: number | undefined) => (version === undefined ? "-" : String(version));
  printTable(
    ["device", "of the site", "its own", "state"],
    devices
      .toSorted((a, b) => stateRank[a.state] - stateRank[b.state])
      .map(({ device, site, own, words, held }) => [
        device,
        number(site),
        number(own),
        held.length > 0 ? `${words}; its own configuration keeps ${held.join(", ")}` : words,
      ]),
  );
  if (packs.length > 0) sayWhoRuns(devices);
}

/** Who needs somebody to look comes first. */
const stateRank: Record<SettingsState, number> = { refused: 0, ahead: 1, "too-old": 2, waiting: 3, away: 4, runs: 5 };

function sayWhoRuns(states: ReturnType<typeof settingsOf>): void {
  const count = (state: string) => states.filter((one) => one.state === state).length;
  const rest = [
    [count("away"), "away: they hear of it when they connect"],
    [count("waiting"), "have not taken it yet"],
    [count("too-old"), "have an agent that knows no settings"],
    [count("refused"), "refuse it"],
    [count("ahead"), "have a later version than the site"],
  ].filter(([many]) => many !== 0);
  printLine(`${count("runs")} of ${states.length} devices run it${rest.map(([many, words]) => `; ${many} ${words}`).join("")}.`);
}

const payloadIn = (jws: string): unknown => {
  try {
    return (JSON.parse(Buffer.from(jws.split(".")[1] ?? "", "base64url").toString()) as { payload?: unknown }).payload;
  } catch {
    return undefined;
  }
};

/** What this version understands of it: a setting that is not known here is not shown, and cannot be built on. */
function valuesOf(payload: unknown): Settings {
  const read = readSettings(payload ?? {});
  if (typeof read === "string")
    throw new Failure(`the present settings cannot be read: ${read}`, "A later `picket` signed them: use that one.");
  return read;
}

function withChanges(base: Settings, changes: Changes): Settings {
  const next = { ...base, ...Object.fromEntries(changes) };
  return Object.fromEntries(Object.entries(next).filter(([, value]) => value !== undefined));
}

const same = (a: Settings, b: Settings) => settingKeys.every((key) => a[key] === b[key]);
const forWhom = (dev: string) => (dev === WHOLE_SITE ? "for the whole site" : `for ${dev}`);

function wordsOf(values: Settings): string {
  const set = settingKeys.filter((key) => values[key] !== undefined).map((key) => `${key} = ${values[key]}`);
  return set.length === 0 ? "nothing is set any more" : set.join(", ");
}
