// One session of the feed, of the main cursor or of a lane, from "hello" to its end: state, silent re-read, live, commits. It keeps nothing that the next session needs.
import { decodeBatch } from "@picket/protocol/batch";
import { isCanary } from "@picket/protocol/canary";
import { eventId, type SensorEvent } from "@picket/protocol/event";
import { type Data, decodeData, type HeldExceptions, type State } from "@picket/protocol/feed";
import type { IocManifest } from "@picket/protocol/ioc";
import type { FileScanner } from "../files.ts";
import type { Arrival, Findings } from "../finding.ts";
import { Order, perform, type Step } from "../order.ts";
import { decisions } from "./decisions.ts";
import { Meter } from "./meter.ts";
import type { Progress, SessionPorts } from "./ports.ts";
import { Uncommitted } from "./uncommitted.ts";

/** Batches granted at once: what may wait here, at most about one MiB each. */
export const CREDITS = 32;
/** Of a lane: less, so that what happens now is not far behind it on the connection. */
const LANE_CREDITS = 16;
const GRANT_FROM = 8;
/** Decisions that may wait for the commit in flight. One more batch always fits: it grows at most 281 alerts (PLACES in alerts.ts) and sees 1,001 things. */
const MAX_ALERTS = 700;
const MAX_SEEN = 3500;
/** Entries of correlations, a hundred bytes each: one more batch changes at most what is kept of its device. */
const MAX_CORRELATED = 10_000;
/** One more batch has 500 at most, and a commit takes 2,000. */
const MAX_SIGHTINGS = 1500;

/** A batch that is being judged, from step `at` on. */
type Work = {
  readonly offset: number;
  readonly receivedMs: number;
  readonly silent: boolean;
  readonly decoded: ReturnType<typeof decodeBatch>;
  /** What reading it took, milliseconds: a message of 600 bytes can take 160 of them. */
  readonly readMs: number;
  readonly arrivals: readonly Arrival[];
  /** Undefined while the engines think. */
  findings: Findings | undefined;
  /** Undefined until they have. */
  steps: readonly Step[] | undefined;
  at: number;
};

type FileData = Extract<Data, { news: unknown } | { piece: unknown }>;

const nothing: Findings = new Map();

export class FeedSession {
  readonly #ports: SessionPorts;
  readonly #waiting: Uint8Array[] = [];
  readonly #order = new Order();
  /** Undefined until the first part of the state has come. */
  #id: string | undefined;
  #cursor = 0;
  #seam = 0;
  #ready = false;
  #scan: { readonly scanner: FileScanner | undefined } | undefined;
  #next = 0;
  #committed = 0;
  #owed = 0;
  readonly #uncommitted = new Uncommitted();
  readonly #meter: Meter;
  /** Devices that are read in lanes of their own. */
  readonly #aside = new Set<string>();
  #committing = false;
  #failed = false;
  #current: Work | undefined;
  #pausing = false;
  #receivedMs: number | undefined;
  /** When a batch was last decided or a commit stored, or the first came after a pause. */
  #movedMs = 0;

  constructor(ports: SessionPorts) {
    this.#ports = ports;
    this.#meter = new Meter(ports.clocks);
  }

  /** Begins. The broker answers with its state. */
  hello(): void {
    const { lane } = this.#ports;
    this.#ports.want(lane === 0 ? { kind: "hello", credits: CREDITS } : { kind: "hello", credits: LANE_CREDITS, lane });
  }

  /** Whether something waits to be judged. */
  get busy(): boolean {
    return this.#ready && (this.#current !== undefined || this.#waiting.length > 0);
  }

  get progress(): Progress {
    const batches = this.#waiting.length + (this.#current ? 1 : 0);
    const isUnsettled = batches > 0 || this.#committing;
    return {
      batches,
      oldestMs: batches > 0 ? this.#receivedMs : undefined,
      stalledMs: isUnsettled ? performance.now() - this.#movedMs : 0,
    };
  }

  /** Ends it: nothing is judged or committed any more. */
  end(): void {
    this.#failed = true;
  }

  /** What the broker calls it; undefined before it has answered. */
  get id(): string | undefined {
    return this.#id;
  }

  /** Whether the state has come: the broker accepted this session. */
  get ready(): boolean {
    return this.#ready;
  }

  /** Batches decided and acknowledged by the broker, as the offset that comes next. */
  get committed(): number {
    return this.#committed;
  }

  /** Takes a `feed/data` payload. Throws when it is none, or the order is wrong: the session is over then. */
  receive(payload: Uint8Array): void {
    if (!this.#ready) {
      const data = decodeData(payload);
      // A batch of the session before this one can still be on its way.
      if ("state" in data) this.#state(data.state);
      return;
    }
    if (!this.#current && this.#waiting.length === 0 && !this.#committing) this.#movedMs = performance.now();
    this.#waiting.push(payload);
    this.#work();
  }

  /** Files can be judged from now on; with undefined, that they will not be. Asks for them as soon as the broker has accepted this session. */
  scan(scanner: FileScanner | undefined): void {
    this.#scan = { scanner };
    if (this.#ready) this.#askForFiles();
  }

  /** Goes on: a scan is over. */
  decided(): void {
    this.#resume();
  }

  #state(part: State): void {
    if (this.#id === undefined) {
      this.#id = part.session;
      this.#cursor = this.#next = this.#committed = part.cursor;
      this.#seam = part.seam ?? 0;
    }
    if (part.session !== this.#id) return;
    this.#ports.pipeline.seed({ open: part.open, seen: part.seen, incidents: part.incidents, correlated: part.correlated });
    this.#ready = part.last;
    if (!this.#ready) return;
    if (this.#ports.lane === 0) this.#beginIocs(part.iocs ?? []);
    this.#askForFiles();
  }

  #beginIocs(manifest: IocManifest): void {
    const { exceptions } = this.#ports.pipeline;
    const excepted = (rule: string, event: SensorEvent) => exceptions.hidesNow(rule, "ioc", event);
    this.#ports.iocs?.begin({ id: this.#id!, manifest, excepted, busy: () => this.busy });
  }

  #askForFiles(): void {
    if (!this.#scan) return;
    const { scanner } = this.#scan;
    this.#ports.files.use(scanner);
    this.#ports.want({ kind: "scan", session: this.#id!, ...(scanner ? { pack: scanner.pack } : {}) });
  }

  #work(): void {
    if (this.#pausing || this.#failed) return;
    try {
      this.#takeTurn();
    } finally {
      // What was decided is told, even when what came after it cannot be followed.
      this.#commit();
    }
  }

  #takeTurn(): void {
    const turnMs = this.#ports.turnMs();
    const endMs = performance.now() + turnMs;
    while (!this.#failed && (this.#current || this.#waiting.length > 0)) {
      const { alerts, seen, correlated } = this.#ports.pipeline.pending;
      const { sightings } = this.#ports.files.pending;
      if (this.#ports.iocs?.isReady() === false) break;
      if (!this.#current && (alerts > MAX_ALERTS || seen > MAX_SEEN || correlated > MAX_CORRELATED || sightings > MAX_SIGHTINGS)) break;
      if (turnMs > 0) {
        this.#current ??= this.#open(this.#waiting.shift()!);
        if (this.#current && !this.#current.findings) break;
        if (this.#current) this.#judge(this.#current, endMs);
        if (performance.now() < endMs) continue;
      }
      this.#pausing = true;
      this.#ports.later(() => {
        this.#pausing = false;
        this.#resume();
      });
      break;
    }
  }

  /** Undefined when there is nothing to judge in it. */
  #open(payload: Uint8Array): Work | undefined {
    const data = decodeData(payload);
    if ("state" in data || "lanes" in data) throw new Error("the broker sent its state twice");
    if ("exceptions" in data) return this.#except(data.exceptions);
    if ("carried" in data) return void this.#ports.carried?.(data.carried.payload);
    // Nobody's here: these go to whoever keeps the lists, not into the line.
    if ("ioc" in data) return undefined;
    if (!("header" in data)) return this.#file(data);
    const { session, offset, receivedMs } = data.header;
    if (session !== this.#id) return undefined;
    this.#grant();
    const silent = offset < this.#cursor;
    if (!silent && offset < this.#next) return undefined;
    this.#meter.start();
    const decoded = this.#decode(data.batch, offset, silent);
    const readMs = this.#meter.lap(0);
    if (decoded && !this.#aside.has(decoded.header.device)) return this.#ask({ offset, receivedMs, silent, decoded, readMs });
    if (!silent) this.#next = offset + 1;
    return undefined;
  }

  /** Those in a message come before any batch they are for. */
  #except({ session, exceptions }: HeldExceptions): undefined {
    if (session !== this.#id) return;
    this.#ports.pipeline.exceptions.put(exceptions, ({ id }, why) =>
      this.#ports.log("error", "an exception cannot be used: it hides nothing", { exception: id, why }),
    );
  }

  #file(data: FileData): undefined {
    if ("news" in data) {
      if (data.news.session === this.#id) this.#ports.files.news(data.news);
    } else if (data.piece.session === this.#id) this.#ports.files.piece(data.piece, data.bytes);
  }

  #ask(of: Pick<Work, "offset" | "receivedMs" | "silent" | "decoded" | "readMs">): Work {
    const { offset, silent, decoded, receivedMs } = of;
    const { events, header } = decoded;
    const foreign = offset < this.#seam;
    const arrivals = events.map((event) => ({ id: eventId(event), boot: header.boot, offset, receivedMs, silent, foreign }));
    const answer = this.#ports.judge({ events, arrivals });
    this.#receivedMs = silent ? undefined : receivedMs;
    const work: Work = { ...of, arrivals, findings: answer ? undefined : nothing, steps: undefined, at: 0 };
    answer?.then((findings) => {
      work.findings = findings;
      this.#resume();
    });
    return work;
  }

  /** Until the batch or the time is over. */
  #judge(work: Work, endMs: number): void {
    const { decoded, silent } = work;
    const { device } = decoded.header;
    this.#meter.start();
    if (!work.steps) {
      work.steps = this.#stepsOf(work);
      this.#charge(device, work.readMs + this.#meter.lap(0), 0);
    }
    const { steps } = work;
    while (work.at < steps.length) {
      const step = steps[work.at++]!;
      const { report } = step.kind === "after" ? step.waiting : step;
      // Of a batch go on those of others, whom it let pass.
      if (this.#aside.has(report.event.device)) continue;
      try {
        if (step.kind !== "after") this.#see(report.event, report.arrival);
        perform(this.#ports.pipeline, step);
      } catch (error) {
        // One event must not stop the log for ever: the same batch would come again.
        this.#ports.log("error", "an event could not be judged", { event: report.arrival.id, error: String(error) });
        if (!silent) this.#uncommitted.refused++;
      }
      this.#charge(report.event.device, this.#meter.lap(1), 1);
      if (this.#meter.nowMs >= endMs) break;
    }
    if (work.at < steps.length) return;
    this.#current = undefined;
    this.#movedMs = performance.now();
    if (silent) return;
    this.#next = work.offset + 1;
    if (this.#aside.has(device)) return;
    this.#uncommitted.count(device, { events: decoded.events.length, refused: decoded.refused });
  }

  /** Charges a device with what was done for it: whoever uses more than its share is put aside. */
  #charge(device: string, ms: number, events: number): void {
    if (!this.#aside.has(device) && this.#ports.spent({ device, ms, events })) this.#setAside(device);
  }

  /** Takes back all of a device that is not on its way to the broker: its lane begins where the cursor is. */
  #setAside(device: string): void {
    this.#aside.add(device);
    this.#uncommitted.setAside(device);
    this.#order.forget(device);
    this.#ports.files.forget(device);
    this.#ports.pipeline.forget(device);
    this.#ports.log("warn", "a device holds up others: it is judged on the side", { device });
  }

  #stepsOf({ decoded, arrivals, findings, receivedMs, silent }: Work): Step[] {
    const reports = decoded.events.map((event, at) => ({ event, arrival: arrivals[at]!, findings: findings!.get(at) }));
    return this.#order.take({ header: decoded.header, receivedMs, silent, reports });
  }

  /** What an event tells besides what it is judged for. */
  #see(event: SensorEvent, arrival: Arrival): void {
    this.#ports.files.see(event, arrival);
    if (!arrival.silent && event.type === "process.exec" && isCanary(event.body.process.argv))
      this.#uncommitted.canary(event.device, arrival.receivedMs);
  }

  /** The broker checked the header when it stored the batch, not the lines. */
  #decode(batch: Uint8Array, offset: number, silent: boolean): ReturnType<typeof decodeBatch> | undefined {
    try {
      return decodeBatch(batch);
    } catch (error) {
      if (!silent) this.#uncommitted.refused++;
      this.#ports.log("warn", "a batch could not be read", { offset, error: error instanceof Error ? error.message : String(error) });
      return undefined;
    }
  }

  #grant(): void {
    if (++this.#owed < GRANT_FROM) return;
    this.#ports.want({ kind: "more", session: this.#id!, credits: this.#owed });
    this.#owed = 0;
  }

  /** At most one commit is in flight: what is decided meanwhile goes with the next. Nothing of a batch is told before all of it is judged. */
  #commit(): void {
    if (this.#current || this.#committing || this.#failed) return;
    const hasPast = this.#ports.lane === 0 && this.#ports.iocs?.pending === true;
    if (this.#next === this.#committed && !this.#uncommitted.hasAside && this.#ports.files.pending.decisions === 0 && !hasPast) return;
    this.#committing = true;
    const next = this.#next;
    const { payload, told } = decisions(this.#ports, this.#uncommitted, { session: this.#id!, next, hasPast });
    this.#ports.commit(payload).then(
      () => {
        this.#committing = false;
        this.#committed = next;
        this.#movedMs = performance.now();
        this.#ports.stored?.(told);
        this.#resume();
      },
      // The connection is over, or the broker refused it. The next session begins at the broker's cursor.
      () => {
        this.#failed = true;
      },
    );
  }

  #resume(): void {
    try {
      this.#work();
    } catch (error) {
      this.#failed = true;
      this.#ports.log("error", "the feed cannot be followed", { error: String(error) });
      this.#ports.cut(error);
    }
  }
}
