// The mesh of this site: one connection to each peer, whoever dialled it, and what comes and goes over it.
import type { Ioc, MeshPeer, MeshStatus, SentItem } from "@picket/protocol/mesh";
import type { CertifiedPeer, Link, Log } from "../peer.ts";
import { Refused } from "../refused.ts";
import type { Store } from "../store/database.ts";
import { changePeer, getPeer, listIntroduced, listPeers, noteRefused, noteSent, type Peer, removePeer } from "../store/mesh.ts";
import { itemsAfter, knownItem, type LogLimits, logSize, meshSelf, shareItem, trimMeshLog } from "../store/mesh-log.ts";
import { trimReceived } from "../store/mesh-received.ts";
import { Allowance, limitedRate, STANDARD_RATE } from "./allowance.ts";
import type { DialOptions } from "./dial.ts";
import { keepDialling } from "./dialler.ts";
import type { Signer } from "./envelope.ts";
import { takeIn } from "./intake.ts";
import type { JudgePorts, SiteCa } from "./judge.ts";
import { Session, Violation } from "./session.ts";
import { signAll } from "./sign.ts";
import { peerStatus } from "./status.ts";
import { Strikes, VIOLATION } from "./strikes.ts";

/** Items a second of a peer that Picket itself limited. */
const AUTO_LIMIT = 1;

export type MeshPorts = {
  readonly site: string;
  readonly ca: { readonly pem: string; readonly hash: string };
  readonly store: Store;
  readonly nowMs: () => number;
  readonly log: Log;
  readonly report: (error: unknown) => void;
  /** Our certificate (PEM), its key (PEM) and what signs items. */
  readonly identity: () => { readonly certificate: string; readonly key: string; readonly signer: Signer };
  readonly judge: JudgePorts;
  readonly limits: LogLimits;
  /** Opens a connection; `dial` is this. */
  readonly dial: (options: Pick<DialOptions, "target" | "onMessage" | "signal">) => ReturnType<typeof import("./dial.ts").dial>;
  readonly random: () => number;
  /** An alert of another site was stored. */
  readonly alerted: (id: string, created: boolean) => void;
  /** The list of CAs that may connect has changed. */
  readonly trustChanged: () => void;
  /** Cuts whatever connection a peer that dialled has. */
  readonly cut: (peer: string, why: string) => void;
  /** Picket limited a peer because of what it sends. */
  readonly misbehaved: (peer: string, why: string) => Promise<void>;
};

type Live = { readonly session: Session; readonly sinceMs: number; readonly close: (why: string) => void };

export class Mesh implements AsyncDisposable {
  readonly #ports: MeshPorts;
  readonly #live = new Map<string, Live>();
  readonly #links = new Map<Link, Live>();
  readonly #allowances = new Map<string, Allowance>();
  readonly #strikes = new Map<string, Strikes>();
  readonly #diallers = new Map<string, { stop: AbortController; done: Promise<void> }>();
  readonly #errors = new Map<string, string>();
  #signing: Promise<void> | undefined;
  #wokenMeanwhile = false;
  #over = false;

  constructor(ports: MeshPorts) {
    this.#ports = ports;
    this.peersChanged();
    this.wake();
  }

  /** The CAs of peers, each good for the role `site` under its own name only. */
  cas(): SiteCa[] {
    return listPeers(this.#ports.store).flatMap((peer) =>
      peer.leftMs === null ? [{ site: peer.site, pem: peer.ca, hash: peer.caHash }] : [],
    );
  }

  /** Why a site that dialled may not be connected, or undefined. */
  refuse(certified: CertifiedPeer): string | undefined {
    const peer = getPeer(this.#ports.store, certified.name);
    if (!peer || peer.caHash !== certified.peerCa) return "this site is no peer";
    if (peer.leftMs !== null) return "this site has left the mesh: it needs a new invitation";
    if (certified.notAfterMs <= this.#ports.nowMs()) return "this certificate has expired";
    const barredMs = this.#strikes.get(peer.site)?.barredUntilMs ?? 0;
    if (barredMs > this.#ports.nowMs()) return "this site broke the protocol a moment ago: it has to wait";
    return undefined;
  }

  /** A site that dialled listens now. */
  subscribed(link: Link): void {
    if (this.#links.has(link)) return;
    const { name } = link.peer;
    const close = (why: string) => link.close(why);
    // Removed since it connected.
    if (!getPeer(this.#ports.store, name)) {
      close("this site is no peer");
      return;
    }
    this.#links.set(link, this.#begin(name, { send: (payload) => link.send("meshDown", payload), close }));
  }

  /** What a site that dialled says. A rejection cuts its connection. */
  async received(link: Link, payload: Uint8Array): Promise<void> {
    const live = this.#links.get(link);
    if (!live) throw new Violation("spoke before it listened");
    await this.#hear(link.peer.name, live, payload);
  }

  closed(link: Link): void {
    const live = this.#links.get(link);
    this.#links.delete(link);
    if (live) this.#end(link.peer.name, live, "it closed the connection");
  }

  /** The connection of a site was cut for what it sent before anything of it was read. */
  async overran(name: string, why: string): Promise<void> {
    await this.#ports.store.commitSoon(() => noteRefused(this.#ports.store, name, "oversize", 1));
    this.#strike(name, VIOLATION, why);
  }

  /** There may be items to sign and send. Never throws; cheap when there are none. */
  wake(): void {
    if (this.#signing || this.#over) {
      this.#wokenMeanwhile = true;
      return;
    }
    this.#wokenMeanwhile = false;
    this.#signing = signAll(this.#ports.store, this.#ports.identity().signer)
      .catch(this.#ports.report)
      .then(() => {
        this.#signing = undefined;
        for (const { session } of this.#live.values()) session.wake();
        if (this.#wokenMeanwhile) this.wake();
      });
  }

  /** Peers were added, changed or removed: dials whom it should, and introduces this site to them. */
  peersChanged(): void {
    const { store, site, ca, nowMs } = this.#ports;
    const peers = listPeers(store);
    if (peers.length > 0 && !knownItem(store, { origin: site, caHash: "", kind: "site", id: "site" })) {
      const iat = Math.floor(nowMs() / 1000);
      store.commitNow(() => shareItem(store, { v: 1, origin: site, iat, kind: "site", body: { ca: ca.pem } }, nowMs()));
      this.wake();
    }
    this.#ports.trustChanged();
    const wanted = new Map(peers.flatMap((peer) => (peer.address !== null && peer.leftMs === null ? [[peer.site, peer] as const] : [])));
    for (const [name, { stop }] of this.#diallers) {
      if (wanted.has(name)) continue;
      stop.abort();
      this.#diallers.delete(name);
    }
    for (const peer of wanted.values()) if (!this.#diallers.has(peer.site)) this.#dial(peer);
  }

  /** Operators of this site mute or limit a peer. Takes effect at once, by a new connection. Undefined when there is no such peer. */
  change(name: string, change: { muted?: boolean | undefined; itemsPerS?: number | null | undefined }): MeshPeer | undefined {
    const { store } = this.#ports;
    if (!getPeer(store, name)) return undefined;
    const { muted, itemsPerS } = change;
    store.commitNow(() =>
      changePeer(store, name, {
        ...(muted === undefined ? {} : { muted }),
        ...(itemsPerS === undefined ? {} : { itemsPerS, limitedBy: itemsPerS === null ? null : "operator" }),
      }),
    );
    if (itemsPerS !== undefined) {
      this.#allowances.delete(name);
      this.#strikes.delete(name);
    }
    this.#live.get(name)?.close("what is taken from it was changed");
    return this.#statusOf(getPeer(store, name)!);
  }

  /** Tells a peer goodbye, closes its connection and forgets its CA; on disk when it resolves. False when there is no such peer. */
  async remove(name: string): Promise<boolean> {
    const { store } = this.#ports;
    const live = this.#live.get(name);
    if (live) await Promise.race([live.session.bye(), Bun.sleep(500)]);
    const found = store.commitNow(() => removePeer(store, name));
    live?.close("the peer was removed");
    this.#ports.cut(name, "the peer was removed");
    for (const map of [this.#allowances, this.#strikes, this.#errors]) map.delete(name);
    this.peersChanged();
    return found;
  }

  status(): MeshStatus {
    const { store, site } = this.#ports;
    return { site, log: logSize(store), peers: listPeers(store).map((peer) => this.#statusOf(peer)), sites: listIntroduced(store) };
  }

  /** Shares an indicator, on disk when it resolves. Throws `Refused` without a peer. */
  async shareIoc(ioc: Ioc): Promise<void> {
    const { store, site, nowMs } = this.#ports;
    const shared = await store.commitSoon(() => {
      if (listPeers(store).length === 0) return false;
      shareItem(store, { v: 1, origin: site, iat: Math.floor(nowMs() / 1000), kind: "ioc", body: ioc }, nowMs());
      return true;
    });
    if (!shared) throw new Refused("conflict", "This site has no peer to share with", "Join a mesh first: picket mesh join");
    this.wake();
  }

  /** Lets old items go, and looks for what nobody said was there. */
  async trim(): Promise<void> {
    this.wake();
    const { store, limits, nowMs } = this.#ports;
    await store.commitSoon(() => trimMeshLog(store, limits, nowMs()));
    await store.commitSoon(() => trimReceived(store, nowMs()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#over = true;
    const diallers = [...this.#diallers.values()];
    for (const { stop } of diallers) stop.abort();
    for (const live of this.#live.values()) live.close("the broker stops");
    await Promise.all([this.#signing, ...diallers.map(({ done }) => done)]);
  }

  #begin(name: string, transport: { send: (payload: string) => Promise<boolean>; close: (why: string) => void }): Live {
    const { store, nowMs, report, log } = this.#ports;
    const peer = getPeer(store, name);
    if (!peer) throw new Error(`${name} is no peer`);
    const allowance = peer.muted ? undefined : this.#allowanceOf(peer);
    const session = new Session({
      ...transport,
      nowMs,
      report,
      allowance,
      itemsAfter: (pos, limit) => itemsAfter(store, name, pos, limit),
      state: () => this.#stateOf(name),
      acknowledged: (pos, items) => store.commitSoon(() => noteSent(store, name, pos, items)),
      take: (items, of) => this.#take(name, items, of),
      left: () => this.#leftBy(name),
    });
    const live: Live = { session, sinceMs: nowMs(), close: transport.close };
    this.#live.get(name)?.close("it connected again");
    this.#live.set(name, live);
    this.#errors.delete(name);
    store.commitSoon(() => changePeer(store, name, { lastSeenMs: nowMs() })).catch(report);
    log("info", "mesh peer connected", { peer: name });
    session.begin();
    return live;
  }

  #stateOf(name: string) {
    const { store } = this.#ports;
    const { log } = meshSelf(store);
    const { sentPos, receivedLog, receivedPos } = getPeer(store, name)!;
    return { log, sentPos, received: receivedLog === null ? undefined : { log: receivedLog, pos: receivedPos } };
  }

  #end(name: string, live: Live, why: string): void {
    live.session[Symbol.dispose]();
    if (this.#live.get(name) !== live) return;
    this.#live.delete(name);
    this.#errors.set(name, why);
    const { store, nowMs, report, log } = this.#ports;
    if (!this.#over) store.commitSoon(() => changePeer(store, name, { lastSeenMs: nowMs() })).catch(report);
    log("info", "mesh peer disconnected", { peer: name, why });
  }

  async #hear(name: string, live: Live, payload: Uint8Array): Promise<void> {
    try {
      await live.session.receive(payload);
    } catch (error) {
      if (error instanceof Violation) {
        await this.#ports.store.commitSoon(() => noteRefused(this.#ports.store, name, "malformed", 1));
        this.#strike(name, VIOLATION, error.message);
      } else this.#ports.report(error);
      throw error;
    }
  }

  async #take(name: string, items: readonly SentItem[], of: { log: string; pos: number }): Promise<void> {
    const taken = await takeIn(this.#ports.judge, name, items, of);
    if (!taken) return;
    for (const { id, created } of taken.alerts) this.#ports.alerted(id, created);
    if (taken.refused.length > 0) this.#strike(name, taken.refused, taken.refused.join(", "));
    if (taken.news > 0) this.wake();
  }

  #strike(name: string, what: Parameters<Strikes["add"]>[0], why: string): void {
    const { store, nowMs, log, report, misbehaved } = this.#ports;
    const strikes = this.#strikes.get(name) ?? new Strikes();
    this.#strikes.set(name, strikes);
    if (!strikes.add(what, nowMs())) return;
    log("warn", "mesh peer limited", { peer: name, why: why.slice(0, 200) });
    const limited = store.commitSoon(() => {
      // What an operator decided stands, if it is stricter.
      const peer = getPeer(store, name);
      if (peer && (peer.itemsPerS ?? Number.POSITIVE_INFINITY) > AUTO_LIMIT)
        changePeer(store, name, { itemsPerS: AUTO_LIMIT, limitedBy: "picket" });
    });
    limited
      .then(() => {
        this.#allowances.delete(name);
        this.#live.get(name)?.close("limited for what it sends");
        return misbehaved(name, why);
      })
      .catch(report);
  }

  #leftBy(name: string): void {
    const { store, nowMs, log } = this.#ports;
    log("info", "mesh peer left", { peer: name });
    store.commitNow(() => changePeer(store, name, { leftMs: nowMs() }));
    this.#live.get(name)?.close("the peer left");
    this.peersChanged();
  }

  #allowanceOf(peer: Peer): Allowance {
    const known = this.#allowances.get(peer.site);
    if (known) return known;
    const rate = peer.itemsPerS === null ? STANDARD_RATE : limitedRate(peer.itemsPerS);
    const made = new Allowance(rate, this.#ports.nowMs());
    this.#allowances.set(peer.site, made);
    return made;
  }

  #dial(peer: Peer): void {
    const { dial, random, log } = this.#ports;
    const stop = new AbortController();
    const { site, address, ca } = peer;
    const done = keepDialling({
      signal: stop.signal,
      random,
      failed: (why) => {
        if (this.#errors.get(site) !== why) log("warn", "mesh peer cannot be reached", { peer: site, address, why });
        this.#errors.set(site, why);
      },
      attempt: async (signal) => {
        // The peer's hello may come with the answer to our subscription.
        const begun = Promise.withResolvers<Live>();
        const connection = await dial({
          target: { site, address: address!, ca },
          signal,
          onMessage: async (payload) => this.#hear(site, await begun.promise, payload),
        });
        const live = this.#begin(site, connection);
        begun.resolve(live);
        const why = await connection.closed;
        this.#end(site, live, why);
        return why;
      },
    });
    this.#diallers.set(site, { stop, done });
  }

  #statusOf(peer: Peer): MeshPeer {
    return peerStatus(this.#ports.store, peer, { connected: this.#live.has(peer.site), lastError: this.#errors.get(peer.site) });
  }
}
