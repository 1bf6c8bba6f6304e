// aedes buffers as many bytes as a packet's header announces. This reads only the headers, ahead of its parser, and says when one announces too much.

/** CONNECT and SUBSCRIBE of ours are a few hundred bytes. */
export const MAX_CONTROL_BYTES = 4096;
const PUBLISH = 3;
/** MQTT 3.1.1, section 2.2.3: the remaining length takes at most four bytes. */
const MAX_LENGTH_BYTES = 4;

/** Follows the packet boundaries of one connection's byte stream. */
export class PacketLimit {
  readonly #maxPublishBytes: number;
  #skip = 0;
  #type = -1;
  #length = 0;
  #lengthBytes = 0;

  constructor(maxPublishBytes: number) {
    this.#maxPublishBytes = maxPublishBytes;
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
    this.#skip = this.#length;
    this.#type = -1;
    this.#length = 0;
    this.#lengthBytes = 0;
    return undefined;
  }
}
