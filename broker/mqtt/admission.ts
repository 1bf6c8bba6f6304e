// How many strangers may knock at once. A TLS handshake costs CPU before anybody has shown a certificate.

/** Connections that have not shown an accepted certificate yet. A whole site reconnecting at once stays below. */
const MAX_PENDING = 2048;
/** Failed attempts an address may make in a burst, and per second after it. Devices behind one NAT share this: it only protects the CPU. */
const FAILURE_BURST = 100;
const FAILURES_PER_S = 20;
const MAX_ADDRESSES = 10_000;

type Bucket = { left: number; atMs: number };

export class Admission {
  readonly #nowMs: () => number;
  readonly #failures = new Map<string, Bucket>();
  #pending = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Nobody may begin, whoever it is. */
  get isFull(): boolean {
    return this.#pending >= MAX_PENDING;
  }

  /** Whether a new connection may begin its handshake. When true, `settle` must be called once. */
  begin(address: string): boolean {
    const bucket = this.#failures.get(address);
    if (this.isFull || (bucket && this.#refill(bucket) < 1)) return false;
    this.#pending++;
    return true;
  }

  /** The connection was accepted, or it failed, which counts against its address. */
  settle(address: string, accepted: boolean): void {
    this.#pending--;
    if (accepted) return;
    const bucket = this.#failures.get(address) ?? { left: FAILURE_BURST, atMs: this.#nowMs() };
    this.#refill(bucket);
    bucket.left = Math.max(0, bucket.left - 1);
    // Re-inserted, so that the map's order is the order of the last failure and the oldest can go.
    this.#failures.delete(address);
    this.#failures.set(address, bucket);
    const oldest = this.#failures.keys().next().value;
    if (this.#failures.size > MAX_ADDRESSES && oldest !== undefined) this.#failures.delete(oldest);
  }

  #refill(bucket: Bucket): number {
    const now = this.#nowMs();
    bucket.left = Math.min(FAILURE_BURST, bucket.left + (Math.max(0, now - bucket.atMs) / 1000) * FAILURES_PER_S);
    bucket.atMs = now;
    return bucket.left;
  }
}
