// `picket doctor`: what is wrong, from the operator's chair to the devices.
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Device, Finding } from "@picket/protocol/rest";
import { apart } from "@picket/protocol/versions";
import { createClient } from "@picket/tui/client/client";
import { SiteError } from "@picket/tui/client/site-error";
import { isolationOf } from "@picket/tui/words";
import type { Command } from "commander";
import { homeOf, readAccess } from "../access.ts";
import { Failure } from "../failure.ts";
import { LOCAL, localFindings } from "../local-health.ts";
import { printJson, printLine } from "../output.ts";
import packageJson from "../package.json" with { type: "json" };

/** An order that is older, or of later, than this is looked at twice. */
const CLOCK_WARN_MS = 60_000;

type Options = { readonly json?: boolean; readonly config?: string };

export function addDoctor(program: Command): void {
  program
    .command("doctor")
    .description("check keys, site, detector, sinks and devices; say what is wrong and what to do, worst first")
    .option("--json", "one JSON object: { findings: [{ level, what, todo? }] }; level is error, warning or ok")
    .option("--config <file>", "site.toml of the site on this machine, for its detector's status page; default: /etc/picket/site.toml")
    .addHelpText(
      "after",
      "\nThis machine's detector and agent are asked too, where they have a status page (docs/metrics.md).\nExits 1 when a finding is an error, 0 otherwise.\n\nExamples:\n  picket doctor\n  picket doctor --json | jq '.findings[] | select(.level != \"ok\")'",
    )
    .action(async (options: Options, command: Command) => {
      const findings = worstFirst([
        ...(await examine(homeOf(command))),
        ...(await localFindings({ ...LOCAL, ...(options.config === undefined ? {} : { site: options.config }) })),
      ]);
      if (options.json) printJson({ findings });
      else for (const finding of findings) say(finding);
      const errors = findings.filter((finding) => finding.level === "error").length;
      if (errors > 0 && !options.json) throw new Failure(`${errors} ${errors === 1 ? "thing is" : "things are"} wrong`);
      if (errors > 0) process.exitCode = 1;
    });
}

const marks: Record<Finding["level"], string> = { ok: "ok      ", warning: "warning ", error: "ERROR   " };
const ranks: Record<Finding["level"], number> = { error: 0, warning: 1, ok: 2 };

/** Within a level as they came: what concerns all before what concerns one. */
const worstFirst = (findings: readonly Finding[]) => findings.toSorted((a, b) => ranks[a.level] - ranks[b.level]);

function say({ level, what, todo }: Finding): void {
  printLine(`${marks[level]}${what}`);
  if (todo) printLine(`        to do: ${todo}`);
}

/** Without a site that answers, what can be known without it. Never throws for what it is asked to find. */
async function examine(home: string): Promise<Finding[]> {
  const findings: Finding[] = [await keys(home)];
  try {
    const client = createClient(readAccess(home));
    const askedMs = Date.now();
    const site = await client.call("site");
    const answeredMs = Date.now();
    findings.push(
      { level: "ok", what: `the site ${site.site} answers at ${client.access.url} (version ${site.version})` },
      await sameAnchor(home, site.anchor),
      ...clock(site.nowMs, askedMs, answeredMs),
      ...versions(site.version),
    );
    findings.push(...(await client.call("doctor")).findings, ...isolated((await client.call("devices")).devices));
  } catch (error) {
    if (!(error instanceof SiteError) && !(error instanceof Failure)) throw error;
    findings.push({ level: "error", what: error.message, ...(error.hint ? { todo: error.hint } : {}) });
  }
  return findings;
}

/** An order carries the time it was signed at. */
function clock(siteMs: number | undefined, askedMs: number, answeredMs: number): Finding[] {
  if (siteMs === undefined || (siteMs >= askedMs - CLOCK_WARN_MS && siteMs <= answeredMs + CLOCK_WARN_MS)) return [];
  const aheadS = Math.round((answeredMs - siteMs) / 1000);
  return [
    {
      level: "warning",
      what: `This machine's clock is ${Math.abs(aheadS)} s ${aheadS > 0 ? "ahead of" : "behind"} the site's: devices may refuse orders that are signed here.`,
      todo: "Set up time synchronisation on both",
    },
  ];
}

function versions(site: string): Finding[] {
  const which = apart(packageJson.version, site);
  if (!which) return [];
  return [
    {
      level: "warning",
      what: `This picket (${packageJson.version}) is ${which} than the site (${site}).`,
      todo: which === "newer" ? "Upgrade the site" : "Upgrade picket on this machine",
    },
  ];
}

/** Nothing is wrong with them, but nobody should forget them. */
function isolated(devices: readonly Device[]): Finding[] {
  const names = devices.filter((device) => isolationOf(device) === "isolated").map((device) => device.id);
  return names.length > 0 ? [{ level: "ok", what: `isolated by order, until \`picket release NAME\`: ${names.join(", ")}` }] : [];
}

async function keys(home: string): Promise<Finding> {
  if (!existsSync(join(home, "operator.jwk")))
    return {
      level: "warning",
      what: `no operator key in ${home}: you can watch, not isolate`,
      todo: "Make keys with `picket operator init`, or name their place with --home.",
    };
  const { loadOperator } = await import("../operator/keys.ts");
  try {
    const operator = await loadOperator(home);
    return operator.may.length > 0
      ? { level: "ok", what: `operator ${operator.name} of site ${operator.site} may ${operator.may.join(", ")} (keys in ${home})` }
      : { level: "error", what: `the key in ${home} is in no key list: devices refuse it`, todo: "Ask who holds the root key to list it." };
  } catch (error) {
    return { level: "error", what: error instanceof Error ? error.message : String(error) };
  }
}

/** Keys and site.json of two different sites are a mix-up that every device would refuse. */
async function sameAnchor(home: string, anchor: string): Promise<Finding> {
  if (!existsSync(join(home, "public.json"))) return { level: "warning", what: "no public.json here to compare the site's anchor with" };
  const [{ loadPublic }, { anchorHash }] = await Promise.all([import("../operator/keys.ts"), import("@picket/protocol/command")]);
  return anchorHash(loadPublic(home).anchor) === anchor
    ? { level: "ok", what: "the site was made for these operator keys" }
    : {
        level: "error",
        what: "the site was made for other operator keys: devices refuse orders signed here",
        todo: "Use the --home that belongs to this site.",
      };
}
