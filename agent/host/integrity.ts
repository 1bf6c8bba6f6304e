// file.integrity: critical files compared with what they were, when the sensor sees somebody at them, and every few minutes anyway.
import type { EventDraft, Process } from "@picket/protocol/event";
import type { Capability } from "@picket/protocol/status";
import { type Baseline, readBaseline, writeBaseline } from "./integrity-baseline.ts";
import { type FileState, listBelow, look, type Seen, sameState } from "./integrity-look.ts";

/** Paths compared in all; what is more is left out, and the capability says so. */
const MAX_FILES = 5000;
/** Paths somebody was seen at, waiting for their look. More wait for the next look at everything. */
const MAX_WAITING = 1000;
/** Events come when a file is opened: it is looked at when it was probably written, and again for those who write slowly. */
const LOOKS_MS = [1000, 10_000];
/** Later than the events are on disk: a kill between tells some again instead of losing them. */
const SAVE_MS = 2000;

export type Integrity = Disposable & {
  /** Looks at an event on its way to the recorder. Never throws. */
  see(draft: EventDraft): EventDraft;
  capability(): Capability;
};

type Options = {
  /** Absolute paths of files and folders; those that do not exist are waited for. */
  readonly paths: () => readonly string[];
  /** Where the baseline is kept. */
  readonly path: string;
  readonly everyS: number;
  readonly emit: (draft: EventDraft) => void;
  readonly looksMs?: readonly number[];
};

export const startIntegrity = (options: Options): Integrity => new Watching(options);

class Watching implements Integrity {
  readonly #options: Options;
  #roots: readonly string[];
  #baseline: Baseline;
  /** Who was seen at a path last, until it has been looked at. */
  readonly #writers = new Map<string, { process: Process; timers: NodeJS.Timeout[] }>();
  #work: Promise<void> = Promise.resolve();
  #problems: string[] = [];
  #unsaved: string | undefined;
  #saving: NodeJS.Timeout | undefined;
  #sweeping: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: Options) {
    this.#options = options;
    this.#roots = trimmed(options.paths());
    this.#baseline = this.#open();
    this.#sweepIn(0);
  }

  see(draft: EventDraft): EventDraft {
    switch (draft.type) {
      case "file.create":
      case "file.modify":
      case "file.delete":
      case "file.chmod":
        this.#seen(draft.body.file.path, draft.body.process);
        break;
      case "file.rename":
        this.#seen(draft.body.file.path, draft.body.process);
        this.#seen(draft.body.file.to, draft.body.process);
        break;
    }
    return draft;
  }

  capability(): Capability {
    const problems = [...(this.#unsaved === undefined ? [] : [this.#unsaved]), ...this.#problems];
    const why = `${this.#baseline.files.size} critical files, compared every ${this.#options.everyS} s`;
    if (problems.length === 0) return { name: "integrity", level: "live", why };
    return {
      name: "integrity",
      level: "degraded",
      why: `${why}; ${problems.join("; ")}`.slice(0, 512),
      todo: "see integrity.paths in docs/sensors.md",
    };
  }

  [Symbol.dispose](): void {
    this.#stopped = true;
    clearTimeout(this.#sweeping);
    for (const { timers } of this.#writers.values()) for (const timer of timers) clearTimeout(timer);
    if (this.#saving !== undefined) this.#save();
  }

  #open(): Baseline {
    try {
      const saved = readBaseline(this.#options.path);
      if (saved) return saved;
    } catch (error) {
      // Begun anew without a word would be a way to make a change unseen.
      const why = `the baseline of critical files could not be read and begins anew: ${error instanceof Error ? error.message : error}`;
      const body = { collector: "integrity", level: "degraded" as const, why: why.slice(0, 512) };
      this.#options.emit({ type: "sensor.state", timeMs: Date.now(), body });
    }
    return { roots: new Set(), files: new Map() };
  }

  #seen(path: string, process: Process): void {
    // Inside a container the same path is another file.
    if (this.#stopped || process.container || !this.#roots.some((root) => path === root || path.startsWith(`${root}/`))) return;
    const before = this.#writers.get(path);
    if (before) {
      for (const timer of before.timers) clearTimeout(timer);
      this.#writers.delete(path);
    } else if (this.#writers.size >= MAX_WAITING) return;
    const { ancestors: _, ...own } = process;
    const looks = this.#options.looksMs ?? LOOKS_MS;
    const timers = looks.map((ms, at) => setTimeout(() => this.#do(() => this.#lookAt(path, own, at === looks.length - 1)), ms));
    this.#writers.set(path, { process: own, timers });
  }

  async #lookAt(path: string, process: Process, last: boolean): Promise<void> {
    if (this.#baseline.roots.size > 0) await this.#compare(path, process);
    if (last && this.#writers.get(path)?.process === process) this.#writers.delete(path);
  }

  #sweepIn(ms: number): void {
    this.#sweeping = setTimeout(async () => {
      await this.#do(() => this.#sweep());
      if (!this.#stopped) this.#sweepIn(this.#options.everyS * 1000);
    }, ms);
  }

  /** One look at a time, so that no two tell of the same change. */
  #do(work: () => Promise<void>): Promise<void> {
    this.#work = this.#work
      .then(() => (this.#stopped ? undefined : work()))
      .catch((error) => {
        this.#problems = [...this.#problems.slice(-3), error instanceof Error ? error.message : String(error)];
      });
    return this.#work;
  }

  async #sweep(): Promise<void> {
    const problems: string[] = [];
    const roots = trimmed(this.#options.paths());
    this.#roots = roots;
    const present = new Set<string>();
    for (const root of roots) {
      const below = await listBelow(root, Math.max(1, MAX_FILES - present.size), (why) => problems.push(why)).catch((error) => {
        problems.push(String(error));
        return [];
      });
      for (const path of below) present.add(path);
    }
    const { roots: known, files } = this.#baseline;
    const isOf = (path: string, some: Iterable<string>) => [...some].some((root) => path === root || path.startsWith(`${root}/`));
    const fresh = roots.filter((root) => !known.has(root));
    for (const path of new Set([...present, ...files.keys()])) {
      if (this.#stopped) return;
      // No longer configured: forgotten. Newly configured: what it is now is what it shall be.
      if (!isOf(path, roots)) this.#know(path, undefined);
      else if (fresh.length > 0 && !files.has(path) && !isOf(path, known)) await this.#learn(path, problems);
      else await this.#compare(path, this.#writers.get(path)?.process, problems);
    }
    if (fresh.length > 0 || known.size !== roots.length) {
      this.#baseline = { roots: new Set(roots), files };
      this.#saveSoon();
    }
    this.#problems = problems;
  }

  async #learn(path: string, problems: string[]): Promise<void> {
    try {
      const now = await look(path, undefined);
      if (now) this.#know(path, now);
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
    }
  }

  async #compare(path: string, process: Process | undefined, problems?: string[]): Promise<void> {
    const before = this.#baseline.files.get(path);
    try {
      const now = await look(path, before);
      if (now === before || this.#stopped) return;
      if (!before && this.#baseline.files.size >= MAX_FILES) throw new Error(`more than ${MAX_FILES} files`);
      // The one before had no hash because it was being written, or could not be read: only now it is known.
      if (!(before && now && sameState(before.state, now.state))) this.#tell(path, before?.state, now?.state, process);
      this.#know(path, now);
    } catch (error) {
      problems?.push(error instanceof Error ? error.message : String(error));
    }
  }

  #know(path: string, now: Seen | undefined): void {
    if (now) this.#baseline.files.set(path, now);
    else this.#baseline.files.delete(path);
    this.#saveSoon();
  }

  #tell(path: string, before: FileState | undefined, after: FileState | undefined, process: Process | undefined): void {
    const change = !before ? "added" : after ? "changed" : "removed";
    const body = {
      ...(process ? { process } : {}),
      file: { path: path.slice(0, 4096) },
      change,
      ...(before ? { before } : {}),
      ...(after ? { after } : {}),
    } as const;
    this.#options.emit({ type: "file.integrity", timeMs: Date.now(), body });
  }

  #saveSoon(): void {
    if (!this.#stopped) this.#saving ??= setTimeout(() => this.#save(), SAVE_MS);
  }

  #save(): void {
    clearTimeout(this.#saving);
    this.#saving = undefined;
    try {
      writeBaseline(this.#options.path, this.#baseline);
      this.#unsaved = undefined;
    } catch (error) {
      this.#unsaved = `the baseline cannot be written: ${error instanceof Error ? error.message : error}`;
    }
  }
}

const trimmed = (paths: readonly string[]) => [...new Set(paths.map((path) => path.replace(/\/+$/, "") || "/"))];
