// `picket scan ID [PID]`
import type { Alert } from "@picket/protocol/alert";
import type { Action, CommandResult } from "@picket/protocol/command";
import type { SampleShown } from "@picket/protocol/sample-routes";
import type { SiteClient } from "@picket/tui/client/client";
import { type Command, InvalidArgumentError } from "commander";
import { siteOf } from "../access.ts";
import { device, durationOption } from "../arguments.ts";
import { ORDER_TTL_MS } from "../console.ts";
import { Failure } from "../failure.ts";
import { failureOf, type OrderOptions, sendAndFollow } from "../order.ts";
import { plural, printJson, printLine, progress } from "../output.ts";
import { fullId } from "./alert.ts";

type Options = OrderOptions & { readonly reason: string; readonly alert?: string };
type Target = Pick<Extract<Action, { act: "scan" }>["args"], "pid" | "startTicks">;

const POLL_MS = 500;
/** 32 MiB at 1 MiB/s, behind what the device was sending, and the scan. */
const VERDICT_MS = 5 * 60_000;

export function addScan(program: Command): void {
  program
    .command("scan")
    .description("have the memory of a process on a device scanned by the site's YARA rules")
    .argument("<id>", "the device's name", device)
    .argument("[pid]", "the process, as events and alerts number it", pidOf)
    .option("--alert <id>", "the process of this alert, and no other that has its number by now")
    .option("--reason <text>", "why; kept with the order", "ordered on the command line")
    .addOption(durationOption("--valid <time>", "how long the order waits for a device that is away", ORDER_TTL_MS))
    .option("--no-wait", "do not wait for the device's answer, nor for the scan; a match is an alert all the same")
    .option("--json", "one JSON object: { command, sample? }")
    .addHelpText(
      "after",
      "\nUp to 32 MiB of the process' memory leave the device for the site, executable memory first, and are removed once they were scanned: what secrets the process\nhas may be among them (docs/samples.md). The process goes on meanwhile. Matches are alerts too.\n\nExits 0 when nothing matched, 1 when something did, or when it could not be scanned.\n\nExamples:\n  picket scan gw-014 4711\n  picket scan gw-014 --alert 6f2b4c1e --reason 'beacon without a file'\n  picket scan gw-014 4711 --json",
    )
    .action(async (id: string, pid: number | undefined, options: Options, command: Command) => {
      if (options.reason.length > 256) throw new Failure("--reason takes at most 256 characters", undefined, 2);
      const site = siteOf(command);
      const target = await targetOf(site, id, pid, options.alert);
      const last = await sendAndFollow(id, { act: "scan", args: { ...target, reason: options.reason } }, options, command);
      const { result } = last;
      if (!result?.sample || !result.ok) {
        if (options.json) printJson({ command: last });
        if (result || options.wait) throw failureOf(last);
        if (!options.json)
          printLine(`The site has the order for ${id}; see \`picket device ${id}\` for how it goes. A match will be an alert.`);
        return;
      }
      const sample = await verdict(site, result.sample);
      if (options.json) printJson({ command: last, sample });
      say(id, target.pid, { result, sample, quiet: options.json === true });
    });
}

function pidOf(text: string): number {
  const pid = Number(text);
  if (!/^\d{1,10}$/.test(text) || pid < 1 || pid > 0x7fff_ffff) throw new InvalidArgumentError("a process has a number from 1 on");
  return pid;
}

async function targetOf(site: SiteClient, id: string, pid: number | undefined, alert: string | undefined): Promise<Target> {
  if (alert === undefined) {
    if (pid === undefined) throw new Failure("which process?", "Give its pid, or --alert ID for the process of an alert.", 2);
    return { pid };
  }
  const { process, device } = await alertOf(site, alert);
  if (device !== id) throw new Failure(`this alert is about ${device}, not ${id}`, undefined, 2);
  if (!process) throw new Failure("this alert is about no process", "Give the pid of one.", 2);
  if (pid !== undefined && pid !== process.pid)
    throw new Failure(`the process of this alert has pid ${process.pid}, not ${pid}`, undefined, 2);
  return { pid: process.pid, startTicks: process.startTicks };
}

async function alertOf(site: SiteClient, given: string): Promise<Alert> {
  const { alert } = await site.call("alert", { params: { id: await fullId(site, given) } });
  return alert;
}

/** Waits for what the rules say. Throws `Failure` when the site does not scan, or the memory did not come. */
async function verdict(site: SiteClient, hash: string): Promise<SampleShown> {
  using line = progress(process.stderr);
  for (const endMs = Date.now() + VERDICT_MS; ; await Bun.sleep(POLL_MS)) {
    const { sample } = await site.call("sample", { params: { hash } });
    if (sample.state === "scanned") return sample;
    if (!sample.scanning)
      throw new Failure(
        "this site scans nothing, so the memory was not asked for",
        "Set detector.scan = true in site.toml, and see `picket doctor`.",
      );
    if (sample.state === "gone" || sample.state === "too-big")
      throw new Failure("the device no longer has what it read of the memory", "Order it again.");
    if (Date.now() > endMs)
      throw new Failure(
        `the memory was not scanned within ${VERDICT_MS / 60_000} minutes`,
        "A match will still be an alert; see `picket device` for what holds it up.",
      );
    line.say(sample.state === "arrived" ? "the site scans the memory" : "the memory is on its way to the site");
  }
}

function say(id: string, pid: number, of: { readonly result: CommandResult; readonly sample: SampleShown; readonly quiet: boolean }): void {
  const { result, sample, quiet } = of;
  if (sample.error !== undefined)
    throw new Failure(`the memory of process ${pid} of ${id} could not be scanned: ${sample.error}`, "Order it again.");
  if (!quiet) {
    printLine(`${id} ${result.message}.`);
    for (const { severity, title, rule, why } of sample.matches) printLine(`${severity} ${title} (${rule})${why === "" ? "" : `: ${why}`}`);
  }
  if (sample.matches.length > 0) process.exitCode = 1;
  if (!quiet)
    printLine(sample.matches.length > 0 ? `${plural(sample.matches.length, "rule")} matched; see \`picket alerts\`.` : "No rule matched.");
}
