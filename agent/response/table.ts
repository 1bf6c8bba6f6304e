// The isolation table: what an isolated device may still say and hear. Data only; isolation.ts applies it.
import { isIPv4 } from "node:net";
import {
  accept,
  add,
  address,
  anyOf,
  type Command,
  count,
  drop,
  type Expression,
  eq,
  hex,
  inSet,
  masked,
  match,
  meta,
  payload,
  port,
  prefix,
  raw,
  remove,
  type Statement,
  scope,
  type TableListing,
  word,
} from "node-nftables";

export const FAMILY = "inet";
export const TABLE = "picket_isolation";
const t = scope(FAMILY, TABLE);

/**
 * After IPv4 defragmentation (-400), before everything else, connection tracking and NAT included: an accept elsewhere cannot outvote a drop
 * here, and no entry of a tracked connection keeps a packet alive.
 */
const PRIORITY = -350;
const HOOKS = ["input", "output", "forward"] as const;
type HookName = (typeof HOOKS)[number];
const counterOf = (hook: HookName) => `dropped_${hook}`;

export type Allowed = { readonly addresses: readonly string[]; readonly mqttPort: number; readonly httpsPort: number };

/** The whole table in one transaction, the same however often it is applied. Throws `NftError` when an address or port is none. */
export function isolationCommands(allowed: Allowed): readonly Command[] {
  const rule = (chain: HookName, statements: readonly Statement[], comment?: string) =>
    add(t.rule(chain, statements, comment ? { comment } : {}));
  const sets = (["ipv4_addr", "ipv6_addr"] as const).map((type) => {
    const elements = allowed.addresses.filter((one) => isIPv4(one) === (type === "ipv4_addr")).map(address);
    return add(t.set(type === "ipv4_addr" ? "broker4" : "broker6", type, { elements }));
  });
  return [
    add(t.table),
    remove(t.table),
    add(t.table),
    ...HOOKS.map((hook) => add(t.counter(counterOf(hook)))),
    ...sets,
    ...HOOKS.map((hook) => add(t.baseChain(hook, { hook, prio: PRIORITY, policy: "drop" }))),
    ...brokerRules(allowed).map(([chain, statements]) => rule(chain, [...statements, accept], "broker")),
    ...pathMtuRules(allowed.addresses).map((statements) => rule("input", [...statements, accept], "path MTU to the broker")),
    ...localRules.map(([chain, statements, comment]) => rule(chain, [...statements, accept], comment)),
    ...HOOKS.map((hook) => rule(hook, [count(counterOf(hook)), drop])),
  ];
}

/** Removes the table, whether or not it is there. */
export const releaseCommands: readonly Command[] = [add(t.table), remove(t.table)];

type Row = readonly [HookName, readonly Statement[], string];

/**
 * Stateless on purpose: "established" would keep every live connection of an intruder. From the broker only answers pass: a segment that opens
 * a connection (SYN without ACK) does not, so the broker's host cannot connect inwards from its own port.
 */
function brokerRules(allowed: Allowed): readonly (readonly [HookName, readonly Statement[]])[] {
  const ports = anyOf([...new Set([allowed.mqttPort, allowed.httpsPort])].map(port));
  return (["ip", "ip6"] as const).flatMap((family) => {
    const broker = inSet(family === "ip" ? "broker4" : "broker6");
    return [
      ["output", [eq(payload(family, "daddr"), broker), eq(payload("tcp", "dport"), ports)]],
      [
        "input",
        [
          eq(payload(family, "saddr"), broker),
          eq(payload("tcp", "sport"), ports),
          match(masked(payload("tcp", "flags"), ["syn", "ack"]), "!=", word("syn")),
        ],
      ],
    ] as const;
  });
}

/**
 * Without these a smaller link on the way would stall the broker's connection (RFC 1191, RFC 8201). Only errors about a packet that was sent to the
 * broker pass: its destination is read from the IP header quoted 8 bytes into the ICMP message.
 */
function pathMtuRules(addresses: readonly string[]): readonly (readonly Statement[])[] {
  return addresses.map((text) =>
    isIPv4(text)
      ? [
          eq(payload("icmp", "type"), word("destination-unreachable")),
          eq(payload("icmp", "code"), word("frag-needed")),
          eq(raw("th", (8 + 16) * 8, 32), hex(`0x${bytesOf(text)}`)),
        ]
      : [eq(payload("icmpv6", "type"), word("packet-too-big")), eq(raw("th", (8 + 24) * 8, 128), hex(`0x${bytesOf(text)}`))],
  );
}

const udp = (sport: number, dport: number) => [eq(payload("udp", "sport"), port(sport)), eq(payload("udp", "dport"), port(dport))];
const icmp6 = (types: readonly string[], hopLimit: number) => [
  eq(payload("icmpv6", "type"), anyOf(types.map(word))),
  eq(payload("ip6", "hoplimit"), hopLimit),
];
const neighbours = ["nd-neighbor-solicit", "nd-neighbor-advert", "nd-router-solicit", "nd-router-advert"];
const listeners = ["mld-listener-report", "mld-listener-done", "mld2-listener-report"];
const to = (family: "ip" | "ip6", where: Expression) => eq(payload(family, "daddr"), where);

const localRules: readonly Row[] = [
  ["input", [eq(meta("iifname"), word("lo"))], "loopback"],
  ["output", [eq(meta("oifname"), word("lo"))], "loopback"],
  // Requests only by broadcast and multicast, which every lease can be renewed with (RFC 2131, section 4.4.5; RFC 8415, section 18.2):
  // a rule for unicast would be a way out to any host that listens on the port.
  ["output", [to("ip", address("255.255.255.255")), ...udp(68, 67)], "DHCP"],
  ["input", udp(67, 68), "DHCP"],
  ["output", [to("ip6", address("ff02::1:2")), ...udp(546, 547)], "DHCPv6"],
  ["input", [eq(payload("ip6", "saddr"), prefix("fe80::/10")), ...udp(547, 546)], "DHCPv6"],
  // Hop limit 255 proves a neighbour sent it (RFC 4861, section 6.1.1).
  ["input", icmp6(neighbours, 255), "neighbour discovery"],
  ["output", icmp6(neighbours, 255), "neighbour discovery"],
  // Switches that snoop deliver neighbour solicitations only to who has joined the group (RFC 4541).
  ["input", icmp6(["mld-listener-query"], 1), "multicast listener discovery"],
  ["output", icmp6(listeners, 1), "multicast listener discovery"],
];

/** The address in network order, as hexadecimal digits. */
function bytesOf(text: string): string {
  if (isIPv4(text)) return Buffer.from(text.split(".").map(Number)).toString("hex");
  // The URL parser writes IPv6 in its shortest form without an IPv4 tail (WHATWG URL, host serializing).
  const [left = "", right] = new URL(`http://[${text}]`).hostname.slice(1, -1).split("::");
  const words = (part: string | undefined) => (part ? part.split(":") : []);
  const missing = 8 - words(left).length - words(right).length;
  return [...words(left), ...Array<string>(right === undefined ? 0 : missing).fill("0"), ...words(right)]
    .map((one) => one.padStart(4, "0"))
    .join("");
}

/** Packets that this table has dropped, by hook. */
export function droppedBy(listing: TableListing): Record<HookName, number> {
  const of = (hook: HookName) => listing.counters.find((counter) => counter.name === counterOf(hook))?.packets ?? 0;
  return { input: of("input"), output: of("output"), forward: of("forward") };
}

/** The addresses that a table in the kernel lets through. */
export const addressesOf = (listing: TableListing): string[] =>
  listing.sets.flatMap((set) => (set.elem ?? []).filter((element): element is string => typeof element === "string"));

/** Everything that decides about packets, without handles and counts: equal when nobody has changed the table. */
export const fingerprint = (listing: TableListing): string =>
  JSON.stringify([
    listing.chains.map(({ name, type, hook, prio, policy }) => [name, type, hook, prio, policy]),
    listing.rules.map(({ chain, expr }) => [chain, expr]),
    listing.sets.map(({ name, elem }) => [name, elem]),
  ]);
