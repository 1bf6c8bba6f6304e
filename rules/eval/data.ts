// Labelled command lines from outside, and their two halves: rules are written while looking at one, and measured on the other.
import { readFileSync } from "node:fs";
import { join } from "node:path";

export type Half = "A" | "B";
export type Line = {
  readonly text: string;
  /** "benign", or how plainly it is an attack. */
  readonly kind: "benign" | "overt" | "dual_use";
  readonly source: string;
  /** Of a recording or a service file: a program's start as it was, not a typed line. */
  readonly exec: boolean;
  readonly half: Half;
  readonly techniques: readonly string[];
  readonly parent?: string;
};

/** cmdline-dev.ndjson of a data folder. Throws with the line that cannot be read. */
export function readLines(folder: string): Line[] {
  return records(join(folder, "cmdline-dev.ndjson"), (row) => {
    const tier = row.optional("tier");
    const { technique } = row.all;
    const parent = row.optional("parent");
    return {
      text: row.text("cmd"),
      kind: row.all.label === 0 ? "benign" : tier === "dual_use" ? "dual_use" : "overt",
      source: row.text("source").replace(/^(ci|dockerfile|scripts):.*/, "$1"),
      exec: row.text("unit") === "exec",
      half: halfOf(row.text("group")),
      techniques: [technique].flat().filter((id) => typeof id === "string"),
      ...(parent === undefined ? {} : { parent }),
    };
  });
}

export type AtomicTest = { readonly technique: string; readonly text: string; readonly half: Half };

/** atomic-linux.dev.ndjson: whole tests, of which some are also among the lines. Those without a command are left out. */
export function readAtomic(folder: string): AtomicTest[] {
  return records(join(folder, "atomic-linux.dev.ndjson"), (row) => ({
    technique: row.text("technique"),
    text: row.optional("command") ?? "",
    half: halfOf(row.text("guid")),
  })).filter(({ text }) => text !== "");
}

export type Exec = { readonly argv: readonly string[]; readonly exe: string; readonly parent?: string };

/** Program starts of honest work, one a line: `{ argv, exe, parent? }`. Throws with the line that cannot be read. */
export function readTrace(path: string): Exec[] {
  return records(path, (row) => {
    const { argv } = row.all;
    if (!Array.isArray(argv) || !argv.every((word) => typeof word === "string")) throw new Error('"argv" must be a list of texts');
    const parent = row.optional("parent");
    return { argv, exe: row.text("exe"), ...(parent === undefined ? {} : { parent }) };
  });
}

/** Techniques by their number in ATT&CK v18, and what they are called in v19. */
export function readRenumbering(folder: string): ReadonlyMap<string, readonly string[]> {
  const read: unknown = JSON.parse(readFileSync(join(folder, "attack-id-renumbering.json"), "utf8"));
  return new Map(Object.entries(read as object).map(([old, now]) => [old, Object.keys(now as object)]));
}

/** One JSON object of a file, asked for its fields. */
type Row = {
  readonly all: Readonly<Record<string, unknown>>;
  /** Throws when the field is no text. */
  text(name: string): string;
  optional(name: string): string | undefined;
};

function records<T>(path: string, read: (row: Row) => T): T[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line, at) => {
      if (line === "") return [];
      try {
        return [read(rowOf(JSON.parse(line)))];
      } catch (error) {
        throw new Error(`${path}:${at + 1}: ${error instanceof Error ? error.message : String(error)}`);
      }
    });
}

function rowOf(json: unknown): Row {
  if (typeof json !== "object" || json === null) throw new Error("not a JSON object");
  const all = json as Record<string, unknown>;
  const optional = (name: string) => (typeof all[name] === "string" ? all[name] : undefined);
  const text = (name: string) => {
    const found = optional(name);
    if (found === undefined) throw new Error(`"${name}" must be a text`);
    return found;
  };
  return { all, text, optional };
}

/** FNV-1a (isthe.com/chongo/tech/comp/fnv) of the group's name: near-duplicates are on one side. */
export function halfOf(group: string): Half {
  let hash = 0x811c9dc5;
  for (let at = 0; at < group.length; at++) hash = Math.imul(hash ^ group.charCodeAt(at), 0x01000193);
  return ((hash >>> 8) ^ hash) & 1 ? "B" : "A";
}
