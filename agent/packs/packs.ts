// From a signed pack to what is in force: verify, put its version on disk, try it, keep it or stay with what was.
import type { Anchor, CommandResult, KeyList } from "@picket/protocol/command";
import { type PackKind, type PackState, packKinds, WHOLE_SITE } from "@picket/protocol/pack";
import type { Refused } from "../signed.ts";
import { type InForce, inForce, openPackStore, type PackStore, type Slot } from "./state.ts";
import { type TrueClaims, verifyPack } from "./verify.ts";

export { forgetPacks, type InForce, packsInForce } from "./state.ts";

/** What a kind of pack is to the agent. */
export type PackUse = {
  /** Why a payload cannot be used, or undefined. */
  refuse(payload: unknown): string | undefined;
  /** Makes these be in force, or throws and leaves all as it was. Returns what that means, for people. */
  apply(packs: InForce): string;
};

export type PackOutcome = Refused | (Pick<CommandResult, "ok" | "code" | "message"> & { readonly act: string });

export type Packs = {
  /** Puts in force what was at the last stop, and finishes what a crash interrupted. Returns what came of the latter. Call it once. */
  restore(): PackOutcome[];
  /** Takes a pack. Undefined: it is the one in force, or one that was refused for the same reason before. Never rejects. */
  take(jws: string, known: { readonly keys: KeyList | undefined; readonly nowMs: number }): Promise<PackOutcome | undefined>;
  state(): PackState[];
  /** Why none is taken. */
  readonly damaged: string | undefined;
};

export type PacksOptions = {
  readonly dir: string;
  readonly site: string;
  readonly device: string;
  readonly anchor: Anchor;
  readonly uses: Record<PackKind, PackUse>;
  readonly log: (level: "warn" | "error", message: string) => void;
};

/** Throws when `dir` cannot be read. */
export function openPacks(of: PacksOptions): Packs {
  const { uses, site, device, log } = of;
  const store = openPackStore(of.dir, of);
  const find = (kind: PackKind, dev: string) => store.slots.find((slot) => slot.kind === kind && slot.dev === dev);
  const attempt = (slot: Slot) => tryPending(slot, store, uses[slot.kind], log);
  return {
    damaged: store.damaged,
    restore: () => {
      for (const kind of packKinds) {
        try {
          uses[kind].apply(inForce(store.slots, kind));
        } catch (error) {
          log("error", `the ${kind} in force could not be restored: ${messageOf(error)}`);
        }
      }
      return store.slots
        .filter(({ pending }) => pending)
        .flatMap((slot) => (survives(slot, store, log) ? attempt(slot) : giveUp(slot, store, log)) ?? []);
    },
    take: async (jws, { keys, nowMs }) => {
      if (store.damaged !== undefined)
        return {
          ok: false,
          act: "pack",
          code: "failed",
          message: `${store.damaged}: no pack is taken until this device is enrolled again`,
        };
      const verdict = await verifyPack(jws, { site, device, keys, kinds: packKinds, highest: find, nowMs });
      if (!verdict.ok) return verdict;
      const { claims, hash, again } = verdict;
      const slot = find(claims.kind, claims.dev);
      if (again && slot?.inForce?.version === claims.version) return undefined;
      const accepted = accept(store, claims, hash, uses[claims.kind]);
      return "outcome" in accepted ? accepted.outcome : attempt(accepted.slot);
    },
    state: () =>
      store.slots.map(({ kind, dev, version, inForce, refused }) => ({
        kind,
        dev,
        version: inForce?.version ?? 0,
        ...(refused === undefined ? {} : { refused: { version, why: refused } }),
      })),
  };
}

/** The version is spent from here on, whatever becomes of the pack: an older one that was held back must not come after it. */
function accept(
  store: PackStore,
  { kind, dev, version, payload }: TrueClaims,
  hash: string,
  use: PackUse,
): { slot: Slot } | { outcome: PackOutcome | undefined } {
  const at = store.slots.findIndex((slot) => slot.kind === kind && slot.dev === dev);
  const before = at < 0 ? undefined : store.slots[at];
  const why = use.refuse(payload)?.slice(0, 256);
  const known = before?.hash === hash ? before.refused : undefined;
  // Refused as before: nothing has changed, and nobody needs to hear of it again.
  if (why !== undefined && why === known) return { outcome: undefined };
  const { inForce } = before ?? {};
  const state = why === undefined ? { pending: { version, payload } } : { refused: why };
  const slot: Slot = {
    kind,
    dev,
    version,
    hash,
    ...(inForce ? { inForce } : {}),
    ...(known === undefined ? {} : { refused: known }),
    ...state,
  };
  store.slots[at < 0 ? store.slots.length : at] = slot;
  try {
    store.save();
  } catch (error) {
    // Not spent: it comes again at the next connect.
    if (before) store.slots[at] = before;
    else store.slots.pop();
    const message = `not done: its version must be on disk first, and cannot be: ${messageOf(error)}`;
    return { outcome: { ok: false, act: kind, code: "failed", message } };
  }
  if (why === undefined) return { slot };
  return {
    outcome: { ok: false, act: kind, code: "malformed", message: `version ${version} ${forWhom(dev)} is refused: ${why}; ${stays(slot)}` },
  };
}

/** How often an agent may end while it tries one pack: a power cut is no fault of the pack, two in the same moment are. */
const MAX_TRIES = 2;

/** Whether what is pending may be tried once more. That it was is on disk before it is. */
function survives({ pending }: Slot, store: PackStore, log: PacksOptions["log"]): boolean {
  const tries = (pending?.tries ?? 0) + 1;
  if (tries > MAX_TRIES) return false;
  if (pending) pending.tries = tries;
  save(store, log, "that it is tried once more");
  return true;
}

function giveUp(slot: Slot, store: PackStore, log: PacksOptions["log"]): PackOutcome {
  delete slot.pending;
  slot.refused = `the agent ended ${MAX_TRIES + 1} times while it was tried`;
  save(store, log, "that it is not tried again");
  const message = `version ${slot.version} ${forWhom(slot.dev)} did not work: ${slot.refused}; ${stays(slot)}`;
  return { ok: false, act: slot.kind, code: "rolled-back", message };
}

function save(store: PackStore, log: PacksOptions["log"], what: string): void {
  try {
    store.save();
  } catch (error) {
    log("error", `packs: ${what} cannot be saved: ${messageOf(error)}`);
  }
}

/** Makes what is pending be in force, or notes why not. Undefined when it failed as before. */
function tryPending(slot: Slot, store: PackStore, use: PackUse, log: PacksOptions["log"]): PackOutcome | undefined {
  const { pending, inForce: before, refused: known, kind } = slot;
  if (!pending) return undefined;
  delete slot.pending;
  slot.inForce = { version: pending.version, payload: pending.payload };
  let outcome: PackOutcome | undefined;
  try {
    const what = use.apply(inForce(store.slots, kind));
    delete slot.refused;
    outcome = { ok: true, act: kind, code: "done", message: `version ${slot.version} ${forWhom(slot.dev)}: ${what}` };
  } catch (error) {
    if (before) slot.inForce = before;
    else delete slot.inForce;
    const why = messageOf(error).slice(0, 256);
    slot.refused = why;
    const message = `version ${slot.version} ${forWhom(slot.dev)} did not work: ${why}; ${stays(slot)}`;
    outcome = why === known ? undefined : { ok: false, act: kind, code: "rolled-back", message };
  }
  try {
    store.save();
  } catch (error) {
    log(
      "error",
      `${kind}: what became of version ${slot.version} cannot be saved, and is tried again at the next start: ${messageOf(error)}`,
    );
  }
  return outcome;
}

const forWhom = (dev: string) => (dev === WHOLE_SITE ? "for the whole site" : "for this device");
const stays = ({ inForce }: Slot) => (inForce ? `version ${inForce.version} stays in force` : "none is in force");
const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
