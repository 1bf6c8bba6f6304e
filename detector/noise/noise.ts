// Rules that match nearly everything on a device say nothing of any event there: their matches are counted, and left out of alerts and scores.
import type { SensorEvent } from "@picket/protocol/event";
import { isProtectedRule, protectedEvents } from "@picket/protocol/exception";
import { MAX_RULE_USES, type RuleMatches, type RuleMuted } from "@picket/protocol/rule-list";
import type { Arrival, RuleFacts } from "../finding.ts";

/**
 * By the log's time of receipt. Whether a rule is noisy depends on this interval and the one before, which together are no more than what is read again
 * after a start (LOOKBACK_MS): the same log mutes the same matches.
 */
export const INTERVAL_MS = 5 * 60_000;
/** What a rule must have matched in one interval on one device, of how many different programs or other subjects, and as which share of the events of those types. */
export const NOISY = { matches: 100, subjects: 10, share: 0.5 };

/** Of these, an attack may be all there is; and what Picket says of itself is left out by nothing. */
const spared: ReadonlySet<string> = new Set<SensorEvent["type"]>(["auth.login", "auth.sudo", ...protectedEvents]);
const HOUR_MS = 3600_000;
/** Rules of one device that are counted in one interval: a device may report hits of any name. */
const MAX_RULES = 2000;

type Count = {
  matches: number;
  readonly types: Set<string>;
  /** By their hash: a device chooses how long they are. */
  readonly subjects: Set<number>;
  noisy: boolean;
};
type Device = { interval: number; types: Map<string, number>; rules: Map<string, Count>; before: ReadonlySet<string> };

export type Sifted<R extends RuleFacts> = {
  readonly rules: readonly R[];
  /** Rules that became too noisy in this interval, and were not in the one before: their matches are counted in an alert. */
  readonly fresh: readonly R[];
};

export class Noise {
  readonly #knows: (rule: string) => boolean;
  readonly #devices = new Map<string, Device>();
  #matched = new Map<string, RuleMatches>();
  #muted = new Map<string, RuleMuted>();

  /** `knows` a rule of this site or of a pack; of others nothing is counted for the broker. */
  constructor(knows: (rule: string) => boolean) {
    this.#knows = knows;
  }

  /** To be told of every event once, with the rules that match it. What another lane decides, or was decided before, is only remembered. */
  sift<R extends RuleFacts>(rules: readonly R[], event: SensorEvent, arrival: Arrival, subject: () => string): Sifted<R> | undefined {
    const device = this.#at(event.device, Math.floor(arrival.receivedMs / INTERVAL_MS));
    device.types.set(event.type, (device.types.get(event.type) ?? 0) + 1);
    if (rules.length === 0) return undefined;
    const decides = !arrival.silent && !arrival.foreign;
    if (decides) for (const { id } of rules) this.#note(this.#matched, id, arrival, {});
    if (spared.has(event.type)) return undefined;
    const what = subject();
    let out: Set<R> | undefined;
    let fresh: R[] | undefined;
    for (const rule of rules) {
      const isFresh = this.#count(device, rule.id, event.type, what);
      if (isFresh === undefined && !device.before.has(rule.id)) continue;
      if ((!rule.alerts && rule.score === 0) || isProtectedRule(rule.id)) continue;
      out ??= new Set();
      out.add(rule);
      if (isFresh && !device.before.has(rule.id)) {
        fresh ??= [];
        fresh.push(rule);
      }
      if (decides) this.#note(this.#muted, rule.id, arrival, { device: event.device });
    }
    return out && { rules: rules.filter((rule) => !out.has(rule)), fresh: fresh ?? [] };
  }

  /** What was counted since, for the commit. */
  take(): { matched: RuleMatches[]; muted: RuleMuted[] } {
    const some = <T>(of: Map<string, T>): T[] => {
      const taken = [...of].slice(0, MAX_RULE_USES);
      for (const [key] of taken) of.delete(key);
      return taken.map(([, value]) => value);
    };
    return { matched: some(this.#matched), muted: some(this.#muted) };
  }

  /** As if it had never heard of a device, but for what it has counted of all. */
  forget(device: string): void {
    this.#devices.delete(device);
  }

  #at(name: string, interval: number): Device {
    let device = this.#devices.get(name);
    if (!device) {
      device = { interval, types: new Map(), rules: new Map(), before: new Set() };
      this.#devices.set(name, device);
    }
    // What is put in order may come a moment late: it counts where its device is now.
    if (interval > device.interval) {
      const noisy = [...device.rules].flatMap(([id, count]) => (count.noisy ? [id] : []));
      device.before = new Set(interval === device.interval + 1 ? noisy : []);
      device.interval = interval;
      device.types = new Map();
      device.rules = new Map();
    }
    return device;
  }

  /** True when the rule is noisy by what it matched in this interval; undefined when it is not. */
  #count(device: Device, id: string, type: string, subject: string): true | undefined {
    let count = device.rules.get(id);
    if (!count) {
      if (device.rules.size >= MAX_RULES) return undefined;
      count = { matches: 0, types: new Set(), subjects: new Set(), noisy: false };
      device.rules.set(id, count);
    }
    count.matches++;
    if (count.noisy) return true;
    count.types.add(type);
    if (count.subjects.size < NOISY.subjects) count.subjects.add(Bun.hash.xxHash32(subject));
    if (count.matches < NOISY.matches || count.subjects.size < NOISY.subjects) return undefined;
    let events = 0;
    for (const one of count.types) events += device.types.get(one) ?? 0;
    if (count.matches < events * NOISY.share) return undefined;
    count.noisy = true;
    return true;
  }

  #note<T extends RuleMatches>(into: Map<string, T>, rule: string, { receivedMs }: Arrival, more: Omit<T, keyof RuleMatches>): void {
    if (!this.#knows(rule)) return;
    const hourMs = Math.floor(receivedMs / HOUR_MS) * HOUR_MS;
    const key = `${hourMs}\n${rule}\n${"device" in more ? more.device : ""}`;
    const known = into.get(key);
    if (known) into.set(key, { ...known, count: known.count + 1 });
    else into.set(key, { rule, hourMs, count: 1, ...more } as unknown as T);
  }
}
