// A list of indicators as somebody else wrote it. Each thing in it is read by itself: what cannot be used is named with its place, and stops nothing.
import { recognise } from "@picket/protocol/ioc-value";
import { looksLikeCsv, readCsv } from "./csv.ts";
import { readMisp } from "./misp.ts";
import { linesOf, NoList, type Read, refang, rowOf } from "./row.ts";
import { readStix } from "./stix.ts";

export const formats = ["auto", "text", "csv", "stix", "misp"] as const;
export type Format = (typeof formats)[number];

/** Largest file, bytes. */
export const MAX_FILE_BYTES = 512 << 20;

/** What a file holds, one after another. Throws `NoList` when it is not what `format` says, or cannot be read at all. */
export function readList(bytes: Uint8Array, asked: Format): { format: Exclude<Format, "auto">; rows: Iterable<Read> } {
  const text = new TextDecoder().decode(bytes);
  const format = asked === "auto" ? formatOf(text) : asked;
  switch (format) {
    case "text":
      return { format, rows: readText(text) };
    case "csv":
      return { format, rows: readCsv(text) };
    case "stix":
      return { format, rows: readStix(jsonOf(text)) };
    case "misp":
      return { format, rows: readMisp(jsonOf(text)) };
  }
}

function formatOf(text: string): Exclude<Format, "auto"> {
  const start = text.slice(0, 4096).trimStart();
  if (start.startsWith("{") || start.startsWith("[")) {
    const json = jsonOf(text);
    const isBundle = typeof json === "object" && json !== null && "type" in json && json.type === "bundle";
    const isObjects = Array.isArray(json) && json.some((one) => typeof one?.pattern === "string");
    return isBundle || isObjects ? "stix" : "misp";
  }
  return looksLikeCsv(text) ? "csv" : "text";
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (error) {
    throw new NoList(`it is not JSON: ${error instanceof Error ? error.message : error}`);
  }
}

const COMMENT = /^\s*(?:#|;|\/\/|$)/;
const SINKS = new Set(["0.0.0.0", "127.0.0.1", "::", "::1"]);

function* readText(text: string): Generator<Read> {
  for (const [number, line] of linesOf(text)) {
    if (COMMENT.test(line)) continue;
    const [said = "", label] = split(line.trim());
    const words = said.split(/\s+/);
    // As in /etc/hosts: where to send it, and then what it is.
    const values = words.length > 1 && SINKS.has(words[0]!) ? words.slice(1) : [said];
    for (const value of values) yield { at: `line ${number}`, ...rowOf(recognise(refang(value)), { label }) };
  }
}

/** The value and what is said of it behind a "#" or ";". */
function split(line: string): [string, string | undefined] {
  const [, value, comment] = /^(.*?)\s+[#;]\s*(.*)$/.exec(line) ?? [];
  return comment === undefined ? [line, undefined] : [value!.trim(), comment === "" ? undefined : comment];
}
