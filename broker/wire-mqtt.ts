// What happens on each topic, and who may be connected at all.
import type { TopicName } from "@picket/protocol/topics";
import { hourOf, raise } from "./broker-alert.ts";
import type { Changes } from "./changes.ts";
import type { Presence } from "./devices/presence.ts";
import type { Feed } from "./feed/feed.ts";
import type { Given } from "./given.ts";
import type { Ingest } from "./ingest/ingest.ts";
import type { Mesh } from "./mesh/mesh.ts";
import type { MqttHandlers } from "./mqtt/server.ts";
import type { Outbox } from "./outbox.ts";
import type { CertifiedPeer, Link } from "./peer.ts";
import type { Samples } from "./samples/samples.ts";
import type { Store } from "./store/database.ts";
import { getCertificate, getDevice } from "./store/devices.ts";

type Parts = {
  readonly ingest: Ingest;
  readonly presence: Presence;
  readonly outbox: Outbox;
  readonly feed: Feed;
  readonly samples: Samples;
  readonly mesh: Mesh;
  readonly changes: Changes;
  readonly report: (error: unknown) => void;
};

export function mqttHandlers(
  { store, nowMs }: Given,
  { ingest, presence, outbox, feed, samples, mesh, changes, report }: Parts,
): MqttHandlers {
  const published = async (link: Link, name: TopicName, payload: Uint8Array): Promise<void> => {
    const device = link.peer.name;
    const orReject = (problem: string | undefined) => (problem === undefined ? undefined : ingest.reject(device, name, payload, problem));
    switch (name) {
      case "events":
        return ingest.events(device, payload);
      case "status":
        return orReject(await presence.status(device, payload));
      case "result":
        return orReject(await outbox.result(device, payload));
      case "sample":
        return orReject(await samples.take(link, payload));
      case "want":
        return feed.want(link, payload);
      case "commit":
        return feed.commit(link, payload);
      case "meshUp":
        return mesh.received(link, payload);
      case "cmd":
      case "pack":
      case "data":
      case "sampleWant":
      case "meshDown":
        throw new Error(`only the broker publishes ${name}`);
    }
  };
  return {
    refuse: (peer) => (peer.peerCa === undefined ? refuse(store, peer, nowMs()) : mesh.refuse(peer)),
    connected: (link, previous) => {
      if (previous && link.peer.role === "device")
        presence.takeover(link.peer.name, { oldAddress: previous.address, newAddress: link.address }).catch(report);
    },
    published,
    // The Will of a connection that was taken over says nothing about the one that lives.
    vanished: async (link, payload) => {
      if (!link.superseded) await published(link, "status", payload);
    },
    subscribed: (link, name) => {
      outbox.subscribed(link, name);
      samples.subscribed(link, name);
      if (name === "meshDown") mesh.subscribed(link);
      if (name === "data") changes.tell({ kind: "site" });
    },
    closed: (link) => {
      outbox.closed(link);
      feed.closed(link);
      samples.closed(link);
      mesh.closed(link);
      if (link.peer.role === "detector") changes.tell({ kind: "site" });
    },
    overran: (peer, why) => {
      if (peer.peerCa !== undefined) mesh.overran(peer.name, why).catch(report);
    },
  };
}

/** Why this certificate, though signed by the site CA, lets nobody in. */
function refuse(store: Store, peer: CertifiedPeer, nowMs: number): string | undefined {
  if (peer.role === "site") return "this site's own certificate is not for clients";
  const row = getCertificate(store, peer.serial);
  if (!row || row.role !== peer.role || row.name !== peer.name) return "this certificate is not in the site's register";
  if (row.revokedMs !== null) return "this certificate was revoked";
  if (Math.min(row.notAfterMs, peer.notAfterMs) <= nowMs) return "this certificate has expired: renew it";
  if (peer.role === "device" && getDevice(store, peer.name)?.trust !== "enrolled") return "this device was revoked";
  return undefined;
}

/** Raises the alert about a dead letter, inside its transaction; the result tells it afterwards. */
export function deadLetterAlert({ site, store, nowMs }: Given, changes: Changes) {
  return (device: string, reason: string): (() => void) => {
    const summary = (count: number) => `${count} messages of ${device} within an hour could not be read. The last: ${reason.slice(0, 300)}`;
    const of = { site: site.site, rule: "deadLetter", device, anchorMs: hourOf(nowMs()), nowMs: nowMs(), add: 1, summary } as const;
    const { id, change } = raise(store, of);
    return () => changes.tell({ kind: "alert", id, created: change === "created" });
  };
}
