// `picket alert ID [ack|close|open|assign|note|except]`
import type { Alert } from "@picket/protocol/alert";
import { proposalOf } from "@picket/protocol/exception";
import type { BodyOf, Device, ResponseOf } from "@picket/protocol/rest";
import { advice } from "@picket/tui/advice";
import type { SiteClient } from "@picket/tui/client/client";
import { commandLine, eventWords, inOrder } from "@picket/tui/event-words";
import { decisionWords, recurrenceWords, sinceClosedWords, verdictWords } from "@picket/tui/exception-words";
import { foldTree, matchedOn } from "@picket/tui/tree";
import { clockWords, dateWords, isolationOf, isolationWords, originWords, presenceWords, summaryWords } from "@picket/tui/words";
import { Argument, type Command } from "commander";
import * as z from "zod";
import { siteOf } from "../access.ts";
import { collect } from "../arguments.ts";
import { type ExceptionOptions, exceptionOptions, saveException } from "../exception-flow.ts";
import { Failure } from "../failure.ts";
import { plural, printJson, printLine } from "../output.ts";

const actions = ["ack", "close", "open", "assign", "note", "except"] as const;
type Act = (typeof actions)[number];
type Options = ExceptionOptions & {
  readonly truePositive?: boolean;
  readonly falsePositive?: boolean;
  readonly note?: string;
  readonly drop?: readonly string[];
  readonly allDevices?: boolean;
};

export function addAlert(program: Command): void {
  exceptionOptions(program.command("alert"))
    .description("show one alert with its evidence, or decide about it")
    .argument("<id>", "the alert's id, or the first 4 or more characters of it")
    .addArgument(new Argument("[action]", "what to do; without it the alert is shown").choices(actions))
    .argument("[text]", "for assign: the operator; for note: the text")
    .option("--true-positive", "with close: it was real")
    .option("--false-positive", "with close: it was nothing")
    .option("--note <text>", "with close: what you found")
    .option("--drop <field>", "with except: without this condition of the proposal; may be repeated", collect)
    .option("--all-devices", "with except: on all devices, not only on that of the alert")
    .addHelpText(
      "after",
      "\nexcept proposes the narrowest exception that makes sense of the alert, shows what it would have hidden, and asks; --where, --drop, --device and --all-devices change\nthe proposal. --json prints { alert, events, seen? }; after an action { alert }; after except { exception, preview }.\n\nExamples:\n  picket alert 6f2b4c1e\n  picket alert 6f2b4c1e ack\n  picket alert 6f2b4c1e assign anna\n  picket alert 6f2b4c1e note 'vendor update, asked them'\n  picket alert 6f2b4c1e close --false-positive --note 'vendor update'\n  picket alert 6f2b4c1e except --for 14d --reason 'nightly backup'",
    )
    .action(async (given: string, act: Act | undefined, text: string | undefined, options: Options, command: Command) => {
      const decision = act === undefined || act === "except" ? undefined : decisionOf(act, text, options);
      const site = siteOf(command);
      const id = await fullId(site, given);
      if (act === "except") return except(site, id, options);
      if (decision) {
        const { alert } = await site.call("judge", { params: { id }, body: decision });
        return options.json
          ? printJson({ alert })
          : printLine(
              `${alert.id} is ${alert.status}${verdictWords(alert.verdict)}${alert.assignee ? `, assigned to ${alert.assignee}` : ""}, ${plural(alert.notes.length, "note")}.`,
            );
      }
      const answer = await site.call("alert", { params: { id } });
      if (options.json) return printJson(answer);
      // What to do depends on what the device is doing; an alert can be read without knowing that.
      const device = await deviceOf(site, answer.alert);
      for (const line of describe(answer, device)) printLine(line);
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

/** The narrowest exception that makes sense of an alert, changed as the operator says. */
async function except(site: SiteClient, id: string, options: Options): Promise<void> {
  const { alert } = await site.call("alert", { params: { id } });
  const proposal = alert.origin ? undefined : proposalOf(alert);
  if (!proposal)
    throw new Failure(
      alert.origin
        ? `this alert was made at the site ${alert.origin.site}: an exception here would not change it`
        : `${alert.rule.title}: this tells of Picket itself, and cannot be excepted`,
    );
  const where = Object.fromEntries(Object.entries(proposal.where).filter(([key]) => !options.drop?.includes(key)));
  for (const [key, values] of Object.entries(options.where ?? {})) where[key] = [...values];
  const devices = options.allDevices ? [] : [...(options.device ?? proposal.devices)];
  await saveException(site, { rule: proposal.rule, where, devices, alert: id }, options);
}

function decisionOf(act: Exclude<Act, "except">, text: string | undefined, of: Options): BodyOf<"judge"> {
  if (act !== "close" && (of.truePositive || of.falsePositive || of.note !== undefined))
    throw new Failure(
      `${act} takes no verdict: --true-positive, --false-positive and --note go with close`,
      "picket alert ID close --false-positive",
      2,
    );
  if (of.truePositive && of.falsePositive)
    throw new Failure("an alert was real or it was not: give one of --true-positive and --false-positive", undefined, 2);
  if (act !== "assign" && act !== "note") {
    if (text !== undefined) throw new Failure(`${act} takes no text; to write one: picket alert ID note TEXT`, undefined, 2);
    if (act !== "close") return { status: act === "ack" ? "acknowledged" : "open" };
    if (of.note !== undefined && (of.note === "" || of.note.length > 2000))
      throw new Failure("--note takes a text of 1 to 2000 characters", undefined, 2);
    const verdict = of.truePositive ? "true_positive" : of.falsePositive ? "false_positive" : undefined;
    return { status: "closed", ...(verdict ? { verdict } : {}), ...(of.note === undefined ? {} : { note: of.note }) };
  }
  const most = act === "assign" ? 64 : 2000;
  if (!text || text.length > most) throw new Failure(`${act} needs a text of 1 to ${most} characters`, `picket alert ID ${act} TEXT`, 2);
  return act === "assign" ? { assignee: text } : { note: text };
}

/** Alert ids are long: the start of one will do while it names one alert among the newest thousand. */
/** The id of the one alert whose id begins so. Throws `Failure` when there is none, or more. */
export async function fullId(site: SiteClient, given: string): Promise<string> {
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
function describe({ alert, events, seen }: ResponseOf<"alert">, device: Device | undefined): string[] {
  const again = [sinceClosedWords(alert), seen && recurrenceWords(seen)].filter((words) => words !== undefined);
  const { now, later } = advice(alert, device, "command line");
  return [
    `${alert.severity.toUpperCase()}  ${alert.rule.title}`,
    `  id        ${alert.id}`,
    `  device    ${alert.device}${device ? ` (${deviceWords(device)})` : ""}${alert.origin ? ` of the site ${originWords(alert.origin)}` : ""}`,
    `  status    ${alert.status}${verdictWords(alert.verdict)}${alert.assignee ? `, assigned to ${alert.assignee}` : ""}`,
    `  seen      ${plural(alert.count, "time")}, ${dateWords(alert.firstMs)} to ${dateWords(alert.lastMs)}`,
    ...again.map((words) => `            ${words}`),
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
    ...titled("History", (alert.history ?? []).map(decisionWords)),
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
