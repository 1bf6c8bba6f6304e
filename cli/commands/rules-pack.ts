// `picket rules sign`, `push` and `status`: rules that devices match themselves, signed where the operator's keys are.
import { readFileSync, writeFileSync } from "node:fs";
import { MAX_PACK_BODY_CHARS, PackClaims, WHOLE_SITE } from "@picket/protocol/pack";
import { openRules } from "@picket/protocol/rule-pack";
import type { SiteClient } from "@picket/tui/client/client";
import { dateWords } from "@picket/tui/words";
import type { Command } from "commander";
import { homeOf, siteOf } from "../access.ts";
import { collect, device, whole } from "../arguments.ts";
import { Failure } from "../failure.ts";
import { plural, printJson, printLine, printTable, progress } from "../output.ts";
import { type DeviceSettings, settingsOf } from "../settings-view.ts";

const KIND = "rules";
/** How long devices that are online are waited for, and how often they are asked for, milliseconds. */
const WAIT_MS = 30_000;
const POLL_MS = 300;

type BuildOptions = { readonly disable?: readonly string[]; readonly samples: boolean; readonly number?: number; readonly json?: boolean };
type SignOptions = BuildOptions & { readonly out: string; readonly device?: string };
type PushOptions = BuildOptions & {
  readonly device?: readonly string[];
  readonly all?: boolean;
  readonly trustSite?: boolean;
  readonly wait: boolean;
};

/** Adds them to the command `rules`. */
export function addRulePacks(rules: Command): void {
  const building = (command: Command) =>
    command
      .option("--disable <id>", "switch a shipped rule off on the devices; may be repeated. It is shown wherever the device is", collect)
      .option("--no-samples", "leave the samples beside the rules out")
      .option("--number <n>", "number of the pack; default: the next", whole(1, 2 ** 40));
  building(rules.command("sign"))
    .description("sign rules for devices into a file, to be handed in later with `picket rules push FILE`")
    .argument("<path...>", "Sigma files or folders")
    .requiredOption("--out <file>", "where the signed pack goes")
    .option("--device <id>", "for one device; default: every device of the site", device)
    .option("--json", "one JSON object: { file, dev, version, rules, disabled, chars }")
    .addHelpText(
      "after",
      "\nThe right to sign rules is granted with `picket operator grant rules`.\n\nExamples:\n  picket rules sign my-rules/ --out my-rules.jws\n  picket rules sign gateway.yml --device gw-014 --out gw-014.jws",
    )
    .action((paths: string[], options: SignOptions, command: Command) => sign(paths, options, command));
  building(rules.command("push"))
    .description("hand rules to the site, which carries them to its devices: they match them themselves, also while the site is away")
    .argument("<path...>", "Sigma files or folders to sign, or one file that `picket rules sign` made (.jws)")
    .option("--device <id>", "for this device; may be repeated", (id: string, before?: readonly string[]) => collect(device(id), before))
    .option("--all", "for every device of the site, also those that come later (the default)")
    .option("--trust-site", "go on from the number the site shows, even where your keys cannot prove it")
    .option("--no-wait", "do not wait for the devices that are online")
    .option("--json", "one JSON object: { packs: [{ dev, version, rules, disabled }], devices: [...] }")
    .addHelpText(
      "after",
      "\nWhat a pack holds replaces what the pack before held. A device tries the rules first, and goes on with what it had when they fail.\n\nExamples:\n  picket rules push my-rules/\n  picket rules push gateway.yml --device gw-014 --device gw-015\n  picket rules push my-rules.jws --no-wait",
    )
    .action((paths: string[], options: PushOptions, command: Command) => push(paths, options, command));
  rules
    .command("status")
    .description("show the packs of rules there are, and which device runs which")
    .option("--json", "one JSON object: { packs: [...], devices: [...] }")
    .addHelpText(
      "after",
      "\nExamples:\n  picket rules status\n  picket rules status --json | jq -r '.devices[] | select(.state == \"refused\")'",
    )
    .action((options: { json?: boolean }, command: Command) => status(options, command));
}

type Signed = {
  readonly jws: string;
  readonly dev: string;
  readonly version: number;
  readonly rules: number;
  readonly disabled: readonly string[];
};

const load = () => Promise.all([import("../operator/keys.ts"), import("../operator/pack.ts"), import("../operator/rule-pack.ts")]);

async function signFor(
  home: string,
  paths: readonly string[],
  of: { targets: readonly { dev: string; above: number }[]; options: BuildOptions },
): Promise<Signed[]> {
  const [{ loadOperator }, { signPack }, { buildPack }] = await load();
  const { options, targets } = of;
  const { payload, pack, warnings } = await buildPack(paths, { disable: options.disable ?? [], samples: options.samples });
  for (const { file, line, message } of warnings) console.error(`${file}:${line}: warning: ${message}`);
  const operator = await loadOperator(home);
  const signed: Signed[] = [];
  for (const { dev, above } of targets) {
    const least = options.number === undefined ? above : Math.max(above, options.number - 1);
    const { jws, version } = await signPack(operator, { kind: KIND, dev, payload, above: least, nowMs: Date.now() });
    if (jws.length > MAX_PACK_BODY_CHARS)
      throw new Failure(
        `${plural(pack.rules.length, "rule")} make a pack of ${Math.ceil(jws.length / 1024)} KiB; ${MAX_PACK_BODY_CHARS >> 10} KiB fit`,
        options.samples && pack.samples.length > 0 ? "Leave the samples out with --no-samples, or sign fewer rules." : "Sign fewer rules.",
      );
    if (options.number !== undefined && version !== options.number)
      throw new Failure(`number ${options.number} is taken; the next is ${version}`, "Leave --number out, or give a higher one.");
    signed.push({ jws, dev, version, rules: pack.rules.length, disabled: pack.disable });
  }
  return signed;
}

async function sign(paths: readonly string[], options: SignOptions, command: Command): Promise<void> {
  const [one] = await signFor(homeOf(command), paths, { targets: [{ dev: options.device ?? WHOLE_SITE, above: 0 }], options });
  const { jws, dev, version, rules, disabled } = one!;
  writeFileSync(options.out, `${jws}\n`);
  if (options.json) return printJson({ file: options.out, dev, version, rules, disabled, chars: jws.length });
  printLine(`${options.out}: version ${version} ${forWhom(dev)}, ${whatItHolds(one!)}. Hand it in with: picket rules push ${options.out}`);
}

async function push(paths: readonly string[], options: PushOptions, command: Command): Promise<void> {
  const home = homeOf(command);
  const client = siteOf(command);
  if (options.all && options.device) throw new Failure("--all and --device exclude each other", undefined, 2);
  const made = paths.find((path) => path.endsWith(".jws"));
  if (made !== undefined && (paths.length > 1 || options.device))
    throw new Failure(`${made} is signed already, for whom it says itself`, "Push it alone, without --device.", 2);
  const records = (await client.call("packs")).packs.filter(({ kind }) => kind === KIND);
  const [, { noteKept, openPack }] = await load();
  const above = async (dev: string) => {
    const record = records.find((one) => one.dev === dev);
    if (!record) return { dev, above: 0 };
    const { doubt, version } = await openPack(home, { kind: KIND, dev, jws: record.jws });
    if (doubt !== undefined && !options.trustSite)
      throw new Failure(
        `the present rules ${forWhom(dev)} cannot be proved: ${doubt}`,
        "Look at `picket rules status`; to go on from that number all the same: --trust-site.",
      );
    return { dev, above: version };
  };
  const signed =
    made === undefined
      ? await signFor(home, paths, { targets: await Promise.all([...new Set(options.device ?? [WHOLE_SITE])].map(above)), options })
      : [readSigned(made)];
  for (const { jws, dev, version } of signed) {
    await client.call("putPack", { body: { jws } });
    await noteKept(home, { kind: KIND, dev }, version);
    if (!options.json) printLine(`Version ${version} ${forWhom(dev)}: the site carries it to ${dev === WHOLE_SITE ? "its devices" : dev}.`);
  }
  if (!options.json && signed[0]) printLine(`It holds ${whatItHolds(signed[0])}.`);
  const targets = signed.map(({ dev }) => dev);
  const devices = options.wait ? await waitForOnline(client, targets) : await statesOf(client, targets);
  if (options.json) printJson({ packs: signed.map(({ jws: _, ...rest }) => rest), devices });
  else printStates(devices);
  const refused = devices.filter(({ state }) => state === "refused");
  if (refused.length > 0)
    throw new Failure(
      refused.map(({ device, words }) => `${device} ${words}`).join("\n"),
      "They go on with the rules they had. See docs/rule-packs.md.",
    );
}

const whatItHolds = ({ rules, disabled }: Pick<Signed, "rules" | "disabled">) =>
  `${plural(rules, "rule")}${disabled.length > 0 ? `, and switches ${plural(disabled.length, "shipped rule")} off` : ""}`;

function readSigned(file: string): Signed {
  let jws: string;
  try {
    jws = readFileSync(file, "utf8").trim();
  } catch (error) {
    throw new Failure(`${file} cannot be read: ${error instanceof Error ? error.message : error}`);
  }
  const claims = claimsIn(jws);
  const pack = claims?.kind === KIND ? openRules(claims.payload) : undefined;
  if (!claims || pack === undefined || typeof pack === "string")
    throw new Failure(
      `${file} holds no signed rules${typeof pack === "string" ? `: ${pack}` : ""}`,
      "`picket rules sign` makes such a file.",
    );
  return { jws, dev: claims.dev, version: claims.version, rules: pack.rules.length, disabled: pack.disable };
}

function claimsIn(jws: string): PackClaims | undefined {
  try {
    return PackClaims.parse(JSON.parse(Buffer.from(jws.split(".")[1] ?? "", "base64url").toString()));
  } catch {
    return undefined;
  }
}

async function statesOf(client: SiteClient, targets: readonly string[]) {
  const packs = (await client.call("packs")).packs.filter(({ kind }) => kind === KIND);
  const states = settingsOf((await client.call("devices")).devices, packs, KIND);
  return targets.includes(WHOLE_SITE) ? states : states.filter(({ device: id }) => targets.includes(id));
}

async function waitForOnline(client: SiteClient, targets: readonly string[]) {
  using line = progress(process.stderr);
  for (const endMs = Date.now() + WAIT_MS; ; await Bun.sleep(POLL_MS)) {
    const states = await statesOf(client, targets);
    const waiting = states.filter(({ state }) => state === "waiting");
    if (waiting.length === 0 || Date.now() > endMs) return states;
    line.say(`waiting for ${waiting.length} of ${states.length} devices`);
  }
}

async function status(options: { json?: boolean }, command: Command): Promise<void> {
  const { openPack } = await import("../operator/pack.ts");
  const client = siteOf(command);
  const records = (await client.call("packs")).packs.filter(({ kind }) => kind === KIND);
  const packs = await Promise.all(
    records.map(async ({ jws, ...record }) => {
      // Without keys at hand one may still look.
      const opened = await openPack(homeOf(command), { kind: KIND, dev: record.dev, jws }).catch((error: Error) => ({
        payload: undefined,
        doubt: error.message,
      }));
      const held = openRules(opened.payload ?? claimsIn(jws)?.payload);
      const rules = typeof held === "string" ? [] : held.rules.map(({ id, title, level }) => ({ id, title, level }));
      return {
        ...record,
        rules,
        disabled: typeof held === "string" ? [] : held.disable,
        ...(opened.doubt === undefined ? {} : { doubt: opened.doubt }),
      };
    }),
  );
  const devices = settingsOf((await client.call("devices")).devices, records, KIND);
  if (options.json) return printJson({ packs, devices });
  if (packs.length === 0)
    printLine("No rules were pushed: every device matches those it was shipped with. `picket rules push --help` says how to add some.");
  for (const { dev, version, operator, putMs, rules, disabled, doubt } of packs) {
    printLine(
      `Version ${version} ${forWhom(dev)}, handed in by ${operator} ${dateWords(putMs)}: ${whatItHolds({ rules: rules.length, disabled })}`,
    );
    for (const id of disabled) printLine(`  switched off on devices: ${id}`);
    if (doubt !== undefined) printLine(`  Not proved: ${doubt}`);
  }
  printStates(devices);
}

function printStates(devices: readonly DeviceSettings[]): void {
  if (devices.length === 0) return;
  const number = (version: number | undefined) => (version === undefined ? "-" : String(version));
  printTable(
    ["device", "of the site", "its own", "state"],
    devices.map(({ device: id, site, own, words }) => [id, number(site), number(own), words]),
  );
}

const forWhom = (dev: string) => (dev === WHOLE_SITE ? "for the whole site" : `for ${dev}`);
