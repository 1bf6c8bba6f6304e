// The only part of the agent that changes its host, and only when an operator's signature says so.

import { type CommandClaims, Pack } from "@picket/protocol/command";
import type { Capability } from "@picket/protocol/status";
import { tryParse } from "@picket/protocol/try-parse";
import { openNft } from "node-nftables";
import { checkIsolation } from "./check.ts";
import { Isolation, type Notice } from "./isolation.ts";
import { Orders } from "./orders.ts";
import { canConnect, resolveBySystem } from "./reach.ts";
import type { Response, ResponseOptions, Scanned } from "./response.ts";
import { endConnections } from "./sockets.ts";
import { openState, type Store } from "./state.ts";
import { bootIdOfKernel, trustedTime } from "./time.ts";

export { checkIsolation } from "./check.ts";
export type { Broker, Response, ResponseOptions } from "./response.ts";
export { resetState } from "./state.ts";
export { bootTimeMs } from "./time.ts";

const TICK_MS = 5_000;
/** More than a well-behaved broker ever has on the way; beyond it commands are dropped, and come again at the next connect. */
const MAX_QUEUE = 64;
/** Trusted time is put on disk this often, for a board that boots without a clock. */
const SAVE_TIME_EVERY_MS = 3_600_000;
/** A host that cannot isolate itself is looked at again: somebody may have installed nftables. */
const CHECK_AGAIN_EVERY_MS = 60_000;

/**
 * Opens the state, restores isolation when it was ordered, finishes a command that a crash interrupted, and only then resolves: start the uplink
 * after it. What an operator can put right from afar is reported, not thrown; throws when `stateDir` cannot be read.
 */
export async function createResponse(options: ResponseOptions): Promise<Response> {
  const { site, device, anchor, now, uptimeMs, log } = options;
  const store = openState(options.stateDir, { site, device, anchor });
  const time = trustedTime({ saved: store.state.time, now, uptimeMs });
  const nft = options.nft ?? openNft();
  const isolation = new Isolation({
    store: { ...store, save: () => orders.save() },
    nft,
    broker: options.broker,
    clock: { boot: options.bootId ?? bootIdOfKernel(), uptimeMs },
    now,
    resolve: options.resolve ?? resolveBySystem,
    reach: options.reach ?? canConnect,
    endConnections: options.endConnections ?? endConnections,
    notice,
  });
  const act = async (claims: CommandClaims, resumed: boolean) => {
    switch (claims.act) {
      case "isolate":
        return isolation.isolate(claims.args, resumed);
      case "release":
        return isolation.release();
      case "scan":
        return scanOutcome(await scanned(options.scan, claims.args, resumed));
    }
  };
  const orders = new Orders({ site, device, anchor, store, time, packs: options.packs, now, uptimeMs, act, emit, log });

  function emit({
    jti = "",
    act,
    ok,
    code,
    message,
  }: {
    jti?: string | undefined;
    act: string;
    ok: boolean;
    code: string;
    message: string;
  }): void {
    options.emit({ type: "response.result", timeMs: now(), body: { jti, act, ok, code, message } });
  }
  function notice(of: Notice): void {
    log(of.ok ? "warn" : "error", of.message);
    emit(of);
  }

  if (store.damaged !== undefined) {
    notice({
      act: "isolate",
      ok: false,
      code: "damaged",
      message: `${store.damaged}: nothing is obeyed until this device is enrolled again`,
    });
  }
  await orders.restoreKeys(options.keys);
  await isolation.restore(store.state.running?.claims.act);
  await orders.resume();
  let able = await checkIsolation(nft);

  const queue = oneAtATime((error) => log("error", `response: ${error instanceof Error ? error.message : String(error)}`));
  /** Beyond the limit the rest is dropped, counted and told. */
  async function take(work: () => Promise<void>): Promise<void> {
    if (queue.waiting() < MAX_QUEUE) return queue.add(work);
    orders.refuse({ code: "malformed", act: "unknown", message: `more than ${MAX_QUEUE} commands at once: the rest is dropped` });
  }
  const saveTime = atMost(SAVE_TIME_EVERY_MS, uptimeMs);
  const checkAgain = atMost(CHECK_AGAIN_EVERY_MS, uptimeMs);
  const stop = every(options.tickMs ?? TICK_MS, () =>
    queue.add(async () => {
      await isolation.tick();
      orders.tick();
      if (saveTime()) orders.saveSoon();
      if (able.level !== "live" && checkAgain()) able = await checkIsolation(nft);
    }),
  );

  return {
    onCommand: (jws) => take(() => orders.obey(jws)),
    onPack: (pack) =>
      take(async () => {
        const known = tryParse(Pack, pack);
        if (!known.success) orders.refuse({ code: "malformed", act: "unknown", message: "not a pack this device knows" });
        else if (known.data.kind === "time") time.tell(known.data.timeMs);
        else if (known.data.kind === "signed") await orders.takePack(known.data.jws);
        else await orders.takeKeys(known.data.jws);
      }),
    tell: (answer) => (answer.ok ? orders.tell(answer) : orders.refuse(answer)),
    setReachable: (reachable) => isolation.setReachable(reachable),
    isolation: () => isolation.view(),
    brokerAddresses: () => isolation.addresses(),
    keysVersion: () => orders.keys?.version ?? 0,
    capability: () => judge(able, store, isolation.trouble(), orders.keys !== undefined),
    pendingResults: () => orders.pending(),
    resultDelivered: (result) => orders.delivered(result),
    onResult: (callback) => orders.onResult(callback),
    async [Symbol.asyncDispose]() {
      stop();
      await queue.add(async () => {});
      // Isolation stays: it belongs to the operator, not to this process.
      orders.saveSoon();
    },
  };
}

async function scanned(
  scan: ResponseOptions["scan"],
  args: Parameters<NonNullable<ResponseOptions["scan"]>>[0],
  resumed: boolean,
): Promise<Scanned> {
  // Never a second time by itself: what ended the agent may have been this.
  if (resumed) return { ok: false, message: "the agent ended while it read the memory: order it again" };
  return scan ? scan(args) : { ok: false, message: "this agent reads no memory" };
}

const scanOutcome = (of: Scanned) => ({ ...of, code: of.ok ? ("done" as const) : ("failed" as const) });

function judge(able: Capability, store: Store, trouble: string | undefined, hasKeys: boolean): Capability {
  const { name } = able;
  if (store.damaged !== undefined)
    return { name, level: "off", why: `${store.damaged}: nothing is obeyed`, todo: "enrol this device again" };
  if (able.level !== "live") return able;
  if (trouble !== undefined) return { name, level: "degraded", why: trouble.slice(0, 512), todo: "see the agent's log" };
  if (!hasKeys)
    return {
      name,
      level: "degraded",
      why: "no key list has come yet, so nobody may order anything",
      todo: "publish one: picket operator list",
    };
  return able;
}

function oneAtATime(failed: (error: unknown) => void) {
  let tail: Promise<void> = Promise.resolve();
  let waiting = 0;
  return {
    waiting: () => waiting,
    add(work: () => Promise<void>): Promise<void> {
      waiting++;
      tail = tail
        .then(work)
        .catch(failed)
        .finally(() => waiting--);
      return tail;
    },
  };
}

/** Says yes once per interval. */
function atMost(intervalMs: number, uptimeMs: () => number): () => boolean {
  let lastMs = uptimeMs();
  return () => {
    if (uptimeMs() - lastMs < intervalMs) return false;
    lastMs = uptimeMs();
    return true;
  };
}

/** Calls `work` again and again, never a second time before the first has ended. Returns how to stop. */
function every(intervalMs: number, work: () => Promise<void>): () => void {
  let busy = false;
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    void work().finally(() => {
      busy = false;
    });
  }, intervalMs);
  return () => clearInterval(timer);
}

/** Whether this host can be isolated, for `picket-agent check`. Changes nothing. */
export const checkThisHost = (): Promise<Capability> => checkIsolation(openNft());
