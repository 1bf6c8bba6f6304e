// `picket exceptions`: what is excepted from alerting, until when, and what a new exception would hide.
import type { Exception } from "@picket/protocol/exception";
import { endWords, usedWords, whatWords } from "@picket/tui/exception-words";
import { dateWords } from "@picket/tui/words";
import type { Command } from "commander";
import { siteOf } from "../access.ts";
import { whole } from "../arguments.ts";
import { type ExceptionOptions, exceptionOptions, saveException, showPreview } from "../exception-flow.ts";
import { printJson, printLine, printTable } from "../output.ts";

const RULE = "the id of a rule; engine:sigma and the like, or *, with named devices and exact conditions";
const EXAMPLE = "--rule 8f2e6c1a-... --where Image=/usr/bin/rsync --where ParentImage=/usr/sbin/cron --device gw-014";

type Options = ExceptionOptions & { readonly rule: string };

export function addExceptions(program: Command): void {
  const exceptions = program
    .command("exceptions")
    .description("list, make and end exceptions: what is no alert here, for a while")
    .addHelpText(
      "after",
      `\nAn exception ends by itself. It is never changed: make another and remove the old one.\n\nExamples:\n  picket exceptions list\n  picket exceptions preview ${EXAMPLE}\n  picket alert 6f2b4c1e except --reason 'nightly backup'`,
    );
  exceptions
    .command("list", { isDefault: true })
    .description("those that hold, and those that ended in the last 14 days")
    .option("--all", "also those that ended earlier")
    .option("--json", "one exception a line (NDJSON)")
    .addHelpText("after", "\nExamples:\n  picket exceptions list\n  picket exceptions list --all --json | jq 'select(.used == 0)'")
    .action(async (options: { all?: boolean; json?: boolean }, command: Command) => list(options, command));
  exceptions
    .command("show")
    .description("one exception, who made it and why, and how often it was used")
    .argument("<id>", "its number", whole(1, Number.MAX_SAFE_INTEGER))
    .option("--json", "one JSON object: { exception }")
    .addHelpText("after", "\nExamples:\n  picket exceptions show 12")
    .action(async (id: number, options: { json?: boolean }, command: Command) => {
      const { exception } = await siteOf(command).call("exception", { params: { id } });
      if (options.json) printJson({ exception });
      else for (const text of describe(exception)) printLine(text);
    });
  exceptionOptions(exceptions.command("add").requiredOption("--rule <id>", RULE))
    .description("except what a rule finds: shows what would have been hidden, asks, and saves")
    .addHelpText(
      "after",
      `\nA value may hold * and ?. All conditions must hold. They are case-sensitive.\n\nExamples:\n  picket exceptions add ${EXAMPLE} --reason 'nightly backup'\n  picket exceptions add --rule picket-chain-burst --where 'Image=/opt/app/*/worker' --for 7d --reason 'load test' --yes`,
    )
    .action(async (options: Options, command: Command) => saveException(siteOf(command), draftOf(options), options));
  exceptionOptions(exceptions.command("preview").requiredOption("--rule <id>", RULE))
    .description("what an exception would have hidden; nothing is saved")
    .addHelpText("after", `\nExamples:\n  picket exceptions preview ${EXAMPLE} --since 30d`)
    .action(async (options: Options, command: Command) => showPreview(siteOf(command), draftOf(options), options));
  exceptions
    .command("remove")
    .description("end an exception now; it stays in `list --all`")
    .argument("<id>", "its number", whole(1, Number.MAX_SAFE_INTEGER))
    .option("--json", "one JSON object: { exception }")
    .addHelpText("after", "\nExamples:\n  picket exceptions remove 12")
    .action(async (id: number, options: { json?: boolean }, command: Command) => {
      const { exception } = await siteOf(command).call("removeException", { params: { id } });
      if (options.json) printJson({ exception });
      else printLine(`Exception ${exception.id}: ${endWords(exception, Date.now())}. What it hid alerts again.`);
    });
}

const draftOf = ({ rule, where = {}, device = [] }: Options) => ({
  rule,
  where: Object.fromEntries(Object.entries(where).map(([key, values]) => [key, [...values]])),
  devices: [...device],
});

async function list(options: { all?: boolean; json?: boolean }, command: Command): Promise<void> {
  const { exceptions } = await siteOf(command).call("exceptions", { query: options.all ? { all: "true" } : {} });
  if (options.json) for (const exception of exceptions) printJson(exception);
  else if (exceptions.length === 0) printLine("Nothing is excepted.");
  else
    printTable(
      ["id", "state", "by", "used", "hides"],
      exceptions.map((one) => [
        String(one.id),
        endWords(one, Date.now()),
        one.operator,
        one.lastUsedMs === undefined ? "never" : `${one.used}x, last ${dateWords(one.lastUsedMs)}`,
        whatWords(one),
      ]),
    );
}

const describe = (exception: Exception): string[] => [
  `Exception ${exception.id} hides ${whatWords(exception)}`,
  `  reason    ${exception.reason}`,
  `  made      ${dateWords(exception.createdMs)} by ${exception.operator}${exception.alert === undefined ? "" : `, from alert ${exception.alert}`}`,
  `  state     ${exception.state === "holds" ? "holds " : ""}${endWords(exception, Date.now())}`,
  `  used      ${usedWords(exception)}`,
];
