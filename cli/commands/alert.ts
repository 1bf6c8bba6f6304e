// `picket alert ID [ack|close|assign|note]`
import type { Alert } from "@picket/protocol/alert";
import type { SensorEvent } from "@picket/protocol/event";
import type { BodyOf, Device } from "@picket/protocol/rest";
import { advice } from "@picket/tui/advice";
import type { SiteClient } from "@picket/tui/client/client";
import { commandLine, eventWords, inOrder } from "@picket/tui/event-words";
import { foldTree, matchedOn } from "@picket/tui/tree";
import { clockWords, dateWords, isolationOf, isolationWords, originWords, presenceWords, summaryWords } from "@picket/tui/words";
import { Argument, type Command } from "commander";
import * as z from "zod";
import { siteOf } from "../access.ts";
import { Failure } from "../failure.ts";
import { plural, printJson, printLine } from "../output.ts";

const actions = ["ack", "close", "open", "assign", "note"] as const;
type Act = (typeof actions)[number];

export function addAlert(program: Command): void {
  program
    .command("alert")
    .description("show one alert with its evidence, or decide about it")
    .argument("<id>", "the alert's id, or the first 4 or more characters of it")
    .addArgument(new Argument("[action]", "what to do; without it the alert is shown").choices(actions))
    .argument("[text]", "for assign: the operator; for note: the text")
    .option("--json", "one JSON object: { alert, events }; after an action { alert }")
    .addHelpText(
      "after",
      "\nExamples:\n  picket alert 6f2b4c1e\n  picket alert 6f2b4c1e ack\n  picket alert 6f2b4c1e assign anna\n  picket alert 6f2b4c1e note 'vendor update, asked them'\n  picket alert 6f2b4c1e close",
    )
    .action(async (given: string, act: Act | undefined, text: string | undefined, options: { json?: boolean }, command: Command) => {
      const decision = act === undefined ? undefined : decisionOf(act, text);
      const site = siteOf(command);
      const id = await fullId(site, given);
      if (decision) {
        const { alert } = await site.call("judge", { params: { id }, body: decision });
        return options.json
          ? printJson({ alert })
          : printLine(
              `${alert.id} is ${alert.status}${alert.assignee ? `, assigned to ${alert.assignee}` : ""}, ${plural(alert.notes.length, "note")}.`,
            );
      }
      const answer = await site.call("alert", { params: { id } });
      if (options.json) return printJson(answer);
      // What to do depends on what the device is doing; an alert can be read without knowing that.
      const device = await deviceOf(site, answer.alert);
      for (const line of describe(answer.alert, answer.events, device)) printLine(line);
    });
}

/** A device of another site may be called like one of this site. */
const deviceOf = async (site: SiteClient, { device, origin }: Alert): Promise<Device | undefined> =>
  origin
    ? undefined
    : site.call("device", { params: { id: device } }).then(
        (found) => found.device,
        () => undefined,
      );

function decisionOf(act: Act, text: string | undefined): BodyOf<"judge"> {
  if (act !== "assign" && act !== "note") {
    if (text !== undefined) throw new Failure(`${act} takes no text; to write one: picket alert ID note TEXT`, undefined, 2);
    return { status: act === "ack" ? "acknowledged" : act === "close" ? "closed" : "open" };
  }
  const most = act === "assign" ? 64 : 2000;
  if (!text || text.length > most) throw new Failure(`${act} needs a text of 1 to ${most} characters`, `picket alert ID ${act} TEXT`, 2);
  return act === "assign" ? { assignee: text } : { note: text };
}

/** Alert ids are long: the start of one will do while it names one alert among the newest thousand. */
async function fullId(site: SiteClient, given: string): Promise<string> {
  if (z.uuid().safeParse(given).success) return given;
  if (!/^[0-9a-f-]{4,36}$/.test(given))
    throw new Failure(`${JSON.stringify(given)} is not an alert's id`, "`picket alerts` lists them.", 2);
  const { alerts } = await site.call("alerts", { query: { limit: 1000 } });
  const found = alerts.filter((alert) => alert.id.startsWith(given));
  if (found.length === 1) return found[0]!.id;
  const why = found.length === 0 ? `no alert's id begins with ${given}` : `${found.length} alerts' ids begin with ${given}`;
  throw new Failure(why, found.length === 0 ? "`picket alerts` lists them." : "Give more of it.");
}

/** The same order as the console's page: what, where, what to do, how it came about. */
function describe(alert: Alert, events: readonly SensorEvent[], device: Device | undefined): string[] {
  const { now, later } = advice(alert, device, "command line");
  return [
    `${alert.severity.toUpperCase()}  ${alert.rule.title}`,
    `  id        ${alert.id}`,
    `  device    ${alert.device}${device ? ` (${deviceWords(device)})` : ""}${alert.origin ? ` of the site ${originWords(alert.origin)}` : ""}`,
    `  status    ${alert.status}${alert.assignee ? `, assigned to ${alert.assignee}` : ""}`,
    `  seen      ${plural(alert.count, "time")}, ${dateWords(alert.firstMs)} to ${dateWords(alert.lastMs)}`,
    `  score     ${alert.score} of 100, ${alert.rule.engine} rule ${alert.rule.id}${alert.rule.author ? ` by ${alert.rule.author}` : ""}`,
    `  ATT&CK    ${[...alert.attack.techniques, ...alert.attack.tactics].join(" ") || "-"}`,
    "",
    `  ${summaryWords(alert)}`,
    ...titled("What to do", now),
    ...titled("Process tree", treeLines(alert)),
    ...titled(
      "Notes",
      alert.notes.map((note) => `${dateWords(note.timeMs)} ${note.operator}: ${note.text}`),
    ),
    ...titled("Once it is known to be real", later),
    ...titled(
      "Evidence",
      inOrder(events).map((event) => `${clockWords(event.timeMs)}  ${event.type}  ${eventWords(event)}`),
    ),
  ];
}

function deviceWords(device: Device): string {
  const isolation = isolationOf(device);
  return `${presenceWords(device, Date.now())}${isolation === "no" ? "" : `, ${isolationWords[isolation]}`}`;
}

function treeLines(alert: Alert): string[] {
  const { hidden, nodes } = foldTree(alert.tree);
  const first = nodes[0]?.depth ?? 0;
  return [
    ...(hidden > 0 ? [`… ${hidden} more above (--json has them)`] : []),
    ...nodes.flatMap((node) => {
      const indent = "  ".repeat(node.depth - first);
      return [
        `${indent}${commandLine(node)}  [${node.pid}]`,
        ...matchedOn(node, alert.rule.title).map((title) => `${indent}  matched: ${title}`),
      ];
    }),
  ];
}

const titled = (title: string, lines: readonly string[]): string[] =>
  lines.length > 0 ? ["", title, ...lines.map((line) => `  ${line}`)] : [];
