// Slows whoever guesses: each address may fail a few times at once, then once in a while. A right credential is never turned away,
// or one hostile process on an operator's own machine could keep him from isolating it; 256 random bits are not found by trying.

export type FailureLimits = {
  /** Failures an address may make at once. */
  readonly burst: number;
  /** Time until one more is allowed. */
  readonly refillMs: number;
  /** Addresses remembered; the one that failed longest ago goes first, so that inventing addresses costs no memory. */
  readonly addresses: number;
};

/** Calls nobody logs in for, right or wrong: a whole site that enrols from behind one address stays below, and signing for one that floods costs little. */
export const OPEN_LIMITS: FailureLimits = { burst: 600, refillMs: 100, addresses: 10_000 };

export const FAILURE_LIMITS: FailureLimits = { burst: 10, refillMs: 3_000, addresses: 10_000 };

/** A token bucket for each address. Only failures cost anything. */
export class Failures {
  readonly #limits: FailureLimits;
  readonly #buckets = new Map<string, { left: number; atMs: number }>();

  constructor(limits: FailureLimits) {
    this.#limits = limits;
  }

  /** Milliseconds until this address may fail again; 0 when it may now. */
  waitMs(address: string, nowMs: number): number {
    const left = this.#left(networkOf(address), nowMs);
    return left >= 1 ? 0 : Math.ceil((1 - left) * this.#limits.refillMs);
  }

  /** Counts a failure. */
  note(address: string, nowMs: number): void {
    const network = networkOf(address);
    const left = this.#left(network, nowMs);
    this.#buckets.delete(network);
    this.#buckets.set(network, { left: Math.max(0, left - 1), atMs: nowMs });
    for (const oldest of this.#buckets.keys()) {
      if (this.#buckets.size <= this.#limits.addresses) break;
      this.#buckets.delete(oldest);
    }
  }

  #left(network: string, nowMs: number): number {
    const bucket = this.#buckets.get(network);
    if (!bucket) return this.#limits.burst;
    return Math.min(this.#limits.burst, bucket.left + Math.max(0, nowMs - bucket.atMs) / this.#limits.refillMs);
  }
}

/** One machine owns a whole IPv6 /64. */
function networkOf(address: string): string {
  if (!address.includes(":") || address.startsWith("::ffff:")) return address;
  const [head = "", tail = ""] = address.split("::");
  const before = head === "" ? [] : head.split(":");
  const after = tail === "" ? [] : tail.split(":");
  const zeros = address.includes("::") ? Array.from({ length: Math.max(0, 8 - before.length - after.length) }, () => "0") : [];
  return [...before, ...zeros, ...after].slice(0, 4).join(":");
}
