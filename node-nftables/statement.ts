// Statements: libnftables-json(5), section STATEMENTS. What a rule is made of, in order.
import { badInput } from "./error.ts";
import type { Constant, Expression } from "./expression.ts";
import { identifier, port, text, type Word } from "./value.ts";

export type Operator = "==" | "!=" | "<" | ">" | "<=" | ">=" | "in";
export type Unit = "second" | "minute" | "hour" | "day" | "week";
export type LogLevel = "emerg" | "alert" | "crit" | "err" | "warn" | "notice" | "info" | "debug";
export type Statement =
  | { readonly match: { readonly op: Operator; readonly left: Expression; readonly right: Expression } }
  | { readonly counter: string | null }
  | { readonly limit: { readonly rate: number; readonly per: Unit; readonly burst?: number; readonly inv?: boolean } }
  | { readonly log: { readonly prefix?: string; readonly level?: LogLevel; readonly group?: number } }
  | { readonly mangle: { readonly key: Expression; readonly value: Constant } }
  | { readonly reject: { readonly type?: "tcp reset" } | null }
  | { readonly accept: null }
  | { readonly drop: null }
  | { readonly return: null }
  | { readonly continue: null }
  | { readonly notrack: null }
  | { readonly jump: { readonly target: string } }
  | { readonly goto: { readonly target: string } }
  | { readonly masquerade: null }
  | { readonly dnat: Nat }
  | { readonly snat: Nat };
export type Nat = { readonly family?: "ip" | "ip6"; readonly addr?: Word; readonly port?: number };

export const accept: Statement = { accept: null };
export const drop: Statement = { drop: null };
export const return_: Statement = { return: null };
export const continue_: Statement = { continue: null };
export const notrack: Statement = { notrack: null };
export const masquerade: Statement = { masquerade: null };
/** Tells the sender: TCP reset, or an ICMP error. */
export const reject = (type?: "tcp reset"): Statement => ({ reject: type ? { type } : null });
export const jump = (chain: string): Statement => ({ jump: { target: identifier(chain) } });
export const goto_ = (chain: string): Statement => ({ goto: { target: identifier(chain) } });

/** The rule goes on only when the comparison holds. `in` tests bits. */
export const match = (left: Expression, op: Operator, right: Expression): Statement => ({ match: { op, left, right } });
export const eq = (left: Expression, right: Expression): Statement => match(left, "==", right);

/** Counts packets and bytes: into the table's counter `name`, or without a name into one that lives in the rule. */
export const count = (name?: string): Statement => ({ counter: name === undefined ? null : identifier(name) });

/** The rule goes on only below the rate; with `over` only above it. */
export function limit(rate: number, per: Unit, of: { burst?: number; over?: boolean } = {}): Statement {
  if (!Number.isInteger(rate) || rate < 1) throw badInput(`a limit is a whole number of packets per ${per}, not ${rate}`);
  return { limit: { rate, per, ...(of.burst === undefined ? {} : { burst: of.burst }), ...(of.over ? { inv: true } : {}) } };
}

/** Writes to the kernel log, or with `group` to an nflog listener. The prefix is cut by nft at 127 characters, so longer ones are refused. */
export const log = (of: { prefix?: string; level?: LogLevel; group?: number } = {}): Statement => ({
  log: { ...of, ...(of.prefix === undefined ? {} : { prefix: text(of.prefix, 127) }) },
});

/** Sets packet data or metadata, such as a mark. */
export const mangle = (key: Expression, value: Constant): Statement => ({ mangle: { key, value } });

export const dnat = (to: Nat): Statement => ({ dnat: checkNat(to) });
export const snat = (to: Nat): Statement => ({ snat: checkNat(to) });

function checkNat(to: Nat): Nat {
  if (to.port !== undefined) port(to.port);
  return to;
}
