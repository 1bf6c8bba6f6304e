// Comma-separated lists, as feeds and MISP export them: columns are known by their names, in the header or in the comment that stands for it.
import { recognise } from "@picket/protocol/ioc-value";
import { linesOf, type Read, refang, rowOf, typed } from "./row.ts";

const MAX_COLUMNS = 64;

type Column = "value" | "type" | "confidence" | "expires" | "label" | "tags" | "ids";
const columns: Readonly<Record<string, Column>> = {
  ...named("value", "value indicator ioc ioc_value observable"),
  ...named("type", "type ioc_type indicator_type observable_type kind"),
  ...named("confidence", "confidence confidence_level score"),
  ...named("expires", "expires expiration expiry expires_at expiration_date valid_until expire"),
  ...named("label", "malware_printable malware label description comment threat signature name title family reason"),
  ...named("tags", "tags tag labels"),
  ...named("ids", "to_ids"),
};
/** Columns that say by their name what is in them. */
const typesByColumn: Readonly<Record<string, string>> = {
  ...{
    ip: "ip",
    dst_ip: "ip",
    src_ip: "ip",
    ip_address: "ip",
    ipaddress: "ip",
    address: "ip",
    ipv4: "ip",
    ipv6: "ip",
    cidr: "ip",
    network: "ip",
  },
  ...{ domain: "domain", hostname: "domain", host: "domain", fqdn: "domain", url: "url", uri: "url" },
  ...{ sha256: "sha256", sha256_hash: "sha256", hash: "hash", md5: "md5", md5_hash: "md5", sha1: "sha1", sha1_hash: "sha1" },
  ...{ filename: "filename", file_name: "filename", path: "path", filepath: "path" },
};

function named(column: Column, names: string): Record<string, Column> {
  return Object.fromEntries(names.split(" ").map((name) => [name, column]));
}

type Header = { readonly of: ReadonlyMap<Column, number>; readonly typed: readonly { at: number; type: string }[] };

/** Whether the first lines that are no comment have columns. */
export function looksLikeCsv(text: string): boolean {
  let looked = 0;
  for (const [, line] of linesOf(text)) {
    if (headerOf(line)) return true;
    if (/^\s*(#|;|\/\/|$)/.test(line)) continue;
    if (cells(line).length > 1 && !/^[^,]*\s[#;]/.test(line)) return true;
    if (++looked >= 5) return false;
  }
  return false;
}

/** Rows of a file. A quoted value does not go over the end of its line: no list has such. */
export function* readCsv(text: string): Generator<Read> {
  let header: Header | undefined;
  for (const [number, line] of linesOf(text)) {
    const isComment = /^\s*(#|$)/.test(line);
    const found = header && !isComment ? undefined : headerOf(line);
    if (found) header = found;
    if (found || isComment) continue;
    for (const one of rowsOf(cells(line), header)) yield { at: `line ${number}`, ...one };
  }
}

/** The columns, when the line names at least one that holds values and none of its cells is a value. */
function headerOf(line: string): Header | undefined {
  if (line.length > 4096) return undefined;
  const names = cells(line.replace(/^\s*#+\s*/, "")).map((cell) =>
    cell
      .trim()
      .replaceAll(/[\s-]+/g, "_")
      .toLowerCase(),
  );
  const of = new Map<Column, number>();
  for (const [at, name] of names.entries()) {
    const column = columns[name];
    // The first label said is the best: malware_printable is more than its comment.
    if (column && !of.has(column)) of.set(column, at);
  }
  const typed = names.flatMap((name, at) => (typesByColumn[name] ? [{ at, type: typesByColumn[name] }] : []));
  const known = of.size + typed.length;
  if (!of.has("value") && typed.length === 0) return undefined;
  return names.length === 1 || known >= 2 ? { of, typed } : undefined;
}

function* rowsOf(all: readonly string[], header: Header | undefined): Generator<ReturnType<typeof rowOf>> {
  const cell = (column: Column) => {
    const at = header?.of.get(column);
    return at === undefined ? undefined : all[at]?.trim() || undefined;
  };
  const ids = cell("ids")?.toLowerCase();
  if (ids === "0" || ids === "false") return yield { why: "it is not meant for detection (to_ids is off)" };
  const tags = cell("tags")?.split(/[,;|]/);
  const said = { label: cell("label"), tags, confidence: numberOf(cell("confidence")), expiresMs: timeOf(cell("expires")) };
  const value = cell("value");
  const type = cell("type");
  if (value !== undefined) {
    const found = type === undefined ? [recognise(refang(value))] : typed(type, value);
    for (const one of found) yield rowOf(one, said);
    return;
  }
  const given = header?.typed.filter(({ at }) => (all[at] ?? "").trim() !== "") ?? [];
  // A row that has hashes of several kinds is one file: of them the SHA-256 counts.
  const strong = given.some(({ type }) => type === "sha256");
  for (const one of given) {
    if (strong && /^(md5|sha1)$/.test(one.type)) continue;
    const text = all[one.at]!.trim();
    for (const found of one.type === "hash" ? [recognise(refang(text))] : typed(one.type, text)) yield rowOf(found, said);
  }
  if (header) {
    if (given.length === 0) yield { why: "its columns hold no indicator" };
    return;
  }
  const first = all.map((text) => recognise(refang(text))).find((one) => !("why" in one));
  yield first ? rowOf(first, {}) : { why: "none of its columns is an indicator" };
}

const numberOf = (text: string | undefined): number | undefined =>
  text !== undefined && /^\d+(\.\d+)?$/.test(text) ? Number(text) : undefined;

function timeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{10}$/.test(text)) return Number(text) * 1000;
  if (/^\d{13}$/.test(text)) return Number(text);
  const ms = Date.parse(/^\d{4}-\d\d-\d\d \d\d:\d\d/.test(text) ? `${text.replace(" ", "T").replace(/ UTC$/, "")}Z` : text);
  return Number.isNaN(ms) ? undefined : ms;
}

/** RFC 4180, of one line; also with semicolons or tabs, where there are no commas. */
function cells(line: string): string[] {
  const by = line.includes(",") ? "," : line.includes("\t") ? "\t" : ";";
  const found: string[] = [];
  let at = 0;
  while (at <= line.length && found.length < MAX_COLUMNS) {
    while (line[at] === " ") at++;
    let cell = "";
    if (line[at] === '"') {
      for (at++; at < line.length; at++) {
        if (line[at] !== '"') cell += line[at];
        else if (line[at + 1] === '"') cell += line[at++];
        else break;
      }
      const end = line.indexOf(by, at);
      at = end < 0 ? line.length + 1 : end + 1;
    } else {
      const end = line.indexOf(by, at);
      cell = line.slice(at, end < 0 ? undefined : end).trimEnd();
      at = end < 0 ? line.length + 1 : end + 1;
    }
    found.push(cell);
  }
  return found;
}
