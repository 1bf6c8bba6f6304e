// Ruleset elements and the commands over them: libnftables-json(5), sections RULESET ELEMENTS and COMMAND OBJECTS.
import type { Constant, Expression } from "./expression.ts";
import type { Statement } from "./statement.ts";
import { identifier, text, word } from "./value.ts";

export type Family = "ip" | "ip6" | "inet" | "arp" | "bridge" | "netdev";
export type Hook = "prerouting" | "input" | "forward" | "output" | "postrouting" | "ingress" | "egress";
type In = { readonly family: Family; readonly table: string };

export type Table = { readonly table: { readonly family: Family; readonly name: string } };
export type Chain = {
  readonly chain: In & {
    readonly name: string;
    readonly type?: "filter" | "nat" | "route";
    readonly hook?: Hook;
    readonly prio?: number;
    readonly policy?: "accept" | "drop";
    readonly dev?: string;
  };
};
export type Rule = {
  readonly rule: In & { readonly chain: string; readonly expr?: readonly Statement[]; readonly handle?: number; readonly comment?: string };
};
export type NftSet = {
  readonly set: In & {
    readonly name: string;
    readonly type: string | readonly string[];
    readonly flags?: readonly ("constant" | "interval" | "timeout")[];
    readonly elem?: readonly Expression[];
    readonly timeout?: number;
    readonly size?: number;
  };
};
export type Elements = { readonly element: In & { readonly name: string; readonly elem: readonly Expression[] } };
export type Counter = { readonly counter: In & { readonly name: string } };
export type Element = Table | Chain | Rule | NftSet | Elements | Counter;

export type Command =
  | { readonly add: Element }
  | { readonly create: Element }
  | { readonly insert: Rule }
  | { readonly replace: Rule }
  | { readonly delete: Element }
  | { readonly flush: Table | Chain | { readonly set: In & { readonly name: string } } | { readonly ruleset: null } }
  | { readonly reset: Counter };

/** Adds; what exists already stays, except that rules are appended again. */
export const add = (element: Element): Command => ({ add: element });
/** Adds, and fails when it exists already. */
export const create = (element: Element): Command => ({ create: element });
/** Puts a rule first in its chain, or before the rule that `handle` names. */
export const insert = (element: Rule): Command => ({ insert: element });
/** Puts a rule in the place of the one that `handle` names. */
export const replace = (element: Rule): Command => ({ replace: element });
/** Deletes, and fails when it does not exist. `add(table(...))` before it, in the same transaction, makes it safe to repeat. */
export const remove = (element: Element): Command => ({ delete: element });
/** Empties a table of rules, or a chain. */
export const flush = (element: Table | Chain): Command => ({ flush: element });
/** Sets a counter back to zero. */
export const reset = (element: Counter): Command => ({ reset: element });

/** Names of one table's elements, checked once. */
export type TableScope = {
  readonly table: Table;
  /** A base chain: packets enter it at `hook`, lower `prio` first. The policy decides when no rule did. */
  readonly baseChain: (
    name: string,
    of: { type?: "filter" | "nat" | "route"; hook: Hook; prio: number; policy?: "accept" | "drop"; dev?: string },
  ) => Chain;
  /** A chain that rules jump to. */
  readonly chain: (name: string) => Chain;
  readonly rule: (chain: string, statements: readonly Statement[], of?: { comment?: string; handle?: number }) => Rule;
  /** A named set; `type` is for example "ipv4_addr", "inet_service" or a list of those. */
  readonly set: (
    name: string,
    type: string | readonly string[],
    of?: { flags?: readonly ("constant" | "interval" | "timeout")[]; elements?: readonly Expression[]; timeoutS?: number; size?: number },
  ) => NftSet;
  readonly elements: (set: string, elements: readonly (Constant | Expression)[]) => Elements;
  readonly counter: (name: string) => Counter;
};

/** Builders for everything inside one table. Throws `NftError` ("bad-input") on names that nft could not read back. */
export function scope(family: Family, name: string): TableScope {
  const inside = { family, table: identifier(name) };
  const type = (of: string | readonly string[]) => (typeof of === "string" ? typeName(of) : of.map(typeName));
  return {
    table: { table: { family, name: inside.table } },
    baseChain: (chain, of) => ({ chain: { ...inside, name: identifier(chain), ...of, type: of.type ?? "filter" } }),
    chain: (chain) => ({ chain: { ...inside, name: identifier(chain) } }),
    rule: (chain, statements, of = {}) => ({
      rule: {
        ...inside,
        chain: identifier(chain),
        expr: statements,
        ...(of.handle === undefined ? {} : { handle: of.handle }),
        ...(of.comment === undefined ? {} : { comment: text(of.comment, 128) }),
      },
    }),
    set: (set, of, more = {}) => ({
      set: {
        ...inside,
        name: identifier(set),
        type: type(of),
        // nft 1.0.6 reads an empty list of elements as an error.
        ...(more.elements?.length ? { elem: more.elements } : {}),
        ...(more.flags ? { flags: more.flags } : {}),
        ...(more.timeoutS === undefined ? {} : { timeout: more.timeoutS }),
        ...(more.size === undefined ? {} : { size: more.size }),
      },
    }),
    elements: (set, elem) => ({ element: { ...inside, name: identifier(set), elem } }),
    counter: (counter) => ({ counter: { ...inside, name: identifier(counter) } }),
  };
}

const typeName = (name: string) => word(name.replaceAll("_", "-")).replaceAll("-", "_");
