// `picket incidents` and `picket incident ID [ack|close|open|assign|note]`
import { type Alert, type AlertStatus, type AlertVerdict, type Severity, severities, statuses } from "@picket/protocol/alert";
import type { Incident } from "@picket/protocol/incident";
import type { BodyOf, Device } from "@picket/protocol/rest";
import { incidentAdvice } from "@picket/tui/advice";
import type { SiteClient } from "@picket/tui/client/client";
import { commandLine } from "@picket/tui/event-words";
import { verdictWords } from "@picket/tui/exception-words";
import { worstAlertFirst } from "@picket/tui/state/order";
import { clockWords, dateWords, presenceWords } from "@picket/tui/words";
import { Argument, type Command, Option } from "commander";
import * as z from "zod";
import { siteOf } from "../access.ts";
import { device, since, whole } from "../arguments.ts";
import { Failure } from "../failure.ts";
import { plural, printJson, printLine, printTable } from "../output.ts";

type ListOptions = {
  readonly severity?: Severity;
  readonly status?: AlertStatus;
  readonly device?: string;
  readonly since?: number;
  readonly limit: number;
  readonly json?: boolean;
};

export function addIncidents(program: Command): void {
  program
    .command("incidents")
    .description("list incidents: the alerts of one intrusion as one line, newest first")
    .addOption(new Option("--severity <severity>", "this one and above").choices(severities))
    .addOption(new Option("--status <status>", "only these").choices(statuses))
    .option("--device <id>", "only of this device", device)
    .option("--since <time>", "only since then: 30m, 24h, 7d, or a date", since)
    .option("--limit <n>", "at most so many, 1 to 1000", whole(1, 1000), 200)
    .option("--json", "one incident a line (NDJSON)")
    .addHelpText("after", "\nExamples:\n  picket incidents --status open\n  picket incidents --severity high --since 24h --json")
    .action(async ({ since: sinceMs, json, ...options }: ListOptions, command: Command) => {
      const query = { ...options, ...(sinceMs === undefined ? {} : { sinceMs }) };
      const site = siteOf(command);
      const { incidents } = await site.call("incidents", { query });
      // "No incident" of a device that is not there would read like an answer.
      if (incidents.length === 0 && options.device !== undefined) await site.call("device", { params: { id: options.device } });
      if (json) for (const incident of incidents) printJson(incident);
      else if (incidents.length === 0) printLine("No incident matches.");
      else printIncidents(incidents);
    });
}

/** Columns of a terminal from which there is room for the year, and for how far it went. */
const WIDE = 110;

function printIncidents(incidents: readonly Incident[]): void {
  const isWide = !process.stdout.isTTY || process.stdout.columns >= WIDE;
  const head = ["id", "time", "severity", "status", "alerts", "device", "incident"];
  const rows = incidents.map(({ id, lastMs, severity, status, alerts, device: on, title, attack }) => [
    id.slice(0, 8),
    isWide ? dateWords(lastMs) : dateWords(lastMs).slice(5, 16),
    severity,
    status === "acknowledged" && !isWide ? "ack" : status,
    String(alerts),
    on,
    title,
    ...(isWide ? [attack.tactics.join(", ")] : []),
  ]);
  printTable(isWide ? [...head, "how far it went"] : head, rows);
}

const actions = ["ack", "close", "open", "assign", "note"] as const;
type Act = (typeof actions)[number];
type Options = { readonly truePositive?: boolean; readonly falsePositive?: boolean; readonly note?: string; readonly json?: boolean };

export function addIncident(program: Command): void {
  program
    .command("incident")
    .description("show one incident: its story, what to do, its alerts; or decide about all of it")
    .argument("<id>", "the incident's id, or the first 4 or more characters of it")
    .addArgument(new Argument("[action]", "what to do; without it the incident is shown").choices(actions))
    .argument("[text]", "for assign: the operator; for note: the text")
    .option("--true-positive", "with close: it was real")
    .option("--false-positive", "with close: it was nothing")
    .option("--note <text>", "with close: what you found")
    .option("--json", "one JSON object: { incident, alerts }; after an action { incident }")
    .addHelpText(
      "after",
      "\nExamples:\n  picket incident 6f2b4c1e\n  picket incident 6f2b4c1e ack\n  picket incident 6f2b4c1e assign anna\n  picket incident 6f2b4c1e note 'rebuilt the device'\n  picket incident 6f2b4c1e close --true-positive --note 'key rotated'",
    )
    .action(async (given: string, act: Act | undefined, text: string | undefined, options: Options, command: Command) => {
      const decision = act === undefined ? undefined : decisionOf(act, text, options);
      const site = siteOf(command);
      const id = await fullId(site, given);
      if (decision) {
        const { incident } = await site.call("judgeIncident", { params: { id }, body: decision });
        return options.json
          ? printJson({ incident })
          : printLine(`${incident.id} is ${stateOf(incident)}, ${plural(incident.alerts, "alert")}.`);
      }
      const answer = await site.call("incident", { params: { id } });
      if (options.json) return printJson(answer);
      const of = await site.call("device", { params: { id: answer.incident.device } }).then(
        (found) => found.device,
        () => undefined,
      );
      for (const line of describe(answer.incident, answer.alerts, of)) printLine(line);
    });
}

function decisionOf(act: Act, text: string | undefined, of: Options): BodyOf<"judgeIncident"> {
  const { truePositive, falsePositive, note } = of;
  if (act !== "close" && (truePositive || falsePositive || note !== undefined))
    throw new Failure(
      `${act} takes no verdict: --true-positive, --false-positive and --note go with close`,
      "picket incident ID close --false-positive",
      2,
    );
  if (truePositive && falsePositive)
    throw new Failure("an incident was real or it was not: give one of --true-positive and --false-positive", undefined, 2);
  if (act !== "assign" && act !== "note") {
    if (text !== undefined) throw new Failure(`${act} takes no text; to write one: picket incident ID note TEXT`, undefined, 2);
    if (act !== "close") return { status: act === "ack" ? "acknowledged" : "open" };
    if (note !== undefined && (note === "" || note.length > 2000))
      throw new Failure("--note takes a text of 1 to 2000 characters", undefined, 2);
    const verdict: AlertVerdict | undefined = truePositive ? "true_positive" : falsePositive ? "false_positive" : undefined;
    return { status: "closed", ...(verdict ? { verdict } : {}), ...(note === undefined ? {} : { note }) };
  }
  const most = act === "assign" ? 64 : 2000;
  if (!text || text.length > most) throw new Failure(`${act} needs a text of 1 to ${most} characters`, `picket incident ID ${act} TEXT`, 2);
  return act === "assign" ? { assignee: text } : { note: text };
}

/** The start of an id will do while it names one among the newest thousand. */
async function fullId(site: SiteClient, given: string): Promise<string> {
  if (z.uuid().safeParse(given).success) return given;
  if (!/^[0-9a-f-]{4,36}$/.test(given))
    throw new Failure(`${JSON.stringify(given)} is not an incident's id`, "`picket incidents` lists them.", 2);
  const { incidents } = await site.call("incidents", { query: { limit: 1000 } });
  const found = incidents.filter(({ id, merged }) => id.startsWith(given) || merged?.some((one) => one.startsWith(given)));
  if (found.length === 1) return found[0]!.id;
  const why = found.length === 0 ? `no incident's id begins with ${given}` : `${found.length} incidents' ids begin with ${given}`;
  throw new Failure(why, found.length === 0 ? "`picket incidents` lists them." : "Give more of it.");
}

const stateOf = ({ status, verdict, assignee }: Incident): string =>
  `${status}${verdictWords(verdict)}${assignee ? `, assigned to ${assignee}` : ""}`;

/** The same order as the console's page: what happened, what to do, what was found. */
function describe(incident: Incident, alerts: readonly Alert[], of: Device | undefined): string[] {
  const { now, later } = incidentAdvice(incident, alerts, of, "command line");
  const titled = (title: string, lines: readonly string[]) => (lines.length > 0 ? ["", title, ...lines.map((line) => `  ${line}`)] : []);
  return [
    `${incident.severity.toUpperCase()}  ${incident.title}`,
    `  id        ${incident.id}`,
    `  device    ${incident.device}${of ? ` (${presenceWords(of, Date.now())})` : ""}`,
    `  status    ${stateOf(incident)}`,
    `  seen      ${dateWords(incident.firstMs)} to ${dateWords(incident.lastMs)}`,
    `  score     ${incident.score} of 100, ${plural(incident.alerts, "alert")}, ${plural(incident.events, "event")}`,
    `  ATT&CK    ${[...incident.attack.techniques, ...incident.attack.tactics].join(" ") || "-"}`,
    ...titled("What happened", incident.story),
    ...titled("What to do", now),
    ...titled(
      "Alerts",
      alerts
        .toSorted(worstAlertFirst)
        .map(
          ({ firstMs, severity, id, count, rule }) =>
            `${clockWords(firstMs)}  ${severity.padEnd(8)}  ${id.slice(0, 8)}  ${count}x  ${rule.title}`,
        ),
    ),
    ...titled(
      "Process tree",
      incident.tree.map((node) => `${"  ".repeat(node.depth)}${commandLine(node)}  [${node.pid}]`),
    ),
    ...titled(
      "Linked incidents: they share an address or a file",
      incident.linked.map(({ id, device: other }) => `${other}  ${id.slice(0, 8)}`),
    ),
    ...titled(
      "Notes",
      incident.notes.map((note) => `${dateWords(note.timeMs)} ${note.operator}: ${note.text}`),
    ),
    ...titled("Once it is known to be real", later),
  ];
}
