// Which packs this device has: on disk before anything is done with them, so that no broker can bring an older one back.
import { type Anchor, anchorHash } from "@picket/protocol/command";
import { type PackKind, PackTarget, packKinds } from "@picket/protocol/pack";
import * as z from "zod";
import { forgetKept, keepTwice, lookAtKept } from "../kept-twice.ts";

const Content = z.object({ version: z.int().positive(), payload: z.unknown() });

const Slot = z.object({
  kind: z.enum(packKinds),
  dev: PackTarget,
  /** The highest accepted, and the hash of that very pack. */
  version: z.int().positive(),
  hash: z.string(),
  /** What is obeyed, of this version or, when that was refused, of an earlier one. */
  inForce: Content.optional(),
  /** Accepted, and not yet known to work: tried again after a crash. */
  pending: Content.extend({
    /** Starts of the agent in which it was tried: more than once, and it is what ends them. */
    tries: z.int().nonnegative().optional(),
  }).optional(),
  refused: z.string().max(256).optional(),
  /** It ended the agent: this very pack is not tried again, however often it comes. */
  gaveUp: z.boolean().optional(),
});
export type Slot = z.infer<typeof Slot>;

const State = z.object({
  v: z.literal(1),
  saved: z.int().nonnegative(),
  of: z.object({ site: z.string(), device: z.string(), anchor: z.string() }),
  slots: z.array(Slot).max(16),
});
type State = z.infer<typeof State>;

const NAME = "packs";

export type PackStore = {
  readonly slots: Slot[];
  /** Why the versions cannot be trusted: no pack is taken, for older ones could be brought back. */
  readonly damaged: string | undefined;
  /** On disk when it returns. Throws when the disk refuses. */
  save(): void;
};

/** Opens the packs in `dir`. Those of another site or another enrolment are not there. Throws when `dir` cannot be read. */
export function openPackStore(dir: string, identity: { site: string; device: string; anchor: Anchor }): PackStore {
  const of = { site: identity.site, device: identity.device, anchor: anchorHash(identity.anchor) };
  const kept = keepTwice(dir, NAME, State);
  const { found } = kept;
  const same = found?.of.site === of.site && found.of.device === of.device && found.of.anchor === of.anchor;
  const state: State = { v: 1, saved: found?.saved ?? 0, of, slots: found && same ? found.slots : [] };
  return { slots: state.slots, damaged: kept.damaged, save: () => kept.save(state) };
}

/** For a new enrolment. */
export const forgetPacks = (dir: string): void => forgetKept(dir, NAME);

/** Payloads in force, as the running agent left them: `site` for the whole site, `device` for this one. Changes nothing. Throws when `dir` cannot be read. */
export function packsInForce(dir: string, kind: PackKind): InForce {
  return inForce(lookAtKept(dir, NAME, State)?.slots ?? [], kind);
}

type Versioned = { readonly version: number; readonly payload: unknown };
export type InForce = { readonly site: Versioned | undefined; readonly device: Versioned | undefined };

export function inForce(slots: readonly Slot[], kind: PackKind): InForce {
  const of = (own: boolean): Versioned | undefined => slots.find((slot) => slot.kind === kind && (slot.dev !== "*") === own)?.inForce;
  return { site: of(false), device: of(true) };
}
