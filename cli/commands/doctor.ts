// `picket doctor`: what is wrong, from the operator's chair to the devices.
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Device, Finding } from "@picket/protocol/rest";
import { createClient } from "@picket/tui/client/client";
import { SiteError } from "@picket/tui/client/site-error";
import { isolationOf } from "@picket/tui/words";
import type { Command } from "commander";
import { homeOf, readAccess } from "../access.ts";
import { Failure } from "../failure.ts";
import { printJson, printLine } from "../output.ts";

export function addDoctor(program: Command): void {
  program
    .command("doctor")
    .description("check keys, site, detector, sinks and devices; say what is wrong and what to do")
    .option("--json", "one JSON object: { findings: [{ level, what, todo? }] }")
    .addHelpText("after", "\nExits 1 when a finding is an error.\n\nExample:\n  picket doctor")
    .action(async (options: { json?: boolean }, command: Command) => {
      const findings = await examine(homeOf(command));
      if (options.json) printJson({ findings });
      else for (const finding of findings) say(finding);
      const errors = findings.filter((finding) => finding.level === "error").length;
      if (errors > 0 && !options.json) throw new Failure(`${errors} ${errors === 1 ? "thing is" : "things are"} wrong`);
      if (errors > 0) process.exitCode = 1;
    });
}

const marks: Record<Finding["level"], string> = { ok: "ok      ", warning: "warning ", error: "ERROR   " };

function say({ level, what, todo }: Finding): void {
  printLine(`${marks[level]}${what}`);
  if (todo) printLine(`        to do: ${todo}`);
}

/** Local findings first: without them the site's cannot be had. Never throws for what it is asked to find. */
async function examine(home: string): Promise<Finding[]> {
  const findings: Finding[] = [await keys(home)];
  try {
    const client = createClient(readAccess(home));
    const site = await client.call("site");
    findings.push(
      { level: "ok", what: `the site ${site.site} answers at ${client.access.url} (version ${site.version})` },
      await sameAnchor(home, site.anchor),
    );
    findings.push(...(await client.call("doctor")).findings, ...isolated((await client.call("devices")).devices));
  } catch (error) {
    if (!(error instanceof SiteError) && !(error instanceof Failure)) throw error;
    findings.push({ level: "error", what: error.message, ...(error.hint ? { todo: error.hint } : {}) });
  }
  return findings;
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
