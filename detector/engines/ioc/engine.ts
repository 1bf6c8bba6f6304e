// The list engine: an event that names what is on a list of indicators.
import { processOf, type SensorEvent } from "@picket/protocol/event";
import { iocGroup } from "@picket/protocol/ioc";
import type { IndicatorKind } from "@picket/protocol/ioc-value";
import type { Level } from "@picket/rules/rule";
import type { Engine, EventBatch, Finding, Findings, RuleFacts } from "../../finding.ts";
import { actor, sentence } from "../../sentence.ts";
import { clean } from "../../text.ts";
import type { IocIndex, Listed } from "./index.ts";
import { type Found, look, lookedAt } from "./look.ts";

const MAX_SHOWN = 120;
const MAX_AUTHOR = 256;
/** Rules kept made: one for each kind, level and choice of lists. */
const MAX_RULES = 1000;

type Told = { readonly id: string; readonly title: string; readonly attack: RuleFacts["attack"] };
const contact = { tactics: ["command-and-control"], techniques: ["T1071"] };
const malicious = { tactics: ["execution"], techniques: ["T1204.002"] };
const told: Readonly<Record<IndicatorKind, Told>> = {
  sha256: { id: "picket-ioc-sha256", title: "A file that is on a list of indicators", attack: malicious },
  address: { id: "picket-ioc-address", title: "An address that is on a list of indicators", attack: contact },
  domain: { id: "picket-ioc-domain", title: "A domain that is on a list of indicators", attack: contact },
  url: { id: "picket-ioc-url", title: "A URL that is on a list of indicators", attack: contact },
  path: { id: "picket-ioc-path", title: "A path that is on a list of indicators", attack: malicious },
  name: { id: "picket-ioc-name", title: "A file name that is on a list of indicators", attack: malicious },
};
const scores: Readonly<Record<Level, number>> = { informational: 10, low: 30, medium: 50, high: 70, critical: 85 };

const made = new Map<string, RuleFacts>();

/** One object for the same thing: whoever is given it remembers what it made of it. */
function ruleOf(kind: IndicatorKind, level: Level, author: string): RuleFacts {
  const key = `${kind}\n${level}\n${author}`;
  const known = made.get(key);
  if (known) return known;
  const rule: RuleFacts = { ...told[kind], level, author, score: scores[level], alerts: true };
  if (made.size >= MAX_RULES) made.clear();
  made.set(key, rule);
  return rule;
}

/** By the confidence of the surest list. Who is only knocked at by a listed address did nothing yet, and the whole internet knocks. */
export function levelOf({ kind, entries }: Listed, event: SensorEvent): Level {
  const { confidence } = entries[0]!;
  if (event.type === "auth.login" && !event.body.ok) return "low";
  const level = confidence >= 75 ? "high" : confidence >= 40 ? "medium" : "low";
  if (event.type === "net.accept" && level === "high") return "medium";
  const isFile = kind === "sha256" && event.type === "process.exec";
  return isFile && confidence >= 90 ? "critical" : level;
}

/** What an operator would call the same thing: the same program meeting the same indicator. */
function groupOf(listed: Listed, event: SensorEvent): string {
  return iocGroup(listed, processOf(event)?.exe ?? (event.type === "auth.login" ? `login of ${event.body.user}` : event.type));
}

/** ", listed by feed-a as Mirai (confidence 80, until 2026-12-01) and by 2 more lists". */
function listedBy({ entries }: Listed): string {
  const [{ source, confidence, expiresS, label }] = entries as [Listed["entries"][number]];
  const as = label === "" ? "" : ` as ${clean(label, MAX_SHOWN)}`;
  const until = expiresS === 0 ? "" : `, until ${new Date(expiresS * 1000).toISOString().slice(0, 10)}`;
  const more = entries.length === 1 ? "" : ` and by ${entries.length - 1} more list${entries.length === 2 ? "" : "s"}`;
  return `listed by ${source}${as} (confidence ${confidence}${until})${more}`;
}

/** "curl (pid 12) connected to 203.0.113.9:443; 203.0.113.9 is listed by feed-a as Mirai (confidence 80, until 2026-12-01)". */
function summaryOf({ listed, how }: Found, event: SensorEvent): string {
  const process = processOf(event);
  const shown = clean(listed.value, MAX_SHOWN);
  const what =
    how === undefined ? sentence(event, process?.parent?.exe) : `${process ? actor(process, process.parent?.exe) : "sudo"} ${how} ${shown}`;
  return `${clean(what, 500)}; ${how === undefined ? shown : "it"} is ${listedBy(listed)}`;
}

export function findingOf(found: Found, event: SensorEvent): Finding {
  const { listed } = found;
  const author = listed.entries
    .map(({ source }) => source)
    .join(", ")
    .slice(0, MAX_AUTHOR);
  return {
    engine: "ioc",
    rule: ruleOf(listed.kind, levelOf(listed, event), author),
    group: groupOf(listed, event),
    summary: summaryOf(found, event),
  };
}

/** Matches every event of a batch. What it says depends on the batch and the lists as they are now; it remembers nothing. */
export function iocEngine(index: IocIndex): Engine {
  return {
    name: "ioc",
    judge({ events, arrivals }: EventBatch): Promise<Findings> | undefined {
      if (index.isEmpty) return undefined;
      let found: Map<number, Finding[]> | undefined;
      for (let at = 0; at < events.length; at++) {
        const event = events[at]!;
        if (!lookedAt.has(event.type)) continue;
        const matches = look(index, event, { receivedS: Math.floor(arrivals[at]!.receivedMs / 1000) });
        if (!matches) continue;
        found ??= new Map();
        found.set(
          at,
          matches.map((one) => findingOf(one, event)),
        );
      }
      return found && Promise.resolve(found);
    },
  };
}
