// One event in, alerts out: the same for the live detector and for `picket replay`. No clock, no chance: the same log gives the same alerts.
import type { Detection } from "@picket/protocol/alert";
import { processOf, type SensorEvent } from "@picket/protocol/event";
import type { Correlated as Kept, Seen } from "@picket/protocol/feed";
import type { IncidentReport, OpenIncident } from "@picket/protocol/incident";
import type { Correlation as SigmaCorrelation } from "@picket/rules/correlation/correlation";
import type { Matcher } from "@picket/rules/rule";
import { Alerts, type Grown, MAX_GROUP_KEY } from "./alerts.ts";
import { type Correlated, Correlation } from "./correlate/correlate.ts";
import { anyRare, type ProcessNode } from "./correlate/node.ts";
import { aloneOf } from "./correlate/processes.ts";
import { Sightings } from "./correlate/sightings.ts";
import { type Named, sigmaEngine } from "./engines/sigma.ts";
import { Exceptions } from "./exceptions/exceptions.ts";
import type { Arrival, Finding, Judged, Report, RuleFacts } from "./finding.ts";
import { isFresh, LINK_MS } from "./freshness.ts";
import { aboutAlert, aboutFile, noted, whereOf } from "./incident-facts.ts";
import { Incidents } from "./incidents/incidents.ts";
import { Noise } from "./noise/noise.ts";
import { noisyRule, noisyWords } from "./noise/words.ts";
import { Raising, subjectOf } from "./raising.ts";
import { aboutFired, type Deciding, overflowOf, raiseOf } from "./sigma-alerts.ts";
import { type Fired, SigmaCorrelations } from "./sigma-correlation/correlations.ts";
import { shortKey } from "./text.ts";

/** Programs a device must have started before rarity says anything about it: on a new device everything is rare. */
export const WARM_UP_EXECS = 100;
/** How often what can no longer count is cleared away. Milliseconds of the broker. */
const CLEAR_EVERY_MS = 60_000;

export type PipelineOptions = {
  readonly site: string;
  readonly rules: readonly RuleFacts[];
  readonly matcher: Matcher;
  /** Sigma's correlations over these rules. Default none. */
  readonly correlations?: readonly SigmaCorrelation[] | undefined;
  /** Names rules that only devices have. */
  readonly named?: Named | undefined;
  /** False where each device's time of receipt is its own, so that none can be called quiet by another's. Default true. */
  readonly oneClock?: boolean;
  /** Default `WARM_UP_EXECS`. */
  readonly warmUpExecs?: number | undefined;
};

export class Pipeline {
  readonly #sigma: ReturnType<typeof sigmaEngine>;
  readonly #alerts: Alerts;
  /** What operators excepted: it is hidden before alerts, score and sequences. */
  readonly exceptions = new Exceptions();
  /** What matches nearly everything is left out, and counted. */
  readonly noise = new Noise((rule) => this.#sigma.knows(rule));
  readonly #incidents: Incidents;
  readonly #sightings = new Sightings();
  readonly #correlation = new Correlation(this.#sightings, ({ rule, subject }, event, arrival) =>
    this.exceptions.hides(rule.id, "correlation", asOf(subject, event, arrival.receivedMs), arrival),
  );
  readonly #together: SigmaCorrelations;
  readonly #raising: Raising;
  readonly #oneClock: boolean;
  readonly #cleared = new Map<string, number>();
  readonly #closed: Detection[] = [];
  /** When the latest event was received. */
  #nowMs = 0;

  constructor(options: PipelineOptions) {
    this.#sigma = sigmaEngine(options.rules, options.matcher, options.named);
    this.#alerts = new Alerts(options.site);
    this.#incidents = new Incidents(options.site);
    this.#together = new SigmaCorrelations(options.correlations ?? [], options.rules, ({ id }, device, group, at) =>
      this.#alerts.isOpen(device, id, shortKey(group, MAX_GROUP_KEY), at),
    );
    this.#oneClock = options.oneClock ?? true;
    this.#raising = new Raising({
      alerts: this.#alerts,
      incidents: this.#incidents,
      exceptions: this.exceptions,
      sightings: this.#sightings,
      warmUp: options.warmUpExecs ?? WARM_UP_EXECS,
    });
  }

  /** What the broker kept: alerts that were growing, incidents that were open and totals at the cursor. Before the first event. */
  seed(of: {
    open: readonly Grown[];
    seen: readonly Seen[];
    incidents?: readonly OpenIncident[] | undefined;
    correlated?: readonly Kept[] | undefined;
  }): void {
    this.#alerts.seed(of.open);
    this.#incidents.seed(of.incidents ?? []);
    this.#sightings.seed(of.seen);
    this.#together.seed(of.correlated ?? []);
  }

  /** Judges one event, with what other engines say of it. Never throws on what a device can send. */
  handle(event: SensorEvent, arrival: Arrival, said: readonly Finding[] = []): void {
    this.#arrive(event, arrival);
    const matched = this.exceptions.left(this.#sigma.match(event), "sigma", event, arrival);
    const rules = this.#sift(matched, event, arrival);
    const findings = this.exceptions.leftOf(said, event, arrival);
    const correlated = this.#correlation.take(event, blaming(rules, findings), arrival);
    this.#putTogether(matched, event, correlated.node, arrival);
    if (arrival.silent) return;
    this.#raiseRules(rules, findings, event, correlated.node, arrival);
    this.#raiseCorrelated(correlated, event, arrival);
    this.#tell(correlated, event, arrival);
  }

  /** The first half of `handle`, for an event that overtook others: its rules raise their alerts at once. `correlate` is the second. */
  judgeAhead({ event, arrival, findings: said = [] }: Report): Judged {
    this.#arrive(event, arrival);
    const matched = this.exceptions.left(this.#sigma.match(event), "sigma", event, arrival);
    const rules = this.#sift(matched, event, arrival);
    const findings = this.exceptions.leftOf(said, event, arrival);
    const all = blaming(rules, findings);
    const process = processOf(event);
    // Its place in the tree is not known yet: the picture shows what it says of itself.
    if (!arrival.silent) this.#raiseRules(rules, findings, event, process && aloneOf(process, all, event, arrival), arrival);
    return { event, arrival, findings, rules: all, matched };
  }

  /** The second half, at the time of the batch that let it pass. `silent`: this was decided before, in an earlier session. */
  correlate({ event, arrival, rules, matched }: Judged, at: Pick<Arrival, "receivedMs" | "silent">): void {
    const then = { ...arrival, ...at, anchorMs: arrival.receivedMs };
    const correlated = this.#correlation.take(event, rules, then);
    this.#putTogether(matched, event, correlated.node, then);
    if (at.silent) return;
    this.#raiseCorrelated(correlated, event, then);
    if (this.#incidents.has(event.device)) this.#incidents.bridge(whereOf(event, correlated.node, then));
    this.#tell(correlated, event, then);
  }

  /** What no alert may be about, and belongs to the story of one. */
  #tell({ step }: Correlated, event: SensorEvent, arrival: Arrival): void {
    if (!this.#incidents.has(event.device)) return;
    if (step) this.#incidents.note(noted(event.device, step, arrival.receivedMs));
    if (event.type !== "auth.login" || !event.body.ok || event.body.remoteIp === undefined) return;
    const { user, remoteIp, method } = event.body;
    this.#incidents.login(whereOf(event, undefined, arrival), { user, ip: remoteIp, method });
  }

  /** An alert that was decided elsewhere, about a file, with the incident it belongs to. */
  adopt(detection: Detection, of: { path: string; sha256: string }): Detection {
    const { device, timeMs, process, rule } = detection;
    const about = aboutFile({ ...of, device, timeMs, process, title: rule.title, receivedMs: this.#nowMs || timeMs });
    return { ...detection, incident: this.#incidents.place(detection, about) };
  }

  /** Without the rules that match nearly everything there. Where one began to, an alert counts what is left out, for as long as `INTERVAL_MS` goes on. */
  #sift(matched: readonly RuleFacts[], event: SensorEvent, arrival: Arrival): readonly RuleFacts[] {
    const sifted = this.noise.sift(matched, event, arrival, () => processOf(event)?.exe ?? subjectOf(event));
    if (!sifted) return matched;
    if (!arrival.silent)
      for (const rule of sifted.fresh)
        this.#raising.rule(
          { engine: "correlation", rule: noisyRule, group: rule.id, about: "device", summary: noisyWords(rule) },
          event,
          undefined,
          arrival,
        );
    return sifted.rules;
  }

  #arrive(event: SensorEvent, arrival: Arrival): void {
    this.exceptions.latestMs = arrival.receivedMs;
    this.#nowMs = arrival.receivedMs;
    if (arrival.foreign) return;
    if (arrival.silent) this.#alerts.reread(arrival.id, arrival.receivedMs);
    else this.#clear(event.device, arrival.receivedMs);
  }

  #raiseRules(
    rules: readonly RuleFacts[],
    findings: readonly Finding[],
    event: SensorEvent,
    node: ProcessNode | undefined,
    arrival: Arrival,
  ): void {
    for (const rule of rules) if (rule.alerts) this.#raising.rule({ engine: "sigma", rule }, event, node, arrival);
    for (const finding of findings) if (finding.rule.alerts) this.#raising.rule(finding, event, node, arrival);
  }

  /** Counts what matched in Sigma's correlations. What was decided before is in what the broker kept. */
  #putTogether(rules: readonly RuleFacts[], event: SensorEvent, node: ProcessNode | undefined, arrival: Arrival): void {
    const { silent, foreign = false, id, receivedMs } = arrival;
    if (rules.length === 0 || (silent && !foreign)) return;
    this.#raiseFired(this.#together.take(event, rules, { id, receivedMs, remember: silent }), { event, node, arrival });
    for (const device of this.#together.takeEvicted().keys()) {
      const raise = overflowOf(device, arrival, event.timeMs);
      this.#alerts.raise({
        ...raise,
        incident: (detection) => this.#incidents.place(detection, aboutAlert(event, undefined, arrival, { summary: raise.rule.title })),
      });
    }
  }

  #raiseFired(fired: readonly Fired[], by?: Deciding): void {
    for (const one of fired) {
      if (by && this.exceptions.hides(one.of.id, "correlation", by.event, by.arrival)) continue;
      const incident = (detection: Detection) => this.#incidents.place(detection, aboutFired(one, by));
      this.#alerts.raise({ ...raiseOf(one, by), rule: this.#raising.describe(one.of, "correlation"), incident });
    }
  }

  #raiseCorrelated({ node, completed, scored }: Correlated, event: SensorEvent, arrival: Arrival): void {
    for (const chain of completed) if (anyRare(chain.ifRare)) this.#raising.chain(chain, event, arrival);
    if (node && scored) this.#raising.score(node, event, arrival);
  }

  /** What waits to be taken. */
  get pending(): { alerts: number; seen: number; correlated: number; closed: number } {
    const { pending: correlated } = this.#together;
    return { alerts: this.#alerts.pending, seen: this.#sightings.pending, correlated, closed: this.#closed.length };
  }

  /** Alerts made or grown, incidents and totals that changed, and alerts that can no longer grow, since the last call. */
  take(): { alerts: Grown[]; incidents: IncidentReport[]; seen: Seen[]; correlated: Kept[]; closed: Detection[] } {
    const alerts = this.#alerts.take().map(({ detection, group }) => ({ detection: this.#resolved(detection), group }));
    const closed = this.#closed.splice(0).map((detection) => this.#resolved(detection));
    return { alerts, incidents: this.#incidents.take(), seen: this.#sightings.take(), correlated: this.#together.changes(), closed };
  }

  /** With the incident that its own has become. */
  #resolved(detection: Detection): Detection {
    const incident = this.#incidents.resolve(detection);
    return incident === undefined || incident === detection.incident ? detection : { ...detection, incident };
  }

  /** As if it had never heard of a device. */
  forget(device: string): void {
    this.#alerts.forget(device);
    this.#incidents.forget(device);
    this.exceptions.forget(device);
    this.noise.forget(device);
    this.#sightings.forget(device);
    this.#correlation.forget(device);
    this.#together.forget(device);
    this.#cleared.delete(device);
  }

  /** Decides what has to be over, as a recording is: nothing follows any more. */
  end(): void {
    this.#raiseFired(this.#together.end());
  }

  /** All alerts that could still grow. */
  growing(): Detection[] {
    return this.#alerts.all().map((detection) => this.#resolved(detection));
  }

  #clear(device: string, nowMs: number): void {
    const last = this.#cleared.get(device);
    if (last !== undefined && Math.abs(nowMs - last) < CLEAR_EVERY_MS) return;
    this.#cleared.set(device, nowMs);
    this.#closed.push(...this.#alerts.close(nowMs, device));
    this.#incidents.close(nowMs, device);
    if (!this.#oneClock) return;
    this.#correlation.forgetQuiet(nowMs);
    this.#raiseFired(this.#together.over(nowMs));
  }
}

/** What conditions of an exception are asked of where a process stands for a sequence: its start, as far as it was told lately enough to be known after a restart. */
const asOf = ({ process, processMs }: ProcessNode, event: SensorEvent, nowMs: number): SensorEvent =>
  process && isFresh(processMs, nowMs, LINK_MS) ? { ...event, type: "process.exec", body: { process } } : event;

/** Rules and findings that blame the process. */
const blaming = (rules: readonly RuleFacts[], findings: readonly Finding[]): readonly RuleFacts[] => {
  const alone = rules.some(({ part }) => part) ? rules.filter(({ part }) => !part) : rules;
  return findings.length === 0 ? alone : [...alone, ...findings.flatMap(({ rule, about }) => (about === "device" ? [] : [rule]))];
};

export const createPipeline = (options: PipelineOptions): Pipeline => new Pipeline(options);
