/** Namespace of Picket's alert ids: UUIDv5 of the DNS namespace and "picket". */
const NAMESPACE = Buffer.from("c7a1f0d8b6c05d5e9f0b9d1c2f6a7e31", "hex");

/**
 * Name-based UUID, SHA-1 (RFC 9562, section 5.5). The parts are joined with NUL, which none of them may hold,
 * so that ("a", "bc") and ("ab", "c") differ.
 */
export function uuid5(...parts: readonly string[]): string {
  const hash = new Bun.CryptoHasher("sha1").update(NAMESPACE).update(parts.join("\0")).digest();
  hash[6] = (hash[6]! & 0x0f) | 0x50;
  hash[8] = (hash[8]! & 0x3f) | 0x80;
  const hex = hash.toString("hex");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`;
}

/** The id of an alert. `anchor` is the first event's id, or the start of the interval where there is no event. */
export const alertId = (of: { site: string; rule: string; device: string; group: string; anchor: string }) =>
  uuid5(of.site, of.rule, of.device, of.group, of.anchor);
