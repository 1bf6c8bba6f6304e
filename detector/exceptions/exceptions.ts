// Which matches an operator has excepted. A function of the log: an exception holds for batches from one offset to another, received before it expires.
import type { Detection } from "@picket/protocol/alert";
import { eventTypes, type SensorEvent } from "@picket/protocol/event";
import { type HeldException, isProtectedRule, isWide, protectedEvents } from "@picket/protocol/exception";
import type { ExceptionUse } from "@picket/protocol/feed";
import { compileRules, type Matcher } from "@picket/rules/engine";
import type { Rule } from "@picket/rules/rule";
import { conditionOf } from "@picket/rules/where";
import type { Arrival, RuleFacts } from "../finding.ts";

type Engine = Detection["rule"]["engine"];
type At = Pick<Arrival, "offset" | "receivedMs" | "silent">;

/** Exceptions of one name (a rule, an engine, any), compiled together: one look at an event for all of them. */
type Group = { readonly byId: ReadonlyMap<string, HeldException>; readonly matcher: Matcher };

/** Told of one that cannot be used: it hides nothing. */
export type Unusable = (exception: HeldException, why: string) => void;

export class Exceptions {
  readonly #all = new Map<number, HeldException>();
  readonly #groups = new Map<string, Group>();
  /** device -> exception -> use, since the last `take`. */
  readonly #uses = new Map<string, Map<number, { count: number; lastMs: number }>>();
  /** When the latest event was received: the time by which what is decided now is judged. */
  latestMs = 0;

  /** Takes new ones, and new ends of known ones. What was decided before stays. */
  put(exceptions: readonly HeldException[], unusable: Unusable): void {
    for (const exception of exceptions) this.#all.set(exception.id, exception);
    for (const name of new Set(exceptions.map(({ rule }) => rule)))
      this.#groups.set(
        name,
        compile(
          [...this.#all.values()].filter(({ rule }) => rule === name),
          unusable,
        ),
      );
  }

  /** The rules of a match that no exception holds for: the same list where there is none, which is nearly always. */
  left<R extends RuleFacts>(rules: readonly R[], engine: Engine, event: SensorEvent, arrival: At): readonly R[] {
    if (this.#groups.size === 0 || rules.length === 0) return rules;
    const left = rules.filter((rule) => !this.hides(rule.id, engine, event, arrival));
    return left.length === rules.length ? rules : left;
  }

  /** The same for what other engines say. */
  leftOf<F extends { readonly engine: Engine; readonly rule: RuleFacts }>(
    findings: readonly F[],
    event: SensorEvent,
    arrival: At,
  ): readonly F[] {
    if (this.#groups.size === 0 || findings.length === 0) return findings;
    return findings.filter(({ engine, rule }) => !this.hides(rule.id, engine, event, arrival));
  }

  /** Whether an exception holds for this rule and event. It is counted as used, unless that was decided before. */
  hides(rule: string, engine: Engine, event: SensorEvent, arrival: At): boolean {
    if (this.#groups.size === 0) return false;
    if (isProtectedRule(rule) || protectedEvents.has(event.type)) return false;
    const held = this.#find(rule, event, arrival) ?? this.#find(`engine:${engine}`, event, arrival) ?? this.#find("*", event, arrival);
    if (held === undefined) return false;
    if (!arrival.silent) this.#count(event.device, held.id, arrival.receivedMs);
    return true;
  }

  /** The same for what is decided now and not where it stands in the log: files, which are judged when they are here. */
  hidesNow(rule: string, engine: Engine, event: SensorEvent): boolean {
    return this.hides(rule, engine, event, { offset: Number.MAX_SAFE_INTEGER, receivedMs: this.latestMs, silent: false });
  }

  /** What was used since the last call. */
  take(): ExceptionUse[] {
    const sums = new Map<number, ExceptionUse>();
    for (const uses of this.#uses.values())
      for (const [id, { count, lastMs }] of uses) {
        const sum = sums.get(id);
        sums.set(id, { id, count: count + (sum?.count ?? 0), lastMs: Math.max(lastMs, sum?.lastMs ?? 0) });
      }
    this.#uses.clear();
    return [...sums.values()];
  }

  /** Takes back what was counted of a device and not taken yet. */
  forget(device: string): void {
    this.#uses.delete(device);
  }

  #find(name: string, event: SensorEvent, { offset, receivedMs }: At): HeldException | undefined {
    const group = this.#groups.get(name);
    if (group === undefined || offset === undefined) return undefined;
    for (const { id } of group.matcher.match(event)) {
      const held = group.byId.get(id)!;
      if (offset < held.from || (held.end !== null && offset >= held.end) || receivedMs >= held.expiresMs) continue;
      if (held.devices.length === 0 || held.devices.includes(event.device)) return held;
    }
    return undefined;
  }

  #count(device: string, id: number, receivedMs: number): void {
    const uses = this.#uses.get(device) ?? new Map<number, { count: number; lastMs: number }>();
    this.#uses.set(device, uses);
    const use = uses.get(id);
    if (!use) uses.set(id, { count: 1, lastMs: receivedMs });
    else {
      use.count++;
      use.lastMs = Math.max(use.lastMs, receivedMs);
    }
  }
}

function compile(exceptions: readonly HeldException[], unusable: Unusable): Group {
  const byId = new Map<string, HeldException>();
  const rules: Rule[] = [];
  // In the order in which they were made, so that which of two is counted does not depend on when they came.
  for (const exception of exceptions.toSorted((a, b) => a.id - b.id)) {
    try {
      rules.push(asRule(exception));
      byId.set(String(exception.id), exception);
    } catch (error) {
      unusable(exception, error instanceof Error ? error.message : String(error));
    }
  }
  return { byId, matcher: compileRules(rules) };
}

/** An exception as a rule, so that its conditions mean what they mean in rules. Throws when they mean nothing. */
export function asRule({ id, rule, where }: Pick<HeldException, "id" | "rule" | "where">): Rule {
  const condition = conditionOf(where);
  if (isWide(rule) && condition.op === "constant") throw new Error("an exception for more than one rule needs conditions");
  return {
    id: String(id),
    title: rule,
    level: "informational",
    version: "1",
    tags: [],
    attack: { tactics: [], techniques: [] },
    score: 0,
    alerts: false,
    falsepositives: [],
    references: [],
    logsource: {},
    file: "exception",
    line: 1,
    detection: { events: eventTypes, condition },
  };
}
