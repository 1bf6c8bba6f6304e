// Labelled command lines from outside, and their two halves: rules are written while looking at one, and measured on the other.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";

const Row = z.object({
  cmd: z.string(),
  label: z.union([z.literal(0), z.literal(1)]),
  source: z.string(),
  unit: z.enum(["line", "script", "session", "exec"]),
  group: z.string(),
  tier: z.enum(["overt", "dual_use"]).optional(),
  technique: z.union([z.string(), z.array(z.string())]).nullish(),
  parent: z.string().optional(),
});

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
  return records(join(folder, "cmdline-dev.ndjson"), Row).map(({ cmd, label, source, unit, group, tier, technique, parent }) => ({
    text: cmd,
    kind: label === 0 ? "benign" : (tier ?? "overt"),
    source: source.replace(/^(ci|dockerfile|scripts):.*/, "$1"),
    exec: unit === "exec",
    half: halfOf(group),
    techniques: [technique ?? []].flat(),
    ...(parent === undefined ? {} : { parent }),
  }));
}

const Atomic = z.object({ technique: z.string(), name: z.string(), guid: z.string(), command: z.string().nullable() });
export type AtomicTest = { readonly technique: string; readonly name: string; readonly text: string; readonly half: Half };

/** atomic-linux.dev.ndjson: whole tests, of which some are also among the lines. */
export function readAtomic(folder: string): AtomicTest[] {
  return records(join(folder, "atomic-linux.dev.ndjson"), Atomic).flatMap(({ technique, name, guid, command }) =>
    command === null ? [] : [{ technique, name, text: command, half: halfOf(guid) }],
  );
}

const Exec = z.object({ argv: z.array(z.string()).min(1), exe: z.string(), parent: z.string().optional() });
export type Exec = z.infer<typeof Exec>;

/** Program starts of honest work, one a line: `{ argv, exe, parent? }`. */
export const readTrace = (path: string): Exec[] => records(path, Exec);

const Renumbered = z.record(z.string(), z.record(z.string(), z.number()));

/** Techniques by their number in ATT&CK v18, and what they are called in v19. */
export function readRenumbering(folder: string): ReadonlyMap<string, readonly string[]> {
  const read = Renumbered.parse(JSON.parse(readFileSync(join(folder, "attack-id-renumbering.json"), "utf8")));
  return new Map(Object.entries(read).map(([old, now]) => [old, Object.keys(now)]));
}

function records<T>(path: string, schema: z.ZodType<T>): T[] {
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((text, at) => {
      if (text === "") return [];
      const row = schema.safeParse(JSON.parse(text));
      if (!row.success) throw new Error(`${path}:${at + 1}: ${z.prettifyError(row.error)}`);
      return [row.data];
    });
}

/** FNV-1a (isthe.com/chongo/tech/comp/fnv) of the group's name: near-duplicates are on one side. */
export function halfOf(group: string): Half {
  let hash = 0x811c9dc5;
  for (let at = 0; at < group.length; at++) hash = Math.imul(hash ^ group.charCodeAt(at), 0x01000193);
  return ((hash >>> 8) ^ hash) & 1 ? "B" : "A";
}
