// A small state that must survive a crash, a power cut and a bad sector: on disk twice, NAME.json and NAME.copy.json.
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";

/** `saved` counts saves: of two good copies the higher one is true. */
type Counted = { saved: number };

export type KeptTwice<T extends Counted> = {
  /** The newer good copy; undefined where nothing was saved, or all is damaged. */
  readonly found: T | undefined;
  /** A copy is missing or was damaged: save `found` again. */
  readonly incomplete: boolean;
  /** Why nothing that was there can be trusted: both copies are damaged. It stays that way, also after a restart, until `forgetKept`. */
  readonly damaged: string | undefined;
  /** Counts up, and has both copies on disk (fsync of file and folder) when it returns. Throws when the disk refuses. Does nothing when damaged. */
  save(state: T): void;
};

const filesOf = (name: string) => [`${name}.json`, `${name}.copy.json`] as const;
const SET_ASIDE = ".damaged";

/** Reads both copies. A damaged one is set aside. Throws when `dir` cannot be read. */
export function keepTwice<T extends Counted>(dir: string, name: string, schema: z.ZodType<T>): KeptTwice<T> {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const files = filesOf(name);
  const read = files.map((file) => readCopy(join(dir, file), schema));
  const found = newest(read);
  const aside = files.filter((file) => existsSync(join(dir, file + SET_ASIDE)));
  const bad = files.filter((_, index) => read[index] === "damaged");
  for (const file of bad) renameSync(join(dir, file), join(dir, file + SET_ASIDE));
  const damaged = !found && bad.length + aside.length > 0 ? `${join(dir, files[0])} and its copy are damaged` : undefined;
  return {
    found,
    damaged,
    incomplete: read.some((copy) => typeof copy !== "object"),
    save: (state) => {
      if (damaged) return;
      state.saved++;
      for (const file of files) writeCopy(dir, file, state);
    },
  };
}

/** What `keepTwice` would find, without changing anything: for a program that only looks. Throws when `dir` cannot be read. */
export const lookAtKept = <T extends Counted>(dir: string, name: string, schema: z.ZodType<T>): T | undefined =>
  newest(filesOf(name).map((file) => readCopy(join(dir, file), schema)));

/** Forgets it all, damage included. */
export function forgetKept(dir: string, name: string): void {
  for (const file of filesOf(name)) for (const suffix of ["", SET_ASIDE]) rmSync(join(dir, file + suffix), { force: true });
}

const newest = <T extends Counted>(copies: readonly (T | "absent" | "damaged")[]): T | undefined =>
  copies.filter((copy) => typeof copy === "object").sort((a, b) => b.saved - a.saved)[0];

function readCopy<T>(file: string, schema: z.ZodType<T>): T | "absent" | "damaged" {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return "absent";
    throw error;
  }
  try {
    const copy = z.object({ sha256: z.string(), state: z.unknown() }).parse(JSON.parse(text));
    if (copy.sha256 !== digest(copy.state)) return "damaged";
    return schema.parse(copy.state);
  } catch {
    return "damaged";
  }
}

function writeCopy(dir: string, file: string, state: unknown): void {
  const temporary = join(dir, `${file}.tmp`);
  const fd = openSync(temporary, "w", 0o600);
  try {
    writeFileSync(fd, JSON.stringify({ sha256: digest(state), state }));
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, join(dir, file));
  const folder = openSync(dir, "r");
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
}

const digest = (state: unknown) => new Bun.CryptoHasher("sha256").update(JSON.stringify(state)).digest("hex");
