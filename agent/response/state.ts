// What the response part must not forget, on disk twice: response.json and response.copy.json.
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Anchor, anchorHash, CommandClaims, CommandResult } from "@picket/protocol/command";
import * as z from "zod";

const ms = z.int().nonnegative();
const Pinned = z.object({ host: z.string().max(255), addresses: z.array(z.string().max(64)).min(1).max(64) });
export type Pinned = z.infer<typeof Pinned>;

const Isolation = z.object({
  state: z.enum(["off", "isolated", "released-by-dead-man"]),
  sinceMs: ms.optional(),
  reason: z.string().max(256).optional(),
  pinned: Pinned.optional(),
  countdown: z.object({ totalMs: ms, leftMs: ms, counted: z.object({ boot: z.string(), uptimeMs: ms }).optional() }).optional(),
});
export type IsolationRecord = z.infer<typeof Isolation>;

const State = z.object({
  v: z.literal(1),
  /** Counts saves: of two good copies the higher one is true. */
  saved: z.int().nonnegative(),
  of: z.object({ site: z.string(), device: z.string(), anchor: z.string() }),
  /** The key list as it was signed; it is verified again at every start. */
  keys: z.string().optional(),
  highest: z.record(z.string(), z.int().positive()),
  time: z.object({ ownMs: ms, toldMs: ms }),
  /** A command whose counter is spent and whose action may not be done yet. */
  running: z.object({ hash: z.string(), claims: CommandClaims }).optional(),
  recent: z.array(z.object({ hash: z.string(), result: CommandResult })),
  outbox: z.array(CommandResult),
  isolation: Isolation,
});
export type State = z.infer<typeof State>;

export type Store = {
  readonly state: State;
  /** Nothing was on disk. */
  readonly fresh: boolean;
  /** Why the state cannot be trusted. Commands must be refused: their counters are lost, and old ones could be replayed. */
  readonly damaged: string | undefined;
  /** Both copies are on disk (fsync of file and folder) when this returns. Throws when the disk refuses. Does nothing to a damaged store. */
  save(): void;
};

const FILES = ["response.json", "response.copy.json"] as const;
const SET_ASIDE = ".damaged";

/**
 * Opens the state in `dir`. A damaged copy is set aside and replaced by the good one. When both are damaged the store says so and stays that way,
 * also after a restart, until `resetState`: starting to count from zero would let a broker replay every command it ever carried.
 */
export function openState(dir: string, identity: { site: string; device: string; anchor: Anchor }): Store {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const of = { site: identity.site, device: identity.device, anchor: anchorHash(identity.anchor) };
  const read = FILES.map((file) => readCopy(join(dir, file)));
  const good = read.filter((copy) => typeof copy === "object").sort((a, b) => b.saved - a.saved)[0];
  const aside = FILES.filter((file) => existsSync(join(dir, file + SET_ASIDE)));
  const bad = FILES.filter((_, index) => read[index] === "damaged");
  for (const file of bad) renameSync(join(dir, file), join(dir, file + SET_ASIDE));

  const damaged = !good && bad.length + aside.length > 0 ? `${join(dir, FILES[0])} and its copy are damaged` : undefined;
  const state = good ? belongsTo(good, of) : empty(of);
  const save = () => {
    if (damaged) return;
    state.saved++;
    for (const file of FILES) writeCopy(dir, file, state);
  };
  if (good && read.some((copy) => typeof copy !== "object")) save();
  return { state, fresh: !good && !damaged, damaged, save };
}

/** For a new enrolment: forgets counters, keys and results, so that a device with a damaged state obeys again. */
export function resetState(dir: string): void {
  for (const file of FILES) for (const suffix of ["", SET_ASIDE]) rmSync(join(dir, file + suffix), { force: true });
}

const empty = (of: State["of"]): State => ({
  v: 1,
  saved: 0,
  of,
  highest: {},
  time: { ownMs: 0, toldMs: 0 },
  recent: [],
  outbox: [],
  isolation: { state: "off" },
});

/** Enrolled anew elsewhere: commands of the old site mean nothing here, but a device that is isolated stays isolated. */
function belongsTo(state: State, of: State["of"]): State {
  const same = state.of.site === of.site && state.of.device === of.device && state.of.anchor === of.anchor;
  return same ? state : { ...empty(of), saved: state.saved, time: state.time, isolation: state.isolation };
}

function readCopy(file: string): State | "absent" | "damaged" {
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
    return State.parse(copy.state);
  } catch {
    return "damaged";
  }
}

function writeCopy(dir: string, file: string, state: State): void {
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
