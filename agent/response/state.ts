// What the response part must not forget, on disk twice: response.json and response.copy.json.
import { type Anchor, anchorHash, CommandClaims, CommandResult } from "@picket/protocol/command";
import * as z from "zod";
import { forgetKept, keepTwice } from "../kept-twice.ts";

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

const NAME = "response";

/**
 * Opens the state in `dir`. A damaged copy is set aside and replaced by the good one. When both are damaged the store says so and stays that way,
 * also after a restart, until `resetState`: starting to count from zero would let a broker replay every command it ever carried.
 */
export function openState(dir: string, identity: { site: string; device: string; anchor: Anchor }): Store {
  const of = { site: identity.site, device: identity.device, anchor: anchorHash(identity.anchor) };
  const kept = keepTwice(dir, NAME, State);
  const state = kept.found ? belongsTo(kept.found, of) : empty(of);
  const save = () => kept.save(state);
  if (kept.found && kept.incomplete) save();
  return { state, fresh: !kept.found && !kept.damaged, damaged: kept.damaged, save };
}

/** For a new enrolment: forgets counters, keys and results, so that a device with a damaged state obeys again. */
export const resetState = (dir: string): void => forgetKept(dir, NAME);

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
