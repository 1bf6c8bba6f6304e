// The life of an isolation: applied, proved, kept, released. It changes the host and nothing else here does.
import type { Action, CommandResult } from "@picket/protocol/command";
import { DEAD_MAN_DEFAULT_MS } from "@picket/protocol/command";
import type { IsolationState } from "@picket/protocol/status";
import { type Nft, NftError } from "node-nftables";
import { type BootClock, count, reached, resumed, whole } from "./dead-man.ts";
import { disprove } from "./prove.ts";
import { addressesForAny, type Reach, reachAny } from "./reach.ts";
import type { Broker } from "./response.ts";
import type { Store } from "./state.ts";
import { addressesOf, droppedBy, FAMILY, fingerprint, isolationCommands, releaseCommands, TABLE } from "./table.ts";

export type Outcome = Pick<CommandResult, "ok" | "message" | "sample"> & { readonly code: "done" | "failed" | "rolled-back" };
type Args<A extends Action["act"]> = Extract<Action, { act: A }>["args"];

/** Something the device did by itself, worth an event. */
export type Notice = { readonly act: "isolate" | "release"; readonly ok: boolean; readonly code: string; readonly message: string };

export type IsolationOptions = {
  readonly store: Store;
  readonly nft: Nft;
  readonly broker: Broker;
  readonly clock: BootClock;
  readonly now: () => number;
  readonly resolve: (host: string) => Promise<readonly string[]>;
  readonly reach: Reach;
  readonly endConnections: (keep: readonly string[]) => Promise<number | undefined>;
  readonly notice: (notice: Notice) => void;
};

const CHECK_EVERY_MS = 60_000;
const SAVE_EVERY_MS = 60_000;

/** Nothing was changed, so there is nothing to roll back. */
class NotApplied extends Error {}

export class Isolation {
  readonly #of: IsolationOptions;
  #reachable = false;
  /** The table as this process last saw it right; undefined while it is not known to be in place. */
  #inPlace: string | undefined;
  #trouble: string | undefined;
  /** A table that must go but could not be removed yet. */
  #leftover = false;
  #checkedMs = 0;
  #savedMs: number;

  constructor(of: IsolationOptions) {
    this.#of = of;
    this.#savedMs = of.clock.uptimeMs();
  }

  /**
   * At start, before anything talks to the network: makes the kernel what the state on disk says. Never rejects. `interrupted` will be done again
   * right after: what it had changed already is left alone.
   */
  async restore(interrupted?: Action["act"]): Promise<void> {
    const record = this.#record;
    if (record.countdown) record.countdown = resumed(record.countdown, this.#of.clock);
    try {
      if (record.state === "isolated" && interrupted !== "release") await this.#reapply();
      else if (record.state !== "isolated" && interrupted === undefined) await this.#adoptOrSweep();
    } catch (error) {
      if (record.state === "isolated") {
        this.#report("isolate", false, "not-restored", `isolation could not be restored and is tried again: ${messageOf(error)}`);
      } else this.#trouble = messageOf(error);
    }
  }

  /** `resumed`: a crash interrupted this very command, so a table in the kernel is its own. */
  async isolate(args: Args<"isolate">, resumed = false): Promise<Outcome> {
    const before = structuredClone(this.#record);
    const again = before.state === "isolated" && before.pinned !== undefined;
    const { broker, reach } = this.#of;
    let addresses: readonly string[];
    try {
      addresses = await this.#addresses(resumed);
    } catch (error) {
      return failed(`not isolated: ${messageOf(error)}`);
    }
    const wasReachable = this.#reachable || (await reachAny(addresses, broker.mqttPort, reach, 1));
    let reason: string | undefined;
    try {
      await this.#apply(addresses);
      reason = await disprove({ addresses, port: broker.mqttPort, before: wasReachable, reach, dropped: () => this.#droppedOut() });
    } catch (error) {
      if (error instanceof NotApplied) return failed(`${again ? "isolated as before" : "not isolated"}: ${error.message}`);
      reason = messageOf(error);
    }
    if (reason !== undefined) return this.#rollBack(again, before.pinned?.addresses ?? [], reason);

    const countdown = reached(whole(args.deadManMs), this.#reachable, this.#of.clock);
    this.#of.store.state.isolation = {
      state: "isolated",
      sinceMs: again ? (before.sinceMs ?? this.#of.now()) : this.#of.now(),
      reason: args.reason,
      pinned: { host: nameOf(broker), addresses: [...addresses] },
      countdown,
    };
    const ended = await this.#of.endConnections(addresses);
    return {
      ok: true,
      code: "done",
      message: `isolated; the broker is reached at ${addresses.join(", ")}${ended ? `; ${ended} connections ended` : ""}`,
    };
  }

  async release(): Promise<Outcome> {
    let dropped = "";
    try {
      const listing = await this.#of.nft.list(FAMILY, TABLE);
      if (listing) {
        const { input, output, forward } = droppedBy(listing);
        dropped = `; packets dropped meanwhile: ${input} in, ${output} out, ${forward} forwarded`;
      }
      await this.#remove();
    } catch (error) {
      return failed(`still isolated: ${messageOf(error)}`);
    }
    this.#of.store.state.isolation = { state: "off", sinceMs: this.#of.now() };
    return { ok: true, code: "done", message: `released${dropped}` };
  }

  setReachable(reachable: boolean): void {
    this.#reachable = reachable;
    const record = this.#record;
    if (record.countdown && record.state === "isolated") record.countdown = reached(record.countdown, reachable, this.#of.clock);
  }

  /** Looks at the dead-man timer, and once a minute at the kernel's table. Never rejects. */
  async tick(): Promise<void> {
    const record = this.#record;
    const uptimeMs = this.#of.clock.uptimeMs();
    try {
      if (record.state === "isolated" && record.countdown) {
        record.countdown = count(record.countdown, this.#of.clock);
        if (record.countdown.leftMs === 0) return await this.#releaseByDeadMan();
        if (record.countdown.counted && uptimeMs - this.#savedMs >= SAVE_EVERY_MS) this.#save();
      }
      if (uptimeMs - this.#checkedMs < CHECK_EVERY_MS) return;
      this.#checkedMs = uptimeMs;
      if (record.state === "isolated") await this.#repair();
      else if (this.#leftover) await this.#remove();
      else this.#trouble = undefined;
    } catch (error) {
      this.#trouble = messageOf(error);
    }
  }

  view(): IsolationState {
    const { state, sinceMs, reason, countdown } = this.#record;
    const since = sinceMs === undefined ? {} : { sinceMs };
    if (state === "isolated" && this.#inPlace === undefined) {
      return { state: "off", ...since, reason: `ordered, but not in force: ${this.#trouble ?? "not applied yet"}`.slice(0, 256) };
    }
    const left = state === "isolated" && countdown ? { deadManLeftMs: Math.round(count(countdown, this.#of.clock).leftMs) } : {};
    return { state, ...since, ...left, ...(reason ? { reason } : {}) };
  }

  addresses(): readonly string[] {
    return this.#record.state === "isolated" ? (this.#record.pinned?.addresses ?? []) : [];
  }

  /** What could not be done at the last try; undefined when nothing. */
  trouble(): string | undefined {
    return this.#trouble;
  }

  get #record() {
    return this.#of.store.state.isolation;
  }

  async #addresses(resumed: boolean): Promise<readonly string[]> {
    const { broker, resolve, nft } = this.#of;
    const { state, pinned } = this.#record;
    // Names cannot be looked up from inside: DNS is cut.
    if (state === "isolated" && pinned?.host === nameOf(broker)) return pinned.addresses;
    if (resumed) {
      const listing = await nft.list(FAMILY, TABLE);
      const found = listing ? addressesOf(listing) : [];
      if (found.length > 0) return found;
    }
    return addressesForAny(broker.hosts, resolve);
  }

  async #apply(addresses: readonly string[]): Promise<void> {
    const { nft, broker } = this.#of;
    const commands = isolationCommands({ addresses, mqttPort: broker.mqttPort, httpsPort: broker.httpsPort });
    await nft.apply(commands).catch((error) => {
      // A transaction that was refused has changed nothing; one that timed out may have.
      throw error instanceof NftError && error.code !== "timeout" ? new NotApplied(error.message, { cause: error }) : error;
    });
    const listing = await nft.list(FAMILY, TABLE);
    if (!listing) throw new Error("the isolation table is gone right after it was applied: something on this device removes it");
    this.#inPlace = fingerprint(listing);
    this.#trouble = undefined;
    this.#leftover = false;
  }

  async #remove(): Promise<void> {
    await this.#of.nft.apply(releaseCommands);
    this.#inPlace = undefined;
    this.#trouble = undefined;
    this.#leftover = false;
  }

  async #droppedOut(): Promise<number> {
    const listing = await this.#of.nft.list(FAMILY, TABLE);
    return listing ? droppedBy(listing).output : 0;
  }

  async #rollBack(again: boolean, addresses: readonly string[], reason: string): Promise<Outcome> {
    try {
      if (again) await this.#apply(addresses);
      else await this.#remove();
    } catch (error) {
      this.#leftover = !again;
      this.#trouble = messageOf(error);
      return failed(`${reason}; and the rules could not be rolled back, which is tried again: ${messageOf(error)}`);
    }
    return { ok: false, code: "rolled-back", message: `${again ? "isolated as before" : "not isolated"}: ${reason}`.slice(0, 512) };
  }

  async #releaseByDeadMan(): Promise<void> {
    await this.#remove();
    const hours = Math.round((this.#record.countdown?.totalMs ?? 0) / 36_000) / 100;
    const message = `released by the dead-man timer: the broker was unreachable for ${hours} h`;
    this.#of.store.state.isolation = { state: "released-by-dead-man", sinceMs: this.#of.now(), reason: message };
    this.#save();
    this.#report("release", true, "released-by-dead-man", message);
  }

  async #reapply(): Promise<void> {
    const { broker, resolve } = this.#of;
    const { pinned } = this.#record;
    let addresses = pinned?.addresses ?? [];
    if (pinned && pinned.host !== nameOf(broker)) addresses = [...(await addressesForAny(broker.hosts, resolve).catch(() => addresses))];
    if (addresses.length === 0) return this.#adopt();
    this.#record.pinned = { host: nameOf(broker), addresses: [...addresses] };
    await this.#apply(addresses);
  }

  /** No state, or a damaged one, but a table in the kernel: better isolated without knowing why than free without being told. */
  async #adoptOrSweep(): Promise<void> {
    const { store, nft } = this.#of;
    const listing = await nft.list(FAMILY, TABLE);
    if (!listing) return;
    if (!store.fresh && store.damaged === undefined) return this.#remove();
    await this.#adopt();
    this.#report(
      "isolate",
      true,
      "adopted",
      "isolation rules were in place without a record of who ordered them: they stay until a release",
    );
  }

  async #adopt(): Promise<void> {
    const { store, nft, clock, broker, now } = this.#of;
    const listing = await nft.list(FAMILY, TABLE);
    if (!listing) throw new Error("nothing says how the broker is reached, so no rules can be made");
    this.#inPlace = fingerprint(listing);
    const addresses = addressesOf(listing);
    store.state.isolation = {
      state: "isolated",
      sinceMs: now(),
      reason: "found in place without a record",
      countdown: reached(whole(DEAD_MAN_DEFAULT_MS), this.#reachable, clock),
      ...(addresses.length > 0 ? { pinned: { host: nameOf(broker), addresses } } : {}),
    };
    this.#save();
  }

  /** Somebody on the device may have changed or removed the table, or the first try failed. */
  async #repair(): Promise<void> {
    const listing = await this.#of.nft.list(FAMILY, TABLE);
    if (listing && this.#inPlace === fingerprint(listing)) return;
    const known = this.#inPlace !== undefined;
    this.#inPlace = undefined;
    await this.#reapply();
    const message = known
      ? "the isolation rules had been changed or removed on the device, and are applied again"
      : "isolation is in force again";
    this.#report("isolate", true, known ? "repaired" : "restored", message);
  }

  #save(): void {
    this.#savedMs = this.#of.clock.uptimeMs();
    this.#of.store.save();
  }

  #report(act: Notice["act"], ok: boolean, code: string, message: string): void {
    this.#trouble = ok ? undefined : message;
    this.#of.notice({ act, ok, code, message: message.slice(0, 512) });
  }
}

/** What the addresses were found for, to see when that has changed. */
const nameOf = ({ hosts }: Broker) => hosts.join(" ").slice(0, 255);
const failed = (message: string): Outcome => ({ ok: false, code: "failed", message: message.slice(0, 512) });
const messageOf = (error: unknown) => (error instanceof Error ? error.message : String(error));
