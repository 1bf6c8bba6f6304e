// `picket device ID` and `picket device ID revoke`
import type { Ledger } from "@picket/protocol/ledger";
import type { CommandRecord, Device } from "@picket/protocol/rest";
import { builtinRules } from "@picket/rules/builtin";
import { coverageOf, type RuleCoverage } from "@picket/rules/coverage";
import type { Rule } from "@picket/rules/rule";
import { hoursLine, hourWords, LEGEND, ledgerRows, minuteWords, worstHours } from "@picket/tui/ledger";
import {
  commandView,
  coverageWords,
  dateWords,
  isolationOf,
  isolationWords,
  presenceWords,
  settingsWords,
  whyWords,
} from "@picket/tui/words";
import { Argument, type Command } from "commander";
import { siteOf } from "../access.ts";
import { device as deviceArgument } from "../arguments.ts";
import { confirmName } from "../confirm.ts";
import { printJson, printLine } from "../output.ts";

type Options = { readonly json?: boolean; readonly yes?: boolean };

export function addDevice(program: Command): void {
  program
    .command("device")
    .description("show one device, what became of its events, and its recent orders; or revoke it")
    .argument("<id>", "the device's name", deviceArgument)
    .addArgument(new Argument("[action]", "what to do; without it the device is shown").choices(["revoke"]))
    .option("--json", "one JSON object: { device, commands, ledger, rules }; after revoke { device }")
    .option("--yes", "revoke without asking for the device's name")
    .addHelpText(
      "after",
      "\nRevoking ends the device's certificate: its connection closes within a second and it must be enrolled again.\n\nExamples:\n  picket device gw-014\n  picket device gw-014 --json\n  picket device gw-014 revoke",
    )
    .action(async (id: string, action: "revoke" | undefined, options: Options, command: Command) => {
      const site = siteOf(command);
      if (action === "revoke") {
        if (!options.yes)
          await confirmName(id, async () => {
            await site.call("device", { params: { id } });
            return `revoke ${id}: it is cut off from the site until it is enrolled again`;
          });
        const { device } = await site.call("revoke", { params: { id } });
        return options.json ? printJson({ device }) : printLine(`${id} is revoked.`);
      }
      const { device, commands, ledger } = await site.call("device", { params: { id } });
      const rules = coverageOf(builtinRules(), device.status?.capabilities ?? []);
      if (options.json)
        return printJson({
          device,
          commands,
          ledger,
          rules: { live: ids(rules.live), degraded: ids(rules.degraded), dead: ids(rules.dead) },
        });
      for (const line of describe(device, commands, rules, ledger, Date.now())) printLine(line);
    });
}

const ids = (rules: readonly Rule[]) => rules.map(({ id }) => id);

/** Rules named one by one; more are only counted. */
const NAMED = 3;

function ruleWords({ live, degraded, dead }: RuleCoverage): string[] {
  const all = live.length + degraded.length + dead.length;
  const named = (rules: readonly Rule[]) =>
    rules
      .slice(0, NAMED)
      .map(({ title }) => title)
      .join("; ") + (rules.length > NAMED ? `; and ${rules.length - NAMED} more` : "");
  return [
    `  rules        ${live.length} of ${all} shipped rules see all they need here (${Math.floor((100 * live.length) / all)} %)`,
    ...(degraded.length > 0 ? [`               ${degraded.length} see a part: ${named(degraded)}`] : []),
    ...(dead.length > 0 ? [`               ${dead.length} see nothing: ${named(dead)}`] : []),
  ];
}

/** The last day by the hour, the worst hours, and what became of everything the device caused. */
function ledgerWords(ledger: Ledger, nowMs: number): string[] {
  return [
    `  by the hour  ${hoursLine(ledger, nowMs)}`,
    `               ${LEGEND}`,
    ...worstHours(ledger, 3).map((hour) => `    ${minuteWords(hour.hourMs)}      ${hourWords(hour)}`),
    ...ledgerRows(ledger).map(({ name, count, words }) => `  ${name.padEnd(11)}  ${String(count).padStart(9)}  ${words}`),
  ];
}

function describe(
  device: Device,
  commands: readonly CommandRecord[],
  rules: RuleCoverage,
  ledger: Ledger | undefined,
  nowMs: number,
): string[] {
  const { status, coverage } = device;
  const isolation = isolationOf(device);
  const off = (status?.capabilities ?? []).filter((capability) => capability.level !== "live");
  return [
    `${device.id}  ${presenceWords(device, nowMs)}`,
    `  isolated     ${isolation === "no" ? "no" : isolationWords[isolation]}${status?.isolation.reason ? ` (${status.isolation.reason})` : ""}`,
    `  coverage     ${coverageWords(coverage)} (${coverage.stored} events stored, ${coverage.lost} lost)`,
    ...(ledger ? ledgerWords(ledger, nowMs) : []),
    `  open alerts  ${device.openAlerts}`,
    ...(status
      ? [
          `  agent        ${status.version}, ${status.arch}, Linux ${status.kernel}, key list ${status.keysVersion}`,
          `  settings     ${settingsWords(status).words}`,
        ]
      : []),
    `  certificate  until ${dateWords(device.certificateExpiresMs)}`,
    `  enrolled     ${dateWords(device.enrolledMs)}`,
    ...(status ? ruleWords(rules) : []),
    ...off.map((capability) => `  sensor       ${capability.name} is ${capability.level}: ${whyWords(capability)}`),
    ...commands
      .slice(0, 10)
      .map(
        (order) =>
          `  order        ${dateWords(order.createdMs)} ${order.act} by ${order.operator}: ${commandView(order, device, nowMs).words}`,
      ),
  ];
}
