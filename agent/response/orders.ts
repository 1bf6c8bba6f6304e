// From what the broker carries to what the device does: verify, put the counter on disk, act, answer.
import type { Anchor, CommandClaims, CommandResult, KeyList } from "@picket/protocol/command";
import type { Outcome } from "./isolation.ts";
import { outbox, refusalLimit } from "./outbox.ts";
import type { Answer, PackTaker } from "./response.ts";
import type { Store } from "./state.ts";
import type { TrustedTime } from "./time.ts";
import { verifyCommand, verifyKeyList } from "./verify.ts";

export type OrdersOptions = {
  readonly site: string;
  readonly device: string;
  readonly anchor: Anchor;
  readonly store: Store;
  readonly time: TrustedTime;
  readonly packs: PackTaker | undefined;
  readonly now: () => number;
  readonly uptimeMs: () => number;
  readonly act: (claims: CommandClaims, resumed: boolean) => Promise<Outcome>;
  /** A result that is new, and worth an event. */
  readonly emit: (result: CommandResult) => void;
  readonly log: (level: "info" | "warn" | "error", message: string) => void;
};

/** Commands and key lists, one at a time: the caller sees to that. */
export class Orders {
  readonly #of: OrdersOptions;
  readonly #results: ReturnType<typeof outbox>;
  readonly #refusals: ReturnType<typeof refusalLimit>;
  readonly #listeners = new Set<(result: CommandResult) => void>();
  #keys: KeyList | undefined;
  /** Something is in memory that is not on disk yet. */
  #dirty = false;

  constructor(of: OrdersOptions) {
    this.#of = of;
    this.#results = outbox(of.store.state);
    this.#refusals = refusalLimit(of.uptimeMs);
  }

  get keys(): KeyList | undefined {
    return this.#keys;
  }

  /** Takes up the key list on disk, or the one that came with enrolment when that is newer. */
  async restoreKeys(enrolled: string | undefined): Promise<void> {
    const { site, anchor, store, log } = this.#of;
    const read = async (jws: string | undefined) =>
      jws === undefined ? undefined : verifyKeyList(jws, { site, anchor, current: undefined });
    const own = await read(store.state.keys);
    if (own?.ok) this.#keys = own.list;
    const given = await read(enrolled);
    if (given && !given.ok) log("error", `the key list of the enrolment is refused: ${given.code}: ${given.message}`);
    // Once a newer one has come, the list of the enrolment is old, and no news.
    if (given?.ok && enrolled !== undefined && given.list.version > (this.#keys?.version ?? 0)) await this.takeKeys(enrolled);
  }

  /** Finishes the command that a crash interrupted: it was accepted, and its counter is spent. */
  async resume(): Promise<void> {
    const { running } = this.#of.store.state;
    if (running) await this.#run(running.hash, running.claims, true);
  }

  async obey(jws: string): Promise<void> {
    const { store, site, device, time } = this.#of;
    const hash = new Bun.CryptoHasher("sha256").update(jws).digest("base64url");
    const known = this.#results.answerTo(hash);
    if (known) {
      // MQTT delivers at least once: the same order twice is one order, and the same answer.
      this.#results.put(known);
      return this.#publish(known);
    }
    if (store.damaged !== undefined) return this.#refuseDamaged(store.damaged);
    const { highest } = store.state;
    const verdict = await verifyCommand(jws, { site, device, keys: this.#keys, highest, nowMs: time.now() });
    if (!verdict.ok) return this.refuse(verdict);
    const { claims } = verdict;
    highest[claims.kid] = claims.ctr;
    store.state.running = { hash, claims };
    time.signed(claims.iat * 1000);
    try {
      this.save();
    } catch (error) {
      const message = `not done: its counter must be on disk first, and cannot be: ${messageOf(error)}`;
      return this.#finish(hash, claims, { ok: false, code: "failed", message });
    }
    await this.#run(hash, claims, false);
  }

  async takeKeys(jws: string): Promise<void> {
    const { site, anchor, store, time, log } = this.#of;
    const current = this.#keys && store.state.keys !== undefined ? { jws: store.state.keys, version: this.#keys.version } : undefined;
    const verdict = await verifyKeyList(jws, { site, anchor, current });
    if (!verdict.ok) return this.refuse(verdict);
    if (verdict.same) return;
    this.#keys = verdict.list;
    store.state.keys = jws;
    time.distrustBroker();
    time.signed(verdict.list.iat * 1000);
    this.saveSoon();
    log("info", `key list version ${verdict.list.version} is obeyed: ${verdict.list.keys.length} operator keys`);
  }

  refuse(of: Omit<Answer, "ok">): void {
    const held = this.#refusals.take(of.code);
    if (held === undefined) return;
    const more = held > 0 ? ` (and ${held} more like it before)` : "";
    this.tell({ ...of, ok: false, message: of.message + more });
  }

  /** What became of something that carries no counter, for the site to know. */
  tell(of: Answer): void {
    const result = this.#answer(of, of);
    this.#of.log(result.ok ? "info" : "warn", `${result.ok ? "" : "refused "}${result.act}: ${result.code}: ${result.message}`);
    this.#results.put(result);
    this.saveSoon();
    this.#of.emit(result);
    this.#publish(result);
  }

  /** Hands a signed pack to the part that takes it. */
  async takePack(jws: string): Promise<void> {
    const { store, packs, time } = this.#of;
    // Without the counters the key list is not to be trusted either: an older one may have come back.
    if (store.damaged !== undefined) return this.#refuseDamaged(store.damaged);
    const answer = packs
      ? await packs.take(jws, { keys: this.#keys, nowMs: time.now() })
      : ({ ok: false, act: "pack", code: "failed", message: "the packs of this device cannot be read: see the agent's log" } as const);
    if (answer?.ok) this.tell(answer);
    else if (answer) this.refuse(answer);
  }

  /** Tells of refusals held back, once they may be told, and saves what could not be saved. */
  tick(): void {
    for (const code of this.#refusals.due()) this.refuse({ code: code as Answer["code"], act: "unknown", message: "refused again" });
    if (this.#dirty) this.saveSoon();
  }

  /** Throws when the disk refuses. */
  save(): void {
    const { store, time } = this.#of;
    store.state.time = time.saved();
    this.#dirty = true;
    store.save();
    this.#dirty = false;
  }

  /** For what may be repeated after a crash: tried again at the next tick when the disk refuses. */
  saveSoon(): void {
    try {
      this.save();
    } catch (error) {
      this.#of.log("error", `the state of the response part cannot be saved, and is tried again: ${messageOf(error)}`);
    }
  }

  pending(): readonly CommandResult[] {
    return this.#results.waiting();
  }

  delivered(result: CommandResult): void {
    if (this.#results.delivered(result)) this.#dirty = true;
  }

  onResult(callback: (result: CommandResult) => void): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  async #run(hash: string, claims: CommandClaims, resumed: boolean): Promise<void> {
    const outcome = await this.#of
      .act(claims, resumed)
      .catch((error): Outcome => ({ ok: false, code: "failed", message: messageOf(error) }));
    this.#finish(hash, claims, outcome);
  }

  #finish(hash: string, claims: CommandClaims, outcome: Outcome): void {
    const result = this.#answer(claims, outcome);
    delete this.#of.store.state.running;
    this.#results.remember(hash, result);
    this.saveSoon();
    this.#of.log(result.ok ? "info" : "error", `${result.act}: ${result.code}: ${result.message}`);
    this.#of.emit(result);
    this.#publish(result);
  }

  #refuseDamaged(why: string): void {
    if (this.#refusals.take("failed") === undefined) return;
    const result = this.#answer(
      { act: "unknown" },
      { ok: false, code: "failed", message: `${why}: nothing is obeyed until this device is enrolled again` },
    );
    this.#results.put(result);
    this.#of.emit(result);
    this.#publish(result);
  }

  #answer(
    of: { act: string; jti?: string | undefined },
    outcome: Pick<CommandResult, "ok" | "code" | "message" | "sample">,
  ): CommandResult {
    const { ok, code, message, sample } = outcome;
    const jti = of.jti === undefined ? {} : { jti: of.jti };
    return {
      v: 1,
      ...jti,
      act: of.act,
      ok,
      code,
      message: message.slice(0, 512),
      timeMs: this.#of.now(),
      ...(sample === undefined ? {} : { sample }),
    };
  }

  #publish(result: CommandResult): void {
    for (const listener of this.#listeners) listener(result);
  }
}

const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
