import { type Failure, nextTry, waitMs } from "./retry.ts";

/** What waits for one sink, on disk. `store/sink-queue.ts` is this. */
export type Queue = {
  head(sink: string): { id: number; message: string; payload: string; queuedMs: number; attempts: number; nextMs: number } | undefined;
  delivered(sink: string, id: number, nowMs: number): Promise<void>;
  retry(sink: string, id: number, nextMs: number, error: string): Promise<void>;
  giveUp(sink: string, id: number, error: string): Promise<void>;
};

export type CourierOptions = {
  readonly sink: string;
  readonly queue: Queue;
  /** Sends one message; resolves with what went wrong, if anything. Must end soon after `signal` aborts. */
  readonly send: (message: { id: string; payload: string }, signal: AbortSignal) => Promise<Failure | undefined>;
  readonly nowMs: () => number;
  /** 0 up to 1. */
  readonly random: () => number;
  readonly report: (error: unknown) => void;
};

/** When the queue itself cannot be read or written (disk full), look again after this. */
const DISK_RETRY_MS = 5_000;

/**
 * Carries one sink's messages in order, one at a time. Each sink has its own, so a dead receiver holds up nobody else.
 * A message leaves the queue only after it was delivered: killed in between, it is sent again with the same id.
 */
export class Courier implements AsyncDisposable {
  readonly #of: CourierOptions;
  readonly #stop = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #running: Promise<void> | undefined;
  #wokenMeanwhile = false;

  constructor(options: CourierOptions) {
    this.#of = options;
  }

  /** Says that there may be something to send. Never throws; cheap when there is not. */
  wake(): void {
    if (this.#stop.signal.aborted) return;
    if (this.#running) {
      this.#wokenMeanwhile = true;
      return;
    }
    clearTimeout(this.#timer);
    this.#wokenMeanwhile = false;
    this.#running = this.#run().then((againMs) => {
      this.#running = undefined;
      if (this.#stop.signal.aborted) return;
      if (this.#wokenMeanwhile) this.wake();
      else if (againMs !== undefined) this.#timer = setTimeout(() => this.wake(), againMs);
    });
  }

  /** Sends until nothing is due. Resolves with the time until the next try, or undefined when nothing waits. */
  async #run(): Promise<number | undefined> {
    const { sink, queue, nowMs } = this.#of;
    try {
      while (!this.#stop.signal.aborted) {
        const head = queue.head(sink);
        if (!head) return undefined;
        const leftMs = waitMs(head.nextMs, nowMs());
        if (leftMs > 0) return leftMs;
        await this.#try(head);
      }
      return undefined;
    } catch (error) {
      this.#of.report(error);
      return DISK_RETRY_MS;
    }
  }

  async #try(head: NonNullable<ReturnType<Queue["head"]>>): Promise<void> {
    const { sink, queue, send, nowMs, random } = this.#of;
    const failure = await send({ id: head.message, payload: head.payload }, this.#stop.signal);
    if (!failure) return queue.delivered(sink, head.id, nowMs());
    // Cut off by our own stop: that is no failure of the receiver.
    if (this.#stop.signal.aborted) return;
    const next = nextTry({ attempts: head.attempts + 1, ageMs: nowMs() - head.queuedMs, failure, random: random() });
    if (next === "give up") await queue.giveUp(sink, head.id, failure.error);
    else await queue.retry(sink, head.id, nowMs() + next, failure.error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    clearTimeout(this.#timer);
    await this.#running;
  }
}
