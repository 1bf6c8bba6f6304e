// Alerts that may still grow. The same thing seen again within ten minutes grows its alert instead of making another.
import type { Detection, Severity } from "@picket/protocol/alert";
import { severities } from "@picket/protocol/alert";
import type { Process } from "@picket/protocol/event";
import { isProtectedRule } from "@picket/protocol/exception";
import { alertId } from "@picket/protocol/uuid5";
import { isFresh, WINDOW_MS } from "./freshness.ts";
import { clean, shortKey } from "./text.ts";

/** Event ids kept in an alert: the first ones. */
export const MAX_EVENTS = 100;
/** Alerts of one device that may be growing at once; what is more is counted in one alert that says so. */
export const MAX_GROUPS = 200;
/**
 * What is worse has places that nothing lesser takes, and so has what Picket says of itself: who floods a device with small alerts must not hide the act
 * behind them. Indicators have none, for another site may have listed what every device runs.
 */
const PLACES = { high: MAX_GROUPS + 20, critical: MAX_GROUPS + 50, itself: MAX_GROUPS + 80 };
export const MAX_GROUP_KEY = 512;
const OVERFLOW: Detection["rule"] = {
  id: "picket-alert-overflow",
  title: "Too many different alerts on one device",
  engine: "correlation",
};

/** What the details cost to make is only paid when an alert is new or gets worse. */
export type Details = Pick<Detection, "attack" | "process" | "tree" | "summary">;

export type Raise = {
  readonly rule: Detection["rule"];
  readonly severity: Severity;
  /** 0-100 */
  readonly score: number;
  readonly device: string;
  /** What an operator would call the same thing. */
  readonly group: string;
  /** Whose first alert of this rule grows whatever program it has become since: `env`, `nohup` and `ip netns exec` are no other thing than what they run. */
  readonly process?: Process | undefined;
  /** The event that made it so. Its receipt decides how long the alert grows. */
  readonly eventId: string;
  /** Earlier events that belong to it, and the time of the first: the links of a chain. */
  readonly before?: { readonly eventIds: readonly string[]; readonly firstMs: number } | undefined;
  readonly timeMs: number;
  readonly receivedMs: number;
  /** When the event that made it so came, where that is not now. */
  readonly anchorMs?: number | undefined;
  readonly details: () => Details;
  /** Its sentence is made anew each time it grows: it says how many. */
  readonly renews?: boolean;
  /** The incident it belongs to, which is told of it. */
  readonly incident: (detection: Detection) => string;
};

export type Grown = { readonly detection: Detection; readonly group: string };

type Group = {
  detection: Detection;
  readonly group: string;
  /** When the first event was received; undefined until a restarted detector has read it again. */
  anchorMs: number | undefined;
  lastEvent: string | undefined;
  dirty: boolean;
};

export class Alerts {
  readonly #site: string;
  /** device -> rule and group -> alerts, oldest first. */
  readonly #devices = new Map<string, Map<string, Group[]>>();
  /** device -> rules that made an alert there and may still have one open. */
  readonly #rules = new Map<string, Set<string>>();
  #dirty: Group[] = [];
  /** Seeded alerts by the id of their first event. */
  readonly #unanchored = new Map<string, Group[]>();

  constructor(site: string) {
    this.#site = site;
  }

  /** Takes alerts that were growing at the cursor. They grow on only once their first event was read again. */
  seed(open: readonly Grown[]): void {
    for (const { detection, group } of open) {
      const anchor = detection.events[0];
      if (anchor === undefined) continue;
      const seeded: Group = { detection, group, anchorMs: undefined, lastEvent: undefined, dirty: false };
      this.#add(seeded);
      this.#unanchored.set(anchor, [...(this.#unanchored.get(anchor) ?? []), seeded]);
    }
  }

  /** To be told of every event that is read again silently: an alert whose first event is too old is closed. */
  reread(eventId: string, receivedMs: number): void {
    for (const group of this.#unanchored.get(eventId) ?? []) group.anchorMs = receivedMs;
    this.#unanchored.delete(eventId);
  }

  /** Alerts changed since the last `take`. */
  get pending(): number {
    return this.#dirty.length;
  }

  /** Whether a rule can have an open alert on a device: false for nearly all. */
  mayBeOpen(device: string, rule: string): boolean {
    return this.#rules.get(device)?.has(rule) ?? false;
  }

  /** The alert of this rule and group that an event at this time would grow. */
  isOpen(device: string, rule: string, group: string, at: { timeMs: number; receivedMs: number }): boolean {
    return this.#find(device, keyOf(rule, group), at) !== undefined;
  }

  /** Makes an alert, or grows the one that is the same thing. An event counts once in an alert. */
  raise(raise: Raise): void {
    const found = this.#find(raise.device, keyOf(raise.rule.id, raise.group), raise) ?? this.#findProcess(raise);
    if (found) this.#grow(found, raise);
    else if (raise.rule !== OVERFLOW && this.#openOf(raise.device, raise.receivedMs) >= placesOf(raise)) this.#overflow(raise);
    else this.#make(raise);
  }

  #make(raise: Raise): void {
    const { rule, severity, score, device, group, eventId, timeMs, before } = raise;
    const firstMs = Math.min(timeMs, before?.firstMs ?? timeMs);
    const detection: Detection = {
      id: alertId({ site: this.#site, rule: rule.id, device, group, anchor: eventId }),
      site: this.#site,
      device,
      timeMs: firstMs,
      rule,
      severity,
      score,
      // The deciding one first: a restarted detector looks for it.
      events: [...new Set([eventId, ...(before?.eventIds ?? [])])],
      ...raise.details(),
      count: 1,
      firstMs,
      lastMs: timeMs,
      revision: 0,
    };
    detection.incident = raise.incident(detection);
    const made: Group = { detection, group, anchorMs: raise.anchorMs ?? raise.receivedMs, lastEvent: eventId, dirty: false };
    this.#add(made);
    this.#touch(made);
  }

  /** Alerts made or grown since the last call, as they are now. */
  take(): Grown[] {
    return this.#dirty.splice(0).map((group) => {
      group.dirty = false;
      return { detection: { ...group.detection, events: [...group.detection.events] }, group: group.group };
    });
  }

  /** Forgets alerts of a device that cannot grow any more at this time, and returns them. Not before the silent re-read is over. */
  close(nowMs: number, device: string): Detection[] {
    this.#unanchored.clear();
    const groups = this.#devices.get(device);
    if (!groups) return [];
    const closed: Detection[] = [];
    for (const [key, list] of groups) {
      const open = list.filter((group) => isOpen(group, nowMs));
      for (const group of list) if (!open.includes(group)) closed.push(group.detection);
      if (open.length > 0) groups.set(key, open);
      else groups.delete(key);
    }
    if (groups.size === 0) {
      this.#devices.delete(device);
      this.#rules.delete(device);
    }
    return closed;
  }

  /** Lets go of all of a device, also what waits to be taken. */
  forget(device: string): void {
    this.#devices.delete(device);
    this.#rules.delete(device);
    this.#dirty = this.#dirty.filter((group) => group.detection.device !== device);
  }

  /** Everything still growing. */
  all(): Detection[] {
    return [...this.#devices.values()].flatMap((groups) => [...groups.values()].flat().map((group) => group.detection));
  }

  #grow(group: Group, raise: Raise): void {
    const { detection } = group;
    const worse = raise.score > detection.score || severities.indexOf(raise.severity) > severities.indexOf(detection.severity);
    const again = group.lastEvent === raise.eventId;
    if (again && !worse) return;
    if (worse) {
      detection.severity = severities[Math.max(severities.indexOf(raise.severity), severities.indexOf(detection.severity))]!;
      detection.score = Math.max(raise.score, detection.score);
      const details = raise.details();
      Object.assign(detection, details, { attack: unionAttack([detection.attack, details.attack]) });
    } else if (raise.renews) detection.summary = raise.details().summary;
    detection.revision++;
    if (!again) {
      detection.count++;
      detection.firstMs = Math.min(detection.firstMs, raise.timeMs);
      detection.lastMs = Math.max(detection.lastMs, raise.timeMs);
      if (detection.events.length < MAX_EVENTS) detection.events.push(raise.eventId);
      group.lastEvent = raise.eventId;
    }
    detection.incident = raise.incident(detection);
    this.#touch(group);
  }

  #overflow(raise: Raise): void {
    const summary = `More than ${MAX_GROUPS} different alerts within ten minutes on ${raise.device}; the rest is only counted here. The worst of it: ${raise.rule.title}`;
    const isCritical = raise.severity === "critical";
    this.raise({
      ...raise,
      rule: OVERFLOW,
      severity: isCritical ? "critical" : "high",
      score: isCritical ? Math.max(60, raise.score) : 60,
      group: "overflow",
      details: () => ({ attack: { tactics: [], techniques: [] }, tree: [], summary: clean(summary, 1000) }),
    });
  }

  #find(device: string, key: string, at: { timeMs: number; receivedMs: number }): Group | undefined {
    return this.#devices
      .get(device)
      ?.get(key)
      ?.find((group) => isOpen(group, at.receivedMs) && Math.abs(at.timeMs - group.detection.timeMs) <= WINDOW_MS);
  }

  /** The alert of this rule that the same process made. What a restarted detector is handed holds all that this looks at. */
  #findProcess(raise: Raise): Group | undefined {
    // 0 in recordings whose author did not know it: then every process would be the same.
    if (!raise.process || raise.process.pid <= 0 || raise.process.startTicks <= 0) return undefined;
    const { pid, startTicks } = raise.process;
    let found: Group | undefined;
    for (const list of this.#devices.get(raise.device)?.values() ?? [])
      for (const group of list) {
        const { rule, process, timeMs, id } = group.detection;
        if (rule.id !== raise.rule.id || process?.pid !== pid || process.startTicks !== startTicks) continue;
        if (!isOpen(group, raise.receivedMs) || Math.abs(raise.timeMs - timeMs) > WINDOW_MS) continue;
        // The order in which alerts are handed over must not decide.
        if (!found || timeMs < found.detection.timeMs || (timeMs === found.detection.timeMs && id < found.detection.id)) found = group;
      }
    return found;
  }

  #openOf(device: string, nowMs: number): number {
    let open = 0;
    for (const list of this.#devices.get(device)?.values() ?? []) for (const group of list) if (isOpen(group, nowMs)) open++;
    return open;
  }

  #add(group: Group): void {
    const { device, rule } = group.detection;
    const groups = this.#devices.get(device) ?? new Map<string, Group[]>();
    this.#devices.set(device, groups);
    const rules = this.#rules.get(device);
    if (rules) rules.add(rule.id);
    else this.#rules.set(device, new Set([rule.id]));
    const key = keyOf(rule.id, group.group);
    const list = groups.get(key);
    if (list) list.push(group);
    else groups.set(key, [group]);
  }

  #touch(group: Group): void {
    if (group.dirty) return;
    group.dirty = true;
    this.#dirty.push(group);
  }
}

const isOpen = (group: Group, nowMs: number): boolean => group.anchorMs !== undefined && isFresh(group.anchorMs, nowMs);

function placesOf({ rule, severity }: Pick<Raise, "rule" | "severity">): number {
  if (isProtectedRule(rule.id)) return PLACES.itself;
  return rule.engine !== "ioc" && (severity === "critical" || severity === "high") ? PLACES[severity] : MAX_GROUPS;
}

const keyOf = (rule: string, group: string): string => `${rule}\n${group}`;

/** A group's name from its parts; JSON, so that no part can hold a separator. */
export const groupKey = (...parts: readonly (string | number | undefined)[]): string => shortKey(JSON.stringify(parts), MAX_GROUP_KEY);

/** All tactics and techniques, each once, as many as an alert holds. */
export function unionAttack(
  of: readonly { readonly tactics: readonly string[]; readonly techniques: readonly string[] }[],
): Detection["attack"] {
  const tactics = new Set(of.flatMap((one) => one.tactics).map((tactic) => clean(tactic, 64)));
  const techniques = new Set(of.flatMap((one) => one.techniques).map((technique) => clean(technique, 16)));
  return { tactics: [...tactics].slice(0, 16), techniques: [...techniques].slice(0, 32) };
}
