// How an exception is made on the command line: what it says, what it would have hidden, a yes, and only then it is saved.
import { type Exception, ExceptionRequest, MAX_TTL_S, whatIsTooWide } from "@picket/protocol/exception";
import { tryParse } from "@picket/protocol/try-parse";
import type { SiteClient } from "@picket/tui/client/client";
import { endWords, previewWords, whatWords } from "@picket/tui/exception-words";
import type { Command } from "commander";
import { InvalidArgumentError } from "commander";
import { collect, device, duration, durationOption, since } from "./arguments.ts";
import { confirmYes } from "./confirm.ts";
import { checkWhere, previewException } from "./exception-preview.ts";
import { Failure } from "./failure.ts";
import { printJson, printLine, progress } from "./output.ts";
import { untilInterrupted } from "./until.ts";

const DAY_MS = 86_400_000;
const WEEK_MS = 7 * DAY_MS;
/** How often it says how far it is, milliseconds. */
const TELL_MS = { terminal: 200, lines: 5000 };

export type ExceptionOptions = {
  readonly where?: Readonly<Record<string, readonly string[]>>;
  readonly device?: readonly string[];
  readonly for: number;
  readonly reason?: string;
  readonly since?: number;
  readonly yes?: boolean;
  readonly json?: boolean;
};

type Where = Record<string, string[]>;

/** `Image=/usr/bin/rsync`; the same field again is another value that will do. */
function condition(text: string, before: Where = {}): Where {
  const at = text.indexOf("=");
  const key = text.slice(0, at).trim();
  if (at < 1 || text.length === at + 1)
    throw new InvalidArgumentError("a condition is FIELD=VALUE or FIELD|contains=VALUE, such as Image=/usr/bin/rsync.");
  return { ...before, [key]: [...(before[key] ?? []), text.slice(at + 1)] };
}

const checkedTtl = (text: string): number => {
  const ms = duration(text);
  if (ms < 60_000 || ms > MAX_TTL_S * 1000)
    throw new InvalidArgumentError(`an exception lasts 1m to ${MAX_TTL_S / 86_400}d: there is none for ever.`);
  return ms;
};

/** What an exception may say; its `--rule` or alert apart. */
export const exceptionOptions = (command: Command): Command =>
  command
    .option(
      "--where <field=value>",
      "a condition that must hold; may be repeated, the same field again is another value that will do",
      condition,
    )
    .option("--device <id>", "only on this device; may be repeated", (text: string, before?: readonly string[]) =>
      collect(device(text), before),
    )
    .addOption(durationOption("--for <time>", "until it ends by itself, at most 365d", 30 * DAY_MS).argParser(checkedTtl))
    .option("--reason <text>", "why this is no alert; other operators see it")
    .option("--since <time>", "how far back to look for what it would have hidden (default: 7d)", since)
    .option("--yes", "save it without asking")
    .option("--json", "one JSON object: { exception?, preview }");

type Draft = Pick<ExceptionRequest, "rule" | "where" | "devices">;

/** What the site would refuse is refused before anything is read. */
function checked(draft: Draft): Draft {
  const wrong = whatIsTooWide(draft);
  if (wrong) throw new Failure(`--${wrong.at === "devices" ? "device" : wrong.at}: ${wrong.what}`, "docs/alerts.md has examples.", 2);
  checkWhere(draft.where);
  return draft;
}

/** Shows what it would have hidden, and saves nothing. */
export async function showPreview(site: SiteClient, draft: Draft, options: ExceptionOptions): Promise<void> {
  checked(draft);
  const preview = await look(site, draft, options);
  if (options.json) return printJson({ preview });
  say(draft, preview);
}

/** Shows what it would have hidden, asks, and saves it. */
export async function saveException(site: SiteClient, draft: Draft & { alert?: string }, options: ExceptionOptions): Promise<void> {
  checked(draft);
  if (options.reason === undefined) throw new Failure("an exception needs a reason", "--reason 'nightly backup, agreed with the owner'", 2);
  if (!options.yes && (options.json || !process.stdin.isTTY || !process.stderr.isTTY))
    throw new Failure(
      "this asks before it saves, and there is no terminal to ask",
      "Look with `picket exceptions preview`, then add --yes.",
      2,
    );
  const request = tryParse(ExceptionRequest, { ...draft, reason: options.reason, ttlS: Math.round(options.for / 1000) });
  if (!request.success) throw new Failure(request.error.issues.map(({ message }) => message).join("; "), undefined, 2);
  const preview = await look(site, draft, options);
  if (!options.json) say(draft, preview);
  if (!options.yes && !(await confirmYes("Save it?"))) throw new Failure("nothing was saved");
  const { exception } = await site.call("addException", { body: request.data });
  if (options.json) return printJson({ exception, preview });
  sayMade(exception, draft.alert);
}

function sayMade(exception: Exception, alert: string | undefined): void {
  printLine(`Exception ${exception.id} holds ${endWords(exception, Date.now())}, for what the site receives from now on.`);
  if (alert !== undefined) printLine("The alert it was made from is closed as a false positive.");
  printLine(`To end it: picket exceptions remove ${exception.id}`);
}

function say(draft: Draft, preview: Awaited<ReturnType<typeof look>>): void {
  const { warnings, lines } = previewWords(preview, Date.now());
  printLine(`It hides ${whatWords(draft)}`);
  for (const text of lines) printLine(`  ${text}`);
  for (const text of warnings) printLine(`WARNING: ${text}`);
}

async function look(site: SiteClient, draft: Draft, options: ExceptionOptions) {
  using line = progress(process.stderr);
  const everyMs = process.stderr.isTTY ? TELL_MS.terminal : TELL_MS.lines;
  let toldMs = performance.now();
  return previewException(site, draft, {
    sinceMs: options.since ?? Date.now() - WEEK_MS,
    signal: untilInterrupted(),
    told: (events, total) => {
      if (performance.now() - toldMs < everyMs) return;
      toldMs = performance.now();
      line.say(`looking at what it would have hidden: ${events} of ${total} events (Ctrl-C stops looking)`);
    },
  });
}
