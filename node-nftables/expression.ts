// Expressions: libnftables-json(5), section EXPRESSIONS. What a match or a map key is made of.
import { badInput } from "./error.ts";
import { identifier, type Word, word } from "./value.ts";

export type Constant = number | boolean | Word | { readonly prefix: { readonly addr: Word; readonly len: number } };
export type Expression =
  | Constant
  | { readonly payload: { readonly protocol: Word; readonly field: Word } }
  | { readonly payload: { readonly base: "ll" | "nh" | "th"; readonly offset: number; readonly len: number } }
  | { readonly meta: { readonly key: Word } }
  | { readonly ct: { readonly key: Word; readonly dir?: "original" | "reply"; readonly family?: "ip" | "ip6" } }
  | { readonly fib: { readonly result: "oif" | "oifname" | "type"; readonly flags: readonly Word[] } }
  | { readonly set: readonly Expression[] }
  | { readonly range: readonly [Constant, Constant] }
  | { readonly concat: readonly Expression[] }
  | { readonly "&": readonly [Expression, Expression] }
  | { readonly "|": readonly Word[] }
  | SetReference;
/** "@name": a named set of the same table. */
export type SetReference = `@${string}`;

/** A header field, such as `payload("tcp", "dport")` or `payload("ip6", "daddr")`. In the `inet` family it implies the protocol. */
export const payload = (protocol: string, field: string): Expression => ({ payload: { protocol: word(protocol), field: word(field) } });

/** `bits` bits of the packet, `offset` bits after the start of the link (`ll`), network (`nh`) or transport (`th`) header. */
export function raw(base: "ll" | "nh" | "th", offset: number, bits: number): Expression {
  if (!Number.isInteger(offset) || offset < 0 || !Number.isInteger(bits) || bits < 1)
    throw badInput("offset and length of raw payload are in whole bits");
  return { payload: { base, offset, len: bits } };
}

/** Packet metadata, such as `meta("iifname")` or `meta("l4proto")`. */
export const meta = (key: string): Expression => ({ meta: { key: word(key) } });

/** Connection tracking data, such as `ct("state")`. */
export const ct = (key: string, of: { dir?: "original" | "reply"; family?: "ip" | "ip6" } = {}): Expression => ({
  ct: { key: word(key), ...of },
});

/** A lookup in the routing table, such as `fib("type", ["daddr"])`. */
export const fib = (result: "oif" | "oifname" | "type", flags: readonly string[]): Expression => ({
  fib: { result, flags: flags.map(word) },
});

/** An anonymous set: any of these. */
export function anyOf(values: readonly Expression[]): Expression {
  if (values.length === 0) throw badInput("an anonymous set needs at least one element");
  return { set: values };
}

/** From `low` to `high`, both included. */
export const range = (low: Constant, high: Constant): Expression => ({ range: [low, high] });

/** Several fields as one key: `ip saddr . tcp dport`. */
export const concat = (...parts: readonly Expression[]): Expression => ({ concat: parts });

/** `left & (flag | flag)`, for TCP flags and marks. */
export const masked = (left: Expression, flags: readonly string[]): Expression => ({ "&": [left, { "|": flags.map(word) }] });

/** The named set `name` of the rule's own table. */
export const inSet = (name: string): SetReference => `@${identifier(name)}`;
