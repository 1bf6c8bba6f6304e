// What critical files were when they were last looked at, on disk: written whole or not at all, readable by root only.
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import * as z from "zod";
import type { Seen } from "./integrity-look.ts";

export type Baseline = {
  /** The configured paths it was made for: what is new among them has no "before". */
  readonly roots: ReadonlySet<string>;
  readonly files: Map<string, Seen>;
};

const State = z.object({ sha256: z.string().optional(), uid: z.int(), gid: z.int(), mode: z.int(), size: z.int() });
const Saved = z.object({
  v: z.literal(1),
  roots: z.array(z.string()),
  files: z.record(z.string(), z.object({ state: State, identity: z.string() })),
});

/** Undefined when there is none yet. Throws when there is one that cannot be understood. */
export function readBaseline(path: string): Baseline | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const { roots, files } = Saved.parse(JSON.parse(text));
  return { roots: new Set(roots), files: new Map(Object.entries(files) as [string, Seen][]) };
}

/** A kill or a power cut at any moment leaves the one before or this one. Throws when the disk does not take it. */
export function writeBaseline(path: string, { roots, files }: Baseline): void {
  const text = JSON.stringify({ v: 1, roots: [...roots], files: Object.fromEntries(files) });
  const fd = openSync(`${path}.new`, "w", 0o600);
  try {
    writeFileSync(fd, text);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(`${path}.new`, path);
}
