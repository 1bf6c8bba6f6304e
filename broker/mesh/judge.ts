// What becomes of an item a peer sent. Everything it says of itself is checked: where it was, who signed it, whether it is news.
import type { Detection } from "@picket/protocol/alert";
import { identityOf, type MeshItem, type MeshRefusal, type SentItem } from "@picket/protocol/mesh";
import { MAX_AGE_MS, MAX_HOPS, MAX_ITEM_BYTES } from "@picket/protocol/mesh-limits";
import type { Store } from "../store/database.ts";
import { addIntroduced, getPeer, introducedCas } from "../store/mesh.ts";
import { appendItem, type ItemName, knownItem, shortenWay } from "../store/mesh-log.ts";
import { type From, putIoc, putMeshAlert, putVerdict } from "../store/mesh-received.ts";
import { readItem, type Verifier } from "./envelope.ts";

/** Sites one peer may introduce. */
const MAX_INTRODUCED = 64;

export type SiteCa = { readonly site: string; readonly pem: string; readonly hash: string };

export type JudgePorts = {
  /** Our own site. */
  readonly site: string;
  readonly store: Store;
  readonly verifier: Verifier;
  /** Reads the CA of a site; rejects with what is wrong. */
  readonly readCa: (pem: string, site: string, nowMs: number) => Promise<SiteCa>;
  readonly nowMs: () => number;
};

type Checked = { readonly sent: SentItem; readonly item: MeshItem; readonly name: ItemName; readonly ca: SiteCa };
/** News, something known already, why it was refused, or what a muted peer keeps for us itself. */
export type Judged =
  | { readonly fresh: Checked }
  | { readonly again: Checked }
  | { readonly refused: MeshRefusal }
  | { readonly muted: string };

/** Checks one item that came from the peer `via`. What is known already is not verified anew. */
export async function judge(ports: JudgePorts, via: string, sent: SentItem): Promise<Judged> {
  const refused = (why: MeshRefusal): Judged => ({ refused: why });
  const { site, store, nowMs } = ports;
  if (sent.jws.length > MAX_ITEM_BYTES) return refused("oversize");
  if (sent.hops.at(-1) !== via) return refused("malformed");
  if (sent.hops.length > MAX_HOPS) return refused("loop");
  const read = readItem(sent.jws);
  if (!read || read.item.origin !== sent.hops[0]) return refused("malformed");
  const { item } = read;
  const forged = refused(sent.hops.length > 2 ? "disputed" : "forged");
  if (item.kind === "alert" && item.body.site !== item.origin) return refused("forged");
  if (item.origin === site) return forged;
  if (sent.hops.includes(site)) return refused("loop");
  if (item.iat * 1000 < nowMs() - MAX_AGE_MS) return refused("stale");
  // It waits at the muted site itself, and comes from there when that is muted no more.
  if (item.origin !== via && getPeer(store, item.origin)?.muted) return { muted: item.origin };
  const cas = await casOf(ports, item);
  if (cas.length === 0) return item.kind === "site" ? forged : refused("unknown-origin");
  const named = (ca: SiteCa): Checked => ({
    sent,
    item,
    ca,
    name: { origin: item.origin, caHash: ca.hash, kind: item.kind, ...identityOf(item) },
  });
  for (const ca of cas) {
    const known = knownItem(store, named(ca).name);
    if (known?.content === sent.jws) return { again: named(ca) };
  }
  for (const ca of cas) {
    if (!(await ports.verifier.verify(sent.jws, read.certificate, ca, nowMs()))) continue;
    const checked = named(ca);
    const known = knownItem(store, checked.name);
    return known && known.revision >= checked.name.revision ? { again: checked } : { fresh: checked };
  }
  return forged;
}

/** The CAs that may speak for the item's origin: the pinned one of a peer and no other; else those that peers introduced. */
async function casOf({ store, readCa, nowMs }: JudgePorts, item: MeshItem): Promise<SiteCa[]> {
  const peer = getPeer(store, item.origin);
  if (item.kind !== "site")
    return peer
      ? [{ site: peer.site, pem: peer.ca, hash: peer.caHash }]
      : introducedCas(store, item.origin).map((ca) => ({ site: item.origin, ...ca }));
  return readCa(item.body.ca, item.origin, nowMs()).then(
    // A peer that announces another CA than its own would make us hand on what others must refuse.
    (ca) => (peer && peer.caHash !== ca.hash ? [] : [ca]),
    () => [],
  );
}

export type Taken = {
  readonly news: number;
  readonly alerts: readonly { readonly id: string; readonly created: boolean }[];
  readonly refused: readonly MeshRefusal[];
};

/** Stores what was judged; call inside a transaction. What two peers bring at once is news only once. */
export function settle(ports: JudgePorts, via: string, judged: readonly Judged[]): Taken {
  const alerts: { id: string; created: boolean }[] = [];
  const refused: MeshRefusal[] = [];
  let news = 0;
  for (const one of judged) {
    if ("muted" in one) continue;
    if ("refused" in one) {
      refused.push(one.refused);
      continue;
    }
    const checked = "fresh" in one ? one.fresh : one.again;
    const known = knownItem(ports.store, checked.name);
    if (checked.item.kind === "site" && !introduce(ports, via, checked)) refused.push("too-many");
    else if (known && known.revision >= checked.name.revision) {
      if (known.source === via) refused.push("replayed");
      meetAgain(ports, via, checked, known);
    } else {
      news++;
      const alert = take(ports, via, checked);
      if (alert) alerts.push(alert);
    }
  }
  return { news, alerts, refused };
}

/** Whoever hands on an introduction vouches for it. What a peer says of itself needs nobody's word. */
function introduce({ store, nowMs }: JudgePorts, via: string, { item, ca }: Checked): boolean {
  if (item.origin === via) return true;
  return addIntroduced(store, { site: ca.site, ca: ca.hash, pem: ca.pem, via, introducedMs: nowMs() }, MAX_INTRODUCED);
}

function meetAgain({ store }: JudgePorts, via: string, { sent, name }: Checked, known: { content: string; hops: readonly string[] }): void {
  // Only the very same signed text: that one was verified.
  if (known.content === sent.jws && sent.hops.length < known.hops.length - 1)
    shortenWay(store, name, { hops: [...sent.hops, known.hops.at(-1)!], source: via });
}

function take(
  { store, site, nowMs }: JudgePorts,
  via: string,
  { sent, item, name }: Checked,
): { id: string; created: boolean } | undefined {
  const receivedMs = nowMs();
  appendItem(store, { ...name, hops: [...sent.hops, site], source: via, state: "ready", content: sent.jws, storedMs: receivedMs });
  const from: From = { origin: item.origin, caHash: name.caHash, via, receivedMs };
  switch (item.kind) {
    case "site":
      return undefined;
    case "alert":
      return told(putMeshAlert(store, from, item.body satisfies Detection));
    case "verdict":
      putVerdict(store, from, item.body);
      return undefined;
    case "ioc":
      putIoc(store, from, item.body);
      return undefined;
  }
}

const told = (put: { shown: string; created: boolean } | undefined) => put && { id: put.shown, created: put.created };
