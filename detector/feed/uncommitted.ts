// What a session has read since its last commit: numbers that go with the next one.
import { MAX_CANARIES, MAX_LANES } from "@picket/protocol/feed";

export class Uncommitted {
  /** Events and lines that could not be judged. */
  refused = 0;
  #read = 0;
  /** Events of each device. */
  readonly #counts = new Map<string, number>();
  /** Devices whose canary came through, and when it was received. */
  readonly #canaries = new Map<string, number>();
  /** Devices that were put aside, and the broker was not told of yet. */
  #aside: string[] = [];

  /** A batch was judged whole. */
  count(device: string, of: { events: number; refused: number }): void {
    this.#read += of.events;
    this.refused += of.refused;
    this.#counts.set(device, (this.#counts.get(device) ?? 0) + of.events);
  }

  canary(device: string, receivedMs: number): void {
    this.#canaries.set(device, receivedMs);
  }

  /** Takes back what was read of a device: its lane will read it. */
  setAside(device: string): void {
    this.#aside.push(device);
    this.#read -= this.#counts.get(device) ?? 0;
    this.#canaries.delete(device);
  }

  /** Whether the broker has to be told something though the cursor did not move. */
  get hasAside(): boolean {
    return this.#aside.length > 0;
  }

  /** For the commit. */
  take(): { read: number; refused: number; canaries: { device: string; receivedMs: number }[]; aside: string[] } {
    const canaries = [...this.#canaries].slice(0, MAX_CANARIES).map(([device, receivedMs]) => ({ device, receivedMs }));
    for (const { device } of canaries) this.#canaries.delete(device);
    const taken = { read: this.#read, refused: this.refused, canaries, aside: this.#aside.splice(0, MAX_LANES) };
    this.#read = this.refused = 0;
    this.#counts.clear();
    return taken;
  }
}
