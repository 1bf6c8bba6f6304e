// aedes buffers as many bytes as a packet's header announces, and answers as many packets as come: no quota counts those that publish nothing. This reads only
// the headers, ahead of its parser, and says when one announces too much, or when there are too many.
import type { Role } from "@picket/protocol/names";

/** CONNECT and SUBSCRIBE of ours are a few hundred bytes. */
export const MAX_CONTROL_BYTES = 4096;
const PUBLISH = 3;
const PUBACK = 4;
/** MQTT 3.1.1, section 2.2.3: the remaining length takes at most four bytes. */
const MAX_LENGTH_BYTES = 4;

/** How many at once, and how many a second after that. */
type Rate = { readonly burst: number; readonly perS: number };
/** PINGREQ and SUBSCRIBE: a client pings some times a minute and subscribes once. Those with filters cost one more for each 64 bytes. */
const CONTROL: Rate = { burst: 200, perS: 10 };
const BYTES_EACH = 64;
/** What a peer acknowledges was sent to it: orders and packs, what a mesh tells, the whole log. */
const ACKS: Record<Role, Rate | undefined> = {
  device: { burst: 2000, perS: 50 },
  site: { burst: 20_000, perS: 1000 },
  detector: undefined,
};

class Allowance {
  readonly #rate: Rate;
  readonly #nowMs: () => number;
  #left: number;
  #atMs: number;

  constructor(rate: Rate, nowMs: () => number) {
    this.#rate = rate;
    this.#nowMs = nowMs;
    this.#left = rate.burst;
    this.#atMs = nowMs();
  }

  /** Whether so much was left. */
  take(units: number): boolean {
    const now = this.#nowMs();
    this.#left = Math.min(this.#rate.burst, this.#left + (Math.max(0, now - this.#atMs) / 1000) * this.#rate.perS) - units;
    this.#atMs = now;
    return this.#left >= 0;
  }
}

/** Follows the packet boundaries of one connection's byte stream. */
export class PacketLimit {
  readonly #maxPublishBytes: number;
  readonly #control: Allowance;
  readonly #acks: Allowance | undefined;
  #skip = 0;
  #type = -1;
  #length = 0;
  #lengthBytes = 0;

  /** `nowMs` never goes back. */
  constructor(maxPublishBytes: number, role: Role, nowMs: () => number = () => performance.now()) {
    this.#maxPublishBytes = maxPublishBytes;
    this.#control = new Allowance(CONTROL, nowMs);
    const acks = ACKS[role];
    this.#acks = acks && new Allowance(acks, nowMs);
  }

  /** Takes the next bytes. Returns what is wrong with them; after that the connection must be cut. */
  take(chunk: Uint8Array): string | undefined {
    let at = 0;
    while (at < chunk.length) {
      if (this.#skip > 0) {
        const step = Math.min(this.#skip, chunk.length - at);
        this.#skip -= step;
        at += step;
      } else if (this.#type < 0) {
        this.#type = chunk[at++]! >> 4;
      } else {
        const problem = this.#takeLength(chunk[at++]!);
        if (problem) return problem;
      }
    }
    return undefined;
  }

  #takeLength(byte: number): string | undefined {
    this.#length += (byte & 0x7f) * 128 ** this.#lengthBytes++;
    if (byte & 0x80) return this.#lengthBytes >= MAX_LENGTH_BYTES ? "a packet length of more than four bytes" : undefined;
    const limit = this.#type === PUBLISH ? this.#maxPublishBytes : MAX_CONTROL_BYTES;
    if (this.#length > limit) return `a packet of type ${this.#type} announces ${this.#length} bytes, at most ${limit} are allowed`;
    const units = 1 + Math.floor(this.#length / BYTES_EACH);
    const isOften = this.#type === PUBACK ? this.#acks?.take(units) === false : this.#type !== PUBLISH && !this.#control.take(units);
    if (isOften) return `more packets of type ${this.#type} than anybody needs`;
    this.#skip = this.#length;
    this.#type = -1;
    this.#length = 0;
    this.#lengthBytes = 0;
    return undefined;
  }
}
