// `picket events`
import { setTimeout as sleep } from "node:timers/promises";
import { type EventType, eventId, eventTypes, type SensorEvent } from "@picket/protocol/event";
import { eventWords } from "@picket/tui/event-words";
import { dateWords } from "@picket/tui/words";
import { type Command, Option } from "commander";
import { siteOf } from "../access.ts";
import { device, since, whole } from "../arguments.ts";
import { Failure } from "../failure.ts";
import { printJson, printLine } from "../output.ts";
import { untilInterrupted } from "../until.ts";

const HOUR_MS = 3600_000;
const POLL_MS = 1000;

type Options = {
  readonly device?: string;
  readonly type?: EventType;
  readonly since?: number;
  readonly limit: number;
  readonly follow?: boolean;
  readonly json?: boolean;
};

export function addEvents(program: Command): void {
  program
    .command("events")
    .description("print events from the site's log, oldest first")
    .option("--device <id>", "only of this device", device)
    .addOption(new Option("--type <type>", "only of this type, such as process.exec").choices(eventTypes))
    .option("--since <time>", "since then: 30m, 24h, 7d, or a date (default: 1h; with --follow: now)", since)
    .option("--limit <n>", "at most so many, 1 to 1000000; not with --follow", whole(1, 1_000_000), 1000)
    .option("--follow", "go on with new ones until Ctrl-C")
    .option("--json", "one event a line (NDJSON), with its id: what `picket replay` reads")
    .addHelpText(
      "after",
      "\nExamples:\n  picket events --device gw-014 --since 30m\n  picket events --type net.connect --follow\n  picket events --since 2d --limit 1000000 --json > events.ndjson",
    )
    .action(async (options: Options, command: Command) => {
      if (options.follow && command.getOptionValueSource("limit") === "cli")
        throw new Failure("--limit and --follow exclude each other", "--follow prints what comes, until Ctrl-C.", 2);
      const site = siteOf(command);
      // Silence of a device that is not there would read like an answer.
      if (options.device !== undefined && options.follow) await site.call("device", { params: { id: options.device } });
      const stop = options.follow ? untilInterrupted() : undefined;
      const sinceMs = options.since ?? Date.now() - (options.follow ? 0 : HOUR_MS);
      let left = options.follow ? Number.POSITIVE_INFINITY : options.limit;
      let after: number | undefined;
      while (!stop?.aborted) {
        const asked = { device: options.device, type: options.type, sinceMs, after, limit: Math.min(left, 1000) };
        const query = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
        const page = await site.call("events", { query });
        for (const event of page.events) print(event, options.json ?? false);
        left -= page.events.length;
        const ended = page.events.length === 0 && page.after === after;
        after = page.after;
        if (left <= 0) {
          const more = await site.call("events", { query: { ...query, after, limit: 1 } });
          if (more.events.length > 0) console.error("picket: there are later events too; a higher --limit prints them");
          return;
        }
        if (ended && !stop) {
          if (left === options.limit && options.device !== undefined) await site.call("device", { params: { id: options.device } });
          return;
        }
        if (ended) await sleep(POLL_MS, undefined, stop ? { signal: stop } : {}).catch(() => undefined);
      }
    });
}

function print(event: SensorEvent, json: boolean): void {
  if (json) printJson({ id: eventId(event), ...event });
  else printLine(`${dateWords(event.timeMs)}  ${event.device}  ${event.type}  ${eventWords(event)}`);
}
