import type { MeshPeer } from "@picket/protocol/mesh";
import type { Store } from "../store/database.ts";
import { type Peer, refusedOf } from "../store/mesh.ts";
import { countAfter } from "../store/mesh-log.ts";

/** What operators see of a peer. Everything is read from the store, but what only the running broker knows. */
export function peerStatus(store: Store, peer: Peer, live: { connected: boolean; lastError: string | undefined }): MeshPeer {
  const { site, leftMs, address, joinedMs, lastSeenMs, itemsPerS, limitedBy, sent, received, lost, muted } = peer;
  return {
    ...{ site, joinedMs, sent, received, lost, muted, ca: peer.caHash, by: peer.operator },
    state: leftMs !== null ? "left" : live.connected ? "connected" : "away",
    lag: countAfter(store, site, peer.sentPos),
    refused: refusedOf(store, site),
    ...(address === null ? {} : { address }),
    ...(lastSeenMs === null ? {} : { lastSeenMs }),
    ...(itemsPerS === null ? {} : { itemsPerS }),
    ...(limitedBy === null ? {} : { limitedBy }),
    ...(live.lastError === undefined || live.connected ? {} : { lastError: live.lastError.slice(0, 300) }),
  };
}
