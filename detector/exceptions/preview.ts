// What an exception would have hidden: over the alerts the site holds and the log they came from.
import type { Alert } from "@picket/protocol/alert";
import { BadBatch, decodeBatch } from "@picket/protocol/batch";
import { eventId, type SensorEvent } from "@picket/protocol/event";
import { type ExceptionPreview, type ExceptionRequest, isProtectedRule, isWide, protectedEvents } from "@picket/protocol/exception";
import { compileRules, type Rule } from "@picket/rules/engine";
import { asRule } from "./exceptions.ts";

const MAX_EXAMPLES = 5;
const MAX_DEVICES = 1000;

export type PreviewOf = Pick<ExceptionRequest, "rule" | "where" | "devices">;

export type Preview = {
  /** Takes a stored batch, in any order. What cannot be read is passed over. */
  take(batch: Uint8Array): void;
  readonly events: number;
  /** Once, in the end. */
  result(of: { sinceMs: number; total: number }): ExceptionPreview;
};

/** How an alert would have fared. */
type Fate = { readonly alert: Alert; found: number; hidden: number };

/**
 * Looks with the conditions the detector uses. `alerts`: those of this site in the time looked at. `rules`: those whose matches can be told here, which are the shipped ones; of others
 * only what a device reported or an alert names is counted. `words` tells of an event. Throws Error with what is wrong with the conditions.
 */
export function previewOf(
  exception: PreviewOf,
  of: { alerts: readonly Alert[]; rules: readonly Rule[]; words: (event: SensorEvent) => string },
): Preview {
  const { devices } = exception;
  const conditions = compileRules([asRule({ id: 1, ...exception })]);
  const named = of.rules.filter((one) => isFor(exception, one.id, "sigma"));
  const matcher = compileRules(named);
  const on = new Set(devices);
  const holds = (event: SensorEvent) =>
    (on.size === 0 || on.has(event.device)) && !protectedEvents.has(event.type) && conditions.match(event).length > 0;
  const fates = of.alerts
    .filter((alert) => alert.origin === undefined && isFor(exception, alert.rule.id, alert.rule.engine))
    .map((alert): Fate => ({ alert, found: 0, hidden: 0 }));
  const byEvent = new Map<string, Fate[]>();
  // A sequence is excepted by the process it is about, which its alert shows.
  for (const fate of fates.filter(({ alert }) => alert.rule.engine !== "correlation"))
    for (const id of fate.alert.events) byEvent.set(id, [...(byEvent.get(id) ?? []), fate]);
  const tally = new Tally();
  let events = 0;

  function see(event: SensorEvent): void {
    const id = byEvent.size > 0 ? eventId(event) : "";
    const mine = byEvent.get(id);
    const isHidden = holds(event) || (mine?.some(({ alert }) => alert.rule.engine === "yara") === true && holds(asFile(event)));
    for (const fate of mine ?? []) {
      fate.found++;
      if (isHidden) fate.hidden++;
    }
    if (!isHidden) return;
    const reported = event.hits?.some((hit) => isFor(exception, hit.rule, "sigma")) ?? false;
    if (!mine && !reported && matcher.match(event).length === 0) return;
    tally.match(event, of.words);
  }

  return {
    take(batch) {
      const decoded = read(batch);
      events += decoded.length;
      for (const event of decoded) see(event);
    },
    get events() {
      return events;
    },
    result: ({ sinceMs, total }) => {
      for (const fate of fates) settle(fate, holds);
      const hidden = fates.filter((fate) => fate.hidden > 0);
      const gone = hidden.filter(isGone);
      for (const { alert } of hidden) tally.alert(alert);
      return {
        ...{ sinceMs, events, total, ...tally.sums() },
        alerts: { all: fates.length, gone: gone.length, smaller: hidden.length - gone.length },
        rules: [...new Set(hidden.map(({ alert }) => alert.rule.title))],
        truePositives: hidden.filter(({ alert }) => alert.verdict === "true_positive").length,
        openCritical: hidden.filter(({ alert }) => alert.status !== "closed" && alert.severity === "critical").length,
      };
    },
  };
}

const isFor = ({ rule }: PreviewOf, id: string, engine: Alert["rule"]["engine"]): boolean =>
  engine !== "broker" && !isProtectedRule(id) && (rule === id || (isWide(rule) && (rule === "*" || rule === `engine:${engine}`)));

/** Every event it holds would have been hidden. */
const isGone = ({ found, hidden }: Fate) => hidden === found;

/** Of events that are no longer in the log, and of sequences, what the alert itself says of its process decides. */
function settle(fate: Fate, holds: (event: SensorEvent) => boolean): void {
  const { process, device, timeMs } = fate.alert;
  if (fate.found > 0 || !process) return;
  fate.found = 1;
  fate.hidden = holds({ v: 1, device, epoch: "aaaaaaaa", seq: 0, timeMs, type: "process.exec", body: { process } }) ? 1 : 0;
}

/** A program that was run, as the file it is. */
function asFile(event: SensorEvent): SensorEvent {
  if (event.type !== "process.exec") return event;
  const { process } = event.body;
  return { ...event, type: "file.hash", body: { process, file: { path: process.exe, sha256: process.sha256 ?? "", size: 0 } } };
}

function read(batch: Uint8Array): readonly SensorEvent[] {
  try {
    return decodeBatch(batch).events;
  } catch (error) {
    if (error instanceof BadBatch) return [];
    throw error;
  }
}

class Tally {
  #matches = 0;
  readonly #devices = new Map<string, { alerts: number; matches: number }>();
  readonly #examples: { timeMs: number; device: string; words: string }[] = [];

  match(event: SensorEvent, words: (event: SensorEvent) => string): void {
    this.#matches++;
    const on = this.#of(event.device);
    on.matches++;
    // The first on each device says more than five of one.
    if (this.#examples.length < MAX_EXAMPLES && on.matches === 1) this.#examples.push(exampleOf(event, words(event)));
  }

  alert({ device, timeMs, summary }: Alert): void {
    const on = this.#of(device);
    on.alerts++;
    if (this.#examples.length < MAX_EXAMPLES && on.matches === 0 && on.alerts === 1)
      this.#examples.push({ timeMs, device, words: summary });
  }

  sums(): Pick<ExceptionPreview, "matches" | "devices" | "examples"> {
    const devices = [...this.#devices].map(([device, of]) => ({ device, ...of }));
    return {
      matches: this.#matches,
      devices: devices.sort((a, b) => b.alerts - a.alerts || b.matches - a.matches || (a.device < b.device ? -1 : 1)),
      examples: this.#examples,
    };
  }

  #of(device: string): { alerts: number; matches: number } {
    const known = this.#devices.get(device);
    if (known) return known;
    const made = { alerts: 0, matches: 0 };
    if (this.#devices.size < MAX_DEVICES) this.#devices.set(device, made);
    return made;
  }
}

const exampleOf = ({ timeMs, device }: SensorEvent, words: string) => ({ timeMs, device, words });
