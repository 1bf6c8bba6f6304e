// What matched, as alerts: of a rule, of a chain of steps, of the score of a process. Each is told to the incident it belongs to.
import type { Detection } from "@picket/protocol/alert";
import { processOf, type SensorEvent } from "@picket/protocol/event";
import { type Alerts, groupKey, MAX_GROUP_KEY, unionAttack } from "./alerts.ts";
import { chains } from "./correlate/chains.ts";
import type { Completed } from "./correlate/match.ts";
import { isLive, lineage, type ProcessNode, type Step } from "./correlate/node.ts";
import { alertScore, bandOf, type Score, scoreOf } from "./correlate/score.ts";
import type { Sightings } from "./correlate/sightings.ts";
import { verbs } from "./correlate/steps.ts";
import { parentExe, processOfAlert, treeOf } from "./correlate/tree.ts";
import type { Exceptions } from "./exceptions/exceptions.ts";
import { type Arrival, type Finding, type RuleFacts, severityOf } from "./finding.ts";
import { aboutAlert } from "./incident-facts.ts";
import type { Incidents } from "./incidents/incidents.ts";
import { actor, deed, MAX_SUMMARY, sentence } from "./sentence.ts";
import { clean, shortKey } from "./text.ts";

const SCORE_RULE: RuleFacts = {
  id: "picket-process-score",
  title: "Several suspicious signs on one process",
  level: "medium",
  attack: { tactics: [], techniques: [] },
  score: 0,
  alerts: true,
};

/** A rule of some engine that one event matched. */
type Said = Pick<Partial<Finding>, "group" | "summary" | "about" | "before"> & {
  readonly engine: Detection["rule"]["engine"];
  readonly rule: RuleFacts;
};

/** What an alert of a process tree is about. */
type Story = {
  readonly rule: RuleFacts;
  readonly focus: ProcessNode;
  /** `focus` and its ancestors. */
  readonly line: readonly ProcessNode[];
  /** What made a chain, oldest first; empty for a score. */
  readonly steps: readonly Step[];
  /** What the device remembers of before, where the chain rests on it. */
  readonly mark?: Completed["mark"];
  readonly group?: Completed["group"];
  readonly score: Score;
};

type RaisingParts = {
  readonly alerts: Alerts;
  readonly incidents: Incidents;
  readonly exceptions: Exceptions;
  readonly sightings: Sightings;
  /** Programs a device must have started before rarity says anything. */
  readonly warmUp: number;
};

export class Raising {
  readonly #alerts: Alerts;
  readonly #incidents: Incidents;
  readonly #exceptions: Exceptions;
  readonly #sightings: Sightings;
  readonly #warmUp: number;
  /** Made once a rule: cleaning a title costs more than judging an event. */
  readonly #named = new WeakMap<RuleFacts, Detection["rule"]>();

  constructor({ alerts, incidents, exceptions, sightings, warmUp }: RaisingParts) {
    this.#alerts = alerts;
    this.#incidents = incidents;
    this.#exceptions = exceptions;
    this.#sightings = sightings;
    this.#warmUp = warmUp;
  }

  /** Raises the alert of a rule that one event matched; `node` is its process in the tree. */
  rule(of: Said, event: SensorEvent, node: ProcessNode | undefined, arrival: Arrival): void {
    const { rule, engine, group, summary } = of;
    const process = of.about === "device" ? undefined : processOf(event);
    const parent = process && parentExe(process, node, arrival.receivedMs);
    this.#alerts.raise({
      rule: this.describe(rule, engine),
      severity: severityOf(rule),
      score: Math.min(100, Math.max(0, Math.round(rule.score))),
      device: event.device,
      group: group === undefined ? (process ? groupKey("process", process.exe, parent) : subjectOf(event)) : shortKey(group, MAX_GROUP_KEY),
      process: group === undefined ? process : undefined,
      eventId: arrival.id,
      before: of.before,
      timeMs: event.timeMs,
      receivedMs: arrival.receivedMs,
      details: () => ({
        attack: unionAttack([rule.attack]),
        ...(process ? { process: processOfAlert(process) } : {}),
        tree: node && process ? treeOf(node, [], arrival.receivedMs) : [],
        summary: summary === undefined ? sentence(event, parent) : clean(summary, MAX_SUMMARY),
      }),
      incident: (detection) => this.#incidents.place(detection, aboutAlert(event, process && node, arrival, process ? {} : { summary })),
    });
  }

  /** Raises the alert of a sequence that an event completed. */
  chain(chain: Completed, event: SensorEvent, arrival: Arrival): void {
    const at = { timeMs: event.timeMs, receivedMs: arrival.receivedMs };
    const score = scoreOf(chain.subject, at, this.#known(), chain.mark && chain.rule);
    const line = lineage(chain.subject, arrival.receivedMs);
    const { rule, subject, steps, mark, group } = chain;
    this.#raiseTree({ rule, focus: subject, line, steps, mark, group, score }, event, arrival, () => {
      const links = steps.map((step) => `${step.program} (pid ${step.node.pid}) ${verbs[step.kind]} ${clean(step.object, 120)}`);
      if (mark) links.unshift(mark.who);
      return `${rule.title}: ${links.join(", then ")}. Process score ${score.points}. ${rule.todo}`;
    });
  }

  /** Raises an alert for a process whose score says more than its rules already did. A chain's alert of the same tree takes it up. */
  score(node: ProcessNode, event: SensorEvent, arrival: Arrival): void {
    const at = { timeMs: event.timeMs, receivedMs: arrival.receivedMs };
    const score = scoreOf(node, at, this.#known());
    const alone = score.hits.length === 1 && (score.hits[0]!.rule.alerts || !score.firstConnection);
    if (bandOf(score.points) === undefined || alone) return;
    const line = lineage(node, arrival.receivedMs);
    const open = chains.find((rule) => this.#alerts.mayBeOpen(event.device, rule.id) && this.#openRoot(rule, line, event.device, at));
    if (this.#exceptions.hides((open ?? SCORE_RULE).id, "correlation", event, arrival)) return;
    this.#raiseTree({ rule: open ?? SCORE_RULE, focus: node, line, steps: [], score }, event, arrival, () => {
      const titles = score.hits.map((hit) => clean(hit.rule.title, 100)).join("; ");
      return `${actor(node, line[1]?.exe)} reached score ${score.points}: ${titles}. Last: ${deed(event)}`;
    });
  }

  /** One alert for a tree of processes: an open one of an ancestor grows before another is made. */
  #raiseTree(of: Story, event: SensorEvent, arrival: Arrival, summary: () => string): void {
    const { rule, focus, line, steps, mark, group, score } = of;
    const { receivedMs } = arrival;
    const root = this.#openRoot(rule, line, event.device, { timeMs: event.timeMs, receivedMs }) ?? focus;
    this.#alerts.raise({
      rule: this.describe(rule, "correlation"),
      severity: bandOf(score.points) ?? "medium",
      score: alertScore(score.points),
      device: event.device,
      group: shortKey(group ?? root.key, MAX_GROUP_KEY),
      eventId: arrival.id,
      before:
        steps.length > 0
          ? { eventIds: [...(mark ? [mark.eventId] : []), ...steps.map((step) => step.eventId)], firstMs: steps[0]!.timeMs }
          : undefined,
      timeMs: event.timeMs,
      receivedMs,
      anchorMs: arrival.anchorMs,
      details: () => {
        const nodes = [...new Set(steps.map((step) => step.node))];
        const process = focus.process ?? processOf(event);
        const matched = [focus, ...nodes].flatMap((node) =>
          node.hits.filter((hit) => isLive(hit, receivedMs)).map((hit) => hit.rule.attack),
        );
        return {
          attack: unionAttack([rule.attack, ...matched, ...(score.firstConnection ? [COMMAND_AND_CONTROL] : [])]),
          ...(process ? { process: processOfAlert(process) } : {}),
          tree: treeOf(focus, nodes, receivedMs),
          summary: clean(summary(), MAX_SUMMARY),
        };
      },
      incident: (detection) => this.#incidents.place(detection, aboutAlert(event, focus, arrival, { steps })),
    });
  }

  /** What the score of a process needs to know of its device and site. */
  #known(): { warmUp: number; devices: number } {
    return { warmUp: this.#warmUp, devices: this.#sightings.devices };
  }

  /** The nearest process of a line that has an open alert of this rule. */
  #openRoot(
    rule: RuleFacts,
    line: readonly ProcessNode[],
    device: string,
    at: { timeMs: number; receivedMs: number },
  ): ProcessNode | undefined {
    return line.find((node) => this.#alerts.isOpen(device, rule.id, shortKey(node.key, MAX_GROUP_KEY), at));
  }

  /** A rule as alerts name it. */
  describe(rule: RuleFacts, engine: Detection["rule"]["engine"]): Detection["rule"] {
    let named = this.#named.get(rule);
    if (!named) {
      named = {
        id: clean(rule.id, 128),
        title: clean(rule.title, 256),
        engine,
        ...(rule.author === undefined ? {} : { author: clean(rule.author, 256) }),
        ...(rule.todo === undefined ? {} : { todo: clean(rule.todo, 500) }),
      };
      this.#named.set(rule, named);
    }
    return named;
  }
}

const COMMAND_AND_CONTROL = { tactics: ["command-and-control"], techniques: ["T1071"] } as const;

/** What an operator would call the same thing, for events that are about no process. */
export function subjectOf(event: SensorEvent): string {
  switch (event.type) {
    case "auth.login":
      return groupKey(event.type, event.body.user, event.body.remoteIp);
    case "auth.sudo":
      return groupKey(event.type, event.body.user);
    case "device.usb":
      return groupKey(event.type, event.body.vendor, event.body.product);
    case "log.line":
      return groupKey(event.type, event.body.source);
    case "file.integrity":
      return groupKey(event.type, event.body.file.path);
    case "host.inventory":
      return groupKey(event.type, event.body.table);
    case "sensor.state":
    case "sensor.lost":
      return groupKey(event.type, event.body.collector);
    default:
      return groupKey(event.type);
  }
}
