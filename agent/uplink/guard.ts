// Cuts a connection whose peer announces a packet larger than we take. The MQTT parser would collect up to 256 MB of it first.

/**
 * A check to be given every chunk that arrives, before the parser sees it. Returns the announced size of the first packet that is too large
 * (or Infinity where the length field itself is malformed, MQTT 3.1.1 section 2.2.3), else undefined.
 */
export function packetGuard(maxBytes: number): (chunk: Uint8Array) => number | undefined {
  let skip = 0;
  /** Bytes of the length field read so far; -1 where a packet type byte comes next. */
  let lengthBytes = -1;
  let length = 0;
  return (chunk) => {
    for (let at = 0; at < chunk.length; ) {
      if (skip > 0) {
        const step = Math.min(skip, chunk.length - at);
        skip -= step;
        at += step;
        continue;
      }
      const byte = chunk[at++]!;
      if (lengthBytes < 0) {
        lengthBytes = length = 0;
        continue;
      }
      length += (byte & 0x7f) * 128 ** lengthBytes++;
      if (byte & 0x80) {
        if (lengthBytes >= 4) return Number.POSITIVE_INFINITY;
        continue;
      }
      if (length > maxBytes) return length;
      skip = length;
      lengthBytes = -1;
    }
    return undefined;
  };
}
