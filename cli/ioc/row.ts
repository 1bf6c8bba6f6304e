// One thing of a list, in the form in which it is imported: what its type means, and what is said of it.
import type { IocRow } from "@picket/protocol/ioc";
import { canonical, type Indicator, type IndicatorKind, recognise, type Unusable } from "@picket/protocol/ioc-value";

/** Longest line of a text or CSV file. */
const MAX_LINE = 64 << 10;

/** `at`: where in the file, such as "line 12". */
export type Read = { readonly at: string } & ({ readonly row: IocRow } | { readonly why: string });

/** The file is none of the formats. */
export class NoList extends Error {
  override name = "NoList";
}

/** Lines with their numbers, from 1. Longer ones than `MAX_LINE` are cut: nothing that can be used is so long. */
export function* linesOf(text: string): Generator<[number: number, line: string]> {
  let number = 1;
  for (let at = 0; at <= text.length; number++) {
    const found = text.indexOf("\n", at);
    const end = found < 0 ? text.length : found;
    const line = text.slice(at, Math.min(end, at + MAX_LINE));
    yield [number, number === 1 ? line.replace(/^\uFEFF/, "") : line];
    at = end + 1;
  }
}

/** `hxxp://evil[.]example` as it was before somebody made it harmless. */
export function refang(value: string): string {
  if (!/[[({]|hxxp|meow:/i.test(value)) return value;
  return value
    .replace(/^(?:hxxp|meow)(s?):/i, "http$1:")
    .replace(/^(https?|ftp)(?:\[:\]\/\/|\[:\/\/\]|:\[\/\/\])/i, "$1://")
    .replaceAll(/\s*(?:\[\.\]|\(\.\)|\{\.\}|\[dot\]|\(dot\)|\[\.|\.\])\s*/gi, ".")
    .replaceAll(/\[:\]/g, ":")
    .replaceAll(/\[\/\]/g, "/")
    .replaceAll(/\[(?:@|at)\]/gi, "@");
}

export type Said = {
  readonly label?: string | undefined;
  readonly tags?: readonly string[] | undefined;
  readonly confidence?: number | undefined;
  readonly expiresMs?: number | undefined;
};

/** A row of the import, or why there is none. Texts are made to fit. */
export function rowOf(indicator: Indicator | Unusable, { label, tags, confidence, expiresMs }: Said): { row: IocRow } | { why: string } {
  if ("why" in indicator) return indicator;
  const shown = label === undefined ? undefined : clean(label, 200);
  const some = (tags ?? [])
    .map((tag) => clean(tag, 64))
    .filter((tag) => tag !== "")
    .slice(0, 8);
  return {
    row: {
      ...indicator,
      ...(shown ? { label: shown } : {}),
      ...(some.length > 0 ? { tags: some } : {}),
      ...(confidence === undefined || !(confidence >= 0 && confidence <= 100) ? {} : { confidence: Math.round(confidence) }),
      ...(expiresMs === undefined || !(expiresMs >= 0 && expiresMs < 8.64e15) ? {} : { expiresMs: Math.floor(expiresMs) }),
    },
  };
}

const clean = (text: string, max: number): string =>
  text
    .replaceAll(/\p{Control}|\p{Format}|\u2028|\u2029/gu, " ")
    .trim()
    .slice(0, max)
    .toWellFormed();

const OTHER_HASHES =
  /^(md5|sha1|sha224|sha384|sha512(\/\d+)?|sha3-\d+|ssdeep|tlsh|imphash|pehash|authentihash|impfuzzy|vhash|cdhash|telfhash|fuzzy)/;
const needsSha256 = (type: string): Unusable => ({
  why: `a ${type} cannot be matched: it needs the SHA-256, which is what devices report`,
});

const kindsByType: Readonly<Record<string, IndicatorKind>> = {
  sha256: "sha256",
  "x509-fingerprint-sha256": "sha256",
  ip: "address",
  "ip-dst": "address",
  "ip-src": "address",
  ipv4: "address",
  ipv6: "address",
  "ipv4-addr": "address",
  "ipv6-addr": "address",
  cidr: "address",
  domain: "domain",
  hostname: "domain",
  host: "domain",
  fqdn: "domain",
  "domain-name": "domain",
  url: "url",
  uri: "url",
  filename: "name",
  "file-name": "name",
  filepath: "path",
  path: "path",
};

/** What a value of a type is, by the names MISP, abuse.ch and others have for types; several where a type joins two values. */
export function typed(type: string, given: string): (Indicator | Unusable)[] {
  const name = type
    .trim()
    .toLowerCase()
    .replace(/_hash$/, "")
    .replaceAll("_", "-")
    .replace("sha-", "sha");
  const value = refang(given.trim());
  if (name === "x509-fingerprint-sha256") return [{ why: "devices tell nothing of certificates" }];
  if (name === "ip-dst|port" || name === "ip-src|port" || name === "ip:port" || name === "hostname|port")
    return [recognise(value.replace(/\|\d+$/, ""))];
  if (name === "domain|ip") return value.split("|").map((one) => recognise(one));
  if (name.startsWith("filename|")) {
    const [, hash = ""] = value.split("|");
    return name === "filename|sha256" ? [canonical("sha256", hash)] : [needsSha256(name)];
  }
  if (OTHER_HASHES.test(name)) return [needsSha256(name)];
  const kind = kindsByType[name];
  return [
    kind === undefined
      ? { why: `devices tell nothing that a value of the type ${JSON.stringify(type.slice(0, 40))} could be compared with` }
      : canonical(kind, value),
  ];
}
