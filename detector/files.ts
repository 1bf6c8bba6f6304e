// Files by their hash, in one session of the feed: where they were seen, what the file rules say of them, and the alerts that follow.
import type { Detection } from "@picket/protocol/alert";
import type { SensorEvent } from "@picket/protocol/event";
import type { Commit, SampleMatch, SampleNews, SamplePiece, SampleVerdict, Sighting } from "@picket/protocol/feed";
import { pidOfMemory } from "@picket/protocol/memory";
import { alertId } from "@picket/protocol/uuid5";
import { processOfAlert } from "./correlate/tree.ts";
import type { Arrival } from "./finding.ts";
import { MAX_SUMMARY } from "./sentence.ts";
import { baseName, clean } from "./text.ts";

/** Judges files by rules of its own. */
export type FileScanner = {
  /** Names the rules and their version: a verdict holds for one pack. */
  readonly pack: string;
  /** Never rejects: what cannot be judged has an `error`. */
  scan(sha256: string, bytes: Uint8Array): Promise<SampleVerdict>;
};

/** Device and hash pairs remembered in a session. The broker knows the rest; this only spares it most of what it knows. */
const MAX_KNOWN = 50_000;
/** Alerts of one commit that are about files; more when a single sighting has more. The rest of the commit leaves that much room. */
const MAX_ALERTS = 90;
/** A process as a sighting carries it, bytes of argument text. */
const MAX_ARGV = 500;
const EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const hex = /^[0-9a-f]{64}$/;

type Decided = {
  readonly sightings: Sighting[];
  readonly verdicts: SampleVerdict[];
  readonly judged: NonNullable<Commit["judged"]>;
  /** `path`: where the file lies. */
  readonly alerts: readonly (Commit["alerts"][number] & { readonly path: string })[];
};

export class Files {
  readonly #site: string;
  #scanner: FileScanner | undefined;
  readonly #decided: () => void;
  readonly #excepted: (rule: string, seen: SensorEvent) => boolean;
  readonly #known = new Set<string>();
  #sightings: Sighting[] = [];
  #verdicts: SampleVerdict[] = [];
  #news: { verdict: SampleVerdict; sighting: Sighting }[] = [];
  #arriving: { sha256: string; bytes: Buffer; filled: number } | undefined;

  /** `decided` is called when a scan is over: there is something for a commit. `excepted` knows which rules operators have excepted for a file seen. */
  constructor(of: { site: string; decided: () => void; excepted?: (rule: string, seen: SensorEvent) => boolean }) {
    this.#site = of.site;
    this.#decided = of.decided;
    this.#excepted = of.excepted ?? (() => false);
  }

  /** From now on samples can be judged. */
  use(scanner: FileScanner | undefined): void {
    this.#scanner = scanner;
  }

  /** What waits to be taken. */
  get pending(): { sightings: number; decisions: number } {
    return { sightings: this.#sightings.length, decisions: this.#verdicts.length + this.#news.length };
  }

  /** Notes the file an event tells of. Of what is read again silently the broker already knows. */
  see(event: SensorEvent, { id, silent }: Pick<Arrival, "id" | "silent">): void {
    if (event.type !== "file.hash" && event.type !== "process.exec") return;
    const sha256 = event.type === "file.hash" ? event.body.file.sha256 : event.body.process.sha256;
    if (sha256 === undefined || sha256 === EMPTY || !hex.test(sha256)) return;
    const key = `${event.device}\n${sha256}`;
    if (this.#known.has(key)) return;
    this.#known.add(key);
    if (this.#known.size > MAX_KNOWN) this.#known.delete(this.#known.values().next().value!);
    if (silent) return;
    const { process } = event.body;
    const path = event.type === "file.hash" ? event.body.file.path : event.body.process.exe;
    this.#sightings.push({
      device: event.device,
      sha256,
      path: path.toWellFormed(),
      executed: process?.sha256 === sha256,
      event: id,
      timeMs: event.timeMs,
      ...(process ? { process: processOfAlert(process, MAX_ARGV) } : {}),
    });
  }

  /** Takes back what was noted of a device and not taken yet. */
  forget(device: string): void {
    for (const { device: of, sha256 } of this.#sightings) if (of === device) this.#known.delete(`${of}\n${sha256}`);
    this.#sightings = this.#sightings.filter((sighting) => sighting.device !== device);
  }

  /** Takes a piece of a sample; the last one has it scanned. Throws when pieces do not follow each other. */
  piece({ sha256, size, offset }: SamplePiece, bytes: Uint8Array): void {
    if (!this.#scanner) throw new Error("the broker sent a sample that was not asked for");
    if (offset === 0) this.#arriving = { sha256, bytes: Buffer.allocUnsafe(size), filled: 0 };
    const arriving = this.#arriving;
    const fits = arriving?.sha256 === sha256 && arriving.filled === offset && offset + bytes.length <= arriving.bytes.length;
    if (!fits || bytes.length === 0) throw new Error(`a piece of sample ${sha256} that does not follow the last`);
    arriving.bytes.set(bytes, offset);
    arriving.filled += bytes.length;
    if (arriving.filled < arriving.bytes.length) return;
    this.#arriving = undefined;
    void this.#scanner.scan(sha256, arriving.bytes).then((verdict) => {
      this.#verdicts.push(verdict);
      this.#decided();
    });
  }

  /** Takes devices that hold a bad file. */
  news({ verdict, sightings }: SampleNews): void {
    for (const sighting of sightings) this.#news.push({ verdict, sighting });
  }

  /** What goes into the next commit. */
  take(): Decided {
    const alerts: Decided["alerts"][number][] = [];
    const judged: Decided["judged"] = [];
    for (let next = this.#news[0]; next; next = this.#news[0]) {
      const { verdict, sighting } = next;
      if (judged.length > 0 && alerts.length + verdict.matches.length > MAX_ALERTS) break;
      this.#news.shift();
      for (const match of verdict.matches)
        if (!this.#excepted(match.rule, asEvent(sighting))) alerts.push({ ...this.#alert(sighting, match), path: sighting.path });
      judged.push({ device: sighting.device, sha256: sighting.sha256, pack: verdict.pack });
    }
    return { sightings: take(this.#sightings), verdicts: this.#verdicts.splice(0, 16), judged, alerts };
  }

  /** The id is made from nothing but device, hash and rule: deciding twice makes one alert. */
  #alert(sighting: Sighting, match: SampleMatch): Commit["alerts"][number] {
    const { device, sha256, timeMs, event, process } = sighting;
    const { rule, title, author, severity, score, attack } = match;
    const detection: Detection = {
      id: alertId({ site: this.#site, rule, device, group: sha256, anchor: sha256 }),
      site: this.#site,
      device,
      timeMs,
      rule: { id: rule, title, engine: "yara", ...(author === undefined ? {} : { author }) },
      severity,
      score,
      attack,
      events: [event],
      ...(process ? { process } : {}),
      tree: [],
      summary: clean(sentence(sighting, match), MAX_SUMMARY),
      count: 1,
      firstMs: timeMs,
      lastMs: timeMs,
      revision: 0,
    };
    return { detection, group: sha256 };
  }
}

/** A sighting as the event that could have told of it: conditions of exceptions are asked of that. */
function asEvent({ device, event, sha256, path, timeMs, process }: Sighting): SensorEvent {
  const [, epoch = "", seq] = event.split(":");
  return {
    v: 1,
    device,
    epoch,
    seq: Number(seq),
    timeMs,
    type: "file.hash",
    body: { file: { path, sha256, size: 0 }, ...(process ? { process } : {}) },
  };
}

/** Everything in the list, which is then empty. */
const take = <T>(list: T[]): T[] => list.splice(0);

/** "/tmp/x matches EICAR test file: $text at 0. SHA-256 275a…, written by cp (pid 12)." */
function sentence({ path, sha256, executed, process }: Sighting, { title, why }: SampleMatch): string {
  if (pidOfMemory(path) !== undefined) {
    const whose = process ? `${clean(process.exe, 300)} (pid ${process.pid})` : `process ${pidOfMemory(path)}`;
    return `The memory of ${whose} matches ${title}${why === "" ? "" : `: ${why}`}. SHA-256 ${sha256}.`;
  }
  const who =
    process && `${executed ? "run as" : "known through"} ${baseName(process.exe)}${process.pid > 0 ? ` (pid ${process.pid})` : ""}`;
  return `${clean(path, 300)} matches ${title}${why === "" ? "" : `: ${why}`}. SHA-256 ${sha256}${who ? `, ${who}` : ""}.`;
}
