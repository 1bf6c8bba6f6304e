// From a signed pack to what is in force: verify, put its version on disk, try it, keep it or stay with what was.
import type { Anchor, CommandResult, KeyList } from "@picket/protocol/command";
import { type PackKind, type PackState, packKinds, WHOLE_SITE } from "@picket/protocol/pack";
import type { Refused } from "../signed.ts";
import { type InForce, inForce, openPackStore, type PackStore, type Slot } from "./state.ts";
import { type TrueClaims, verifyPack } from "./verify.ts";

export { forgetPacks, type InForce, packsInForce } from "./state.ts";

/** What a kind of pack is to the agent. */
export type PackUse = {
  /** Loads what only a pack of this kind needs: await it before the others are called with one. */
  load?(): Promise<void>;
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
  /** By kind and target the pack that this agent cannot use, whatever happens: looking at it again tells nothing else. */
  const useless = new Map<string, string>();
  const attempt = (slot: Slot) => {
    const outcome = tryPending(slot, store, uses[slot.kind], log);
    if (outcome?.code === "malformed") useless.set(`${slot.kind} ${slot.dev}`, slot.hash);
    return outcome;
  };
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
      const verify = () => verifyPack(jws, { site, device, keys, kinds: packKinds, highest: find, nowMs });
      let verdict = await verify();
      if (!verdict.ok) return verdict;
      await uses[verdict.claims.kind].load?.();
      // Another one may have been taken meanwhile.
      verdict = await verify();
      if (!verdict.ok) return verdict;
      const { claims, hash, again } = verdict;
      const slot = find(claims.kind, claims.dev);
      if (again && (slot?.inForce?.version === claims.version || slot?.gaveUp || useless.get(`${claims.kind} ${claims.dev}`) === hash))
        return undefined;
      const accepted = accept(store, claims, hash);
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
function accept(store: PackStore, { kind, dev, version, payload }: TrueClaims, hash: string): { slot: Slot } | { outcome: PackOutcome } {
  const at = store.slots.findIndex((slot) => slot.kind === kind && slot.dev === dev);
  const before = at < 0 ? undefined : store.slots[at];
  const known = before?.hash === hash ? before.refused : undefined;
  const { inForce } = before ?? {};
  const slot: Slot = {
    ...{ kind, dev, version, hash, pending: { version, payload } },
    ...(inForce ? { inForce } : {}),
    ...(known === undefined ? {} : { refused: known }),
  };
  store.slots[at < 0 ? store.slots.length : at] = slot;
  try {
    store.save();
    return { slot };
  } catch (error) {
    // Not spent: it comes again at the next connect.
    if (before) store.slots[at] = before;
    else store.slots.pop();
    const message = `not done: its version must be on disk first, and cannot be: ${messageOf(error)}`;
    return { outcome: { ok: false, act: kind, code: "failed", message } };
  }
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
  slot.gaveUp = true;
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

/** Looks at what is pending and makes it be in force, or notes why not. Undefined when it failed as before. */
function tryPending(slot: Slot, store: PackStore, use: PackUse, log: PacksOptions["log"]): PackOutcome | undefined {
  const { pending, inForce: before, refused: known, kind } = slot;
  if (!pending) return undefined;
  const failed = (code: "malformed" | "rolled-back", what: string, reason: string): PackOutcome | undefined => {
    if (before) slot.inForce = before;
    else delete slot.inForce;
    const why = reason.slice(0, 256);
    slot.refused = why;
    const message = `version ${slot.version} ${forWhom(slot.dev)} ${what}: ${why}; ${stays(slot)}`;
    return why === known ? undefined : { ok: false, act: kind, code, message };
  };
  let outcome: PackOutcome | undefined;
  try {
    const why = use.refuse(pending.payload);
    delete slot.pending;
    if (why !== undefined) outcome = failed("malformed", "is refused", why);
    else {
      slot.inForce = { version: pending.version, payload: pending.payload };
      const what = use.apply(inForce(store.slots, kind));
      delete slot.refused;
      outcome = { ok: true, act: kind, code: "done", message: `version ${slot.version} ${forWhom(slot.dev)}: ${what}` };
    }
  } catch (error) {
    delete slot.pending;
    outcome = failed("rolled-back", "did not work", messageOf(error));
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
