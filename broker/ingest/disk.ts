// Whether the site's disk takes events. While it does not, they wait on their devices; what is left of it is for alerts, commands and the cursor.

/** How long an acknowledgement is withheld before the connection is cut. Below the 15 s of an agent's keep-alive. */
const HOLD_MS = 10_000;
/** Share of the reserve that must be free on the disk itself: pages that are free inside the database do not help its write-ahead log. */
const WAL_SHARE = 1 / 4;
/** Space must be this much above the reserve before events are taken again, or they would come and go with every batch. */
const RECOVERED = 1.1;

export type Space = {
  /** On the file system. */ readonly freeBytes: number /** Free inside the database file. */;
  readonly reusableBytes: number;
};
/** Since when events wait, and why. */
export type Outage = { readonly sinceMs: number; readonly why: string };

export type DiskPorts = {
  readonly reserveBytes: number;
  /** Throws when the disk cannot be asked. */
  readonly space: () => Space;
  /** Writes something and resolves when it is on disk. */
  readonly probe: () => Promise<void>;
  readonly nowMs: () => number;
  /** Keeps the outage where operators see it; `untilMs` when it is over. May reject: it is tried again. */
  readonly tell: (outage: Outage & { readonly untilMs?: number }) => Promise<void>;
  readonly report: (error: unknown) => void;
  readonly holdMs?: number;
};

/** The event was not stored, and its device must keep it. */
export class DiskRefuses extends Error {
  override name = "DiskRefuses";
}

/** Errors of SQLite that say something of the disk, and nothing of what was to be stored. */
export const isDiskError = (error: unknown): error is Error & { code: string } =>
  error instanceof Error && "code" in error && /^SQLITE_(?:FULL|IOERR|READONLY|CANTOPEN)/.test(String(error.code));

export class Disk {
  readonly #ports: DiskPorts;
  #outage: Outage | undefined;
  /** A write failed: enough free space does not end this, only a write that succeeds. */
  #failed = false;
  #untold: (Outage & { untilMs?: number }) | undefined;
  #checking: Promise<void> | undefined;
  #waiting = new Set<() => void>();

  constructor(ports: DiskPorts) {
    this.#ports = ports;
  }

  /** Undefined while events are taken. */
  get outage(): Outage | undefined {
    return this.#outage;
  }

  /** Undefined when an event may be stored; otherwise resolves when it may, or rejects with `DiskRefuses` after a while. */
  room(): Promise<void> | undefined {
    const outage = this.#outage;
    if (!outage) return undefined;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(free);
        reject(new DiskRefuses(`events wait on their devices: ${outage.why}`));
      }, this.#ports.holdMs ?? HOLD_MS);
      const free = () => {
        clearTimeout(timer);
        resolve();
      };
      this.#waiting.add(free);
    });
  }

  /** A write failed with an error of the disk. */
  failed(error: Error): void {
    this.#failed = true;
    this.#begin(`the database cannot be written: ${error.message}`);
  }

  /** Looks at the disk, tells what changed, and tries whether a failed disk takes writes again. Call it every second. Never rejects. */
  check(): Promise<void> {
    this.#checking ??= Promise.resolve()
      .then(() => this.#check())
      .catch(this.#ports.report)
      .finally(() => {
        this.#checking = undefined;
      });
    return this.#checking;
  }

  async #check(): Promise<void> {
    const why = this.#low();
    if (why !== undefined) this.#begin(why);
    else if (this.#outage && (await this.#writes())) this.#end();
    await this.#tell();
  }

  async #tell(): Promise<void> {
    if (!this.#untold) return;
    const untold = this.#untold;
    await this.#ports.tell(untold);
    if (this.#untold === untold) this.#untold = undefined;
  }

  #low(): string | undefined {
    const { reserveBytes, space } = this.#ports;
    try {
      const { freeBytes, reusableBytes } = space();
      const needed = reserveBytes * (this.#outage ? RECOVERED : 1);
      if (freeBytes >= needed * WAL_SHARE && freeBytes + reusableBytes >= needed) return undefined;
      return `only ${mebibytes(freeBytes)} MiB are free on the site's disk, and ${mebibytes(reserveBytes)} MiB are kept for alerts and commands`;
    } catch (error) {
      return `the site's disk cannot be asked for its free space: ${error instanceof Error ? error.message : String(error)}`;
    }
  }

  async #writes(): Promise<boolean> {
    if (!this.#failed) return true;
    try {
      await this.#ports.probe();
      return true;
    } catch {
      return false;
    }
  }

  #begin(why: string): void {
    if (this.#outage) return;
    this.#outage = { sinceMs: this.#ports.nowMs(), why };
    this.#untold = this.#outage;
  }

  #end(): void {
    if (!this.#outage) return;
    this.#untold = { ...this.#outage, untilMs: this.#ports.nowMs() };
    this.#outage = undefined;
    this.#failed = false;
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const free of waiting) free();
  }
}

const mebibytes = (bytes: number) => Math.floor(bytes / 2 ** 20);
