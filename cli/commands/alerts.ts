// `picket alerts`
import { type Alert, type AlertStatus, type Severity, severities, statuses } from "@picket/protocol/alert";
import type { SiteClient } from "@picket/tui/client/client";
import { follow } from "@picket/tui/client/follow";
import { dateWords } from "@picket/tui/words";
import { type Command, Option } from "commander";
import { siteOf } from "../access.ts";
import { device, since, technique, whole } from "../arguments.ts";
import { printJson, printLine, printTable } from "../output.ts";
import { untilInterrupted } from "../until.ts";

type Options = {
  readonly severity?: Severity;
  readonly status?: AlertStatus;
  readonly technique?: string;
  readonly device?: string;
  readonly rule?: string;
  readonly origin?: "own" | "mesh";
  readonly since?: number;
  readonly limit: number;
  readonly follow?: boolean;
  readonly json?: boolean;
};

export function addAlerts(program: Command): void {
  program
    .command("alerts")
    .description("list alerts, newest first")
    .addOption(new Option("--severity <severity>", "only these").choices(severities))
    .addOption(new Option("--status <status>", "only these").choices(statuses))
    .option("--technique <id>", "only this ATT&CK technique, such as T1059", technique)
    .option("--device <id>", "only of this device", device)
    .option("--rule <id>", "only of this rule")
    .addOption(new Option("--origin <origin>", "only of this site, or only of others in the mesh").choices(["own", "mesh"]))
    .option("--since <time>", "only since then: 30m, 24h, 7d, or a date", since)
    .option("--limit <n>", "at most so many, 1 to 1000", whole(1, 1000), 200)
    .option("--follow", "then wait for new ones and changes, oldest first, until Ctrl-C")
    .option("--json", "one alert a line (NDJSON)")
    .addHelpText(
      "after",
      "\nExamples:\n  picket alerts --severity critical --status open\n  picket alerts --technique T1059 --since 24h --json\n  picket alerts --follow",
    )
    .action(async (options: Options, command: Command) => {
      const site = siteOf(command);
      if (options.follow) return followAlerts(site, options);
      const alerts = await read(site, options);
      // "No alert" of a device that is not there would read like an answer. Devices of other sites are not known here.
      if (alerts.length === 0 && options.device !== undefined && options.origin !== "mesh")
        await site.call("device", { params: { id: options.device } });
      if (options.json) for (const alert of alerts) printJson(alert);
      else if (alerts.length === 0) printLine("No alert matches.");
      else printTable(["id", "time", "severity", "status", "count", "device", "alert", "ATT&CK"], alerts.map(row));
    });
}

async function read(
  site: SiteClient,
  { severity, status, technique, device, rule, origin, since, limit }: Options,
): Promise<readonly Alert[]> {
  const query = Object.fromEntries(
    Object.entries({ severity, status, technique, device, rule, origin, sinceMs: since, limit }).filter(([, value]) => value !== undefined),
  );
  return (await site.call("alerts", { query })).alerts;
}

/** As much of the id as `picket alert` needs; --json has all of it. */
const row = (alert: Alert): string[] => [
  alert.id.slice(0, 8),
  dateWords(alert.lastMs),
  alert.severity,
  alert.status,
  `${alert.count}x`,
  // "/" cannot be part of a name.
  alert.origin ? `${alert.origin.site}/${alert.device}` : alert.device,
  alert.rule.title,
  alert.attack.techniques.join(" "),
];

/** Every state of an alert once, also over lost connections: what was missed is read again after each. */
async function followAlerts(site: SiteClient, options: Options): Promise<void> {
  const printed = new Map<string, string>();
  const print = (alert: Alert) => {
    const state = `${alert.revision} ${alert.status} ${alert.verdict} ${alert.assignee} ${alert.notes.length}`;
    if (!matches(alert, options) || printed.get(alert.id) === state) return;
    printed.delete(alert.id);
    printed.set(alert.id, state);
    for (const old of printed.keys()) {
      if (printed.size <= 20_000) break;
      printed.delete(old);
    }
    if (options.json) printJson(alert);
    else printLine(row(alert).join("  "));
  };
  await follow(
    site,
    {
      open: async () => (await read(site, options)).toReversed().forEach(print),
      item: (item) => item.kind === "alert" && print(item.alert),
      lost: (error, retryMs) =>
        console.error(`picket: ${error.message}; trying again in ${retryMs} ms${error.hint ? ` (${error.hint})` : ""}`),
    },
    untilInterrupted(),
  );
}

function matches(alert: Alert, { severity, status, technique, device, rule, origin, since }: Options): boolean {
  return (
    (origin === undefined || (alert.origin === undefined) === (origin === "own")) &&
    (severity === undefined || alert.severity === severity) &&
    (status === undefined || alert.status === status) &&
    (device === undefined || alert.device === device) &&
    (rule === undefined || alert.rule.id === rule) &&
    (since === undefined || alert.lastMs >= since) &&
    (technique === undefined || alert.attack.techniques.includes(technique))
  );
}
