// Waiting until the stored log was searched for a list.
import { setTimeout as sleep } from "node:timers/promises";
import type { IocSource } from "@picket/protocol/ioc";
import type { SiteClient } from "@picket/tui/client/client";
import { dateWords } from "@picket/tui/words";
import { plural, printLine, progress } from "../output.ts";
import { untilInterrupted } from "../until.ts";

const ASK_MS = 500;

/** Says how far the search is, and what it found. Ends at Ctrl-C, when there is no detector, and when the list is replaced. */
export async function followSearch(site: SiteClient, of: IocSource): Promise<void> {
  const stop = untilInterrupted();
  using line = progress(process.stderr);
  for (;;) {
    const now = (await site.call("iocs")).sources.find(({ source }) => source === of.source);
    if (now?.generation !== of.generation) return printLine("Another list took its place meanwhile.");
    if (now.active && now.past?.state !== "waiting" && now.past?.state !== "reading") {
      line[Symbol.dispose]();
      return printLine(foundWords(now));
    }
    if (!now.active && !(await site.call("site")).detector.connected) {
      line[Symbol.dispose]();
      return printLine("No detector is connected: the list is matched, and the stored log searched, as soon as there is one.");
    }
    line.say(
      now.past?.state === "reading"
        ? `searching the stored log: ${now.past.read} of ${now.past.events} events`
        : "giving the list to the detector",
    );
    await sleep(ASK_MS, undefined, { signal: stop }).catch(() => undefined);
    if (!stop.aborted) continue;
    line[Symbol.dispose]();
    return printLine("The list is in force, and the search goes on: `picket ioc list` says how far it is.");
  }
}

/** "2 devices met 3 of these. The stored log was searched from 2026-11-15 on (80,000 events): 4 alerts." */
function foundWords({ met, past }: IocSource): string {
  const who = met.devices === 0 ? "No device met any of these" : `${plural(met.devices, "device")} met ${met.indicators} of these`;
  if (!past) return `${who}. Nothing in the list is new: the stored log was searched for all of it before.`;
  if (past.events === 0) return `${who}. Nothing is stored that it could be searched for.`;
  const log = `The stored log was searched from ${dateWords(past.sinceMs ?? 0)} on (${plural(past.events, "event")})`;
  const more = past.left > 0 ? `, and ${past.left} more than one device's share, which were only counted` : "";
  return `${who}. ${log}: ${plural(past.alerts, "alert")}${more}.${met.devices > 0 ? " `picket alerts` shows them." : ""}`;
}
