// What happens on each topic, and who may be connected at all.
import { inflatedBytesOf } from "@picket/protocol/batch";
import type { TopicName } from "@picket/protocol/topics";
import type { Changes } from "./changes.ts";
import type { Presence } from "./devices/presence.ts";
import type { Feed } from "./feed/feed.ts";
import type { Given } from "./given.ts";
import type { Mesh } from "./mesh/mesh.ts";
import type { MqttHandlers } from "./mqtt/server.ts";
import type { Outbox } from "./outbox.ts";
import type { CertifiedPeer, Link } from "./peer.ts";
import type { Lane } from "./quota/quotas.ts";
import type { Samples } from "./samples/samples.ts";
import type { Store } from "./store/database.ts";
import { getCertificate, getDevice } from "./store/devices.ts";
import type { Intake } from "./wire-ingest.ts";

type Parts = {
  readonly intake: Intake;
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
  { intake, presence, outbox, feed, samples, mesh, changes, report }: Parts,
): MqttHandlers {
  const turn = (link: Link, lane: Lane, bytes: number) => intake.quotas.pass({ link, device: link.peer.name, lane, bytes });
  const published = async (link: Link, name: TopicName, payload: Uint8Array): Promise<void> => {
    const { ingest, disk } = intake;
    const device = link.peer.name;
    const orReject = (problem: string | undefined) => (problem === undefined ? undefined : ingest.reject(device, name, payload, problem));
    switch (name) {
      case "events":
        await turn(link, name, weightOf(payload));
        return ingest.events(device, payload);
      case "status":
        await turn(link, name, payload.length);
        return orReject(await presence.status(device, payload));
      case "result":
        await turn(link, name, payload.length);
        return orReject(await outbox.result(device, payload));
      case "sample":
        await turn(link, name, payload.length);
        // Files would take what is left of the disk from alerts and commands.
        await disk.room();
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
    mayConnect: (peer) => intake.quotas.mayConnect(peer),
    refuse: (peer) => (peer.peerCa === undefined ? refuse(store, peer, nowMs()) : mesh.refuse(peer)),
    connected: (link, previous) => {
      if (link.peer.role === "device") presence.connected(link.peer.name, link.address);
      if (previous && link.peer.role === "device")
        presence.takeover(link.peer.name, { oldAddress: previous.address, newAddress: link.address }).catch(report);
    },
    published,
    // The Will of a connection that was taken over says nothing about the one that lives.
    vanished: async (link, payload) => {
      if (link.superseded) return;
      const problem = await presence.status(link.peer.name, payload, link.ended);
      if (problem !== undefined) await intake.ingest.reject(link.peer.name, "status", payload, problem);
    },
    subscribed: (link, name) => {
      outbox.subscribed(link, name);
      samples.subscribed(link, name);
      if (name === "meshDown") mesh.subscribed(link);
      if (name === "data") changes.tell({ kind: "site" });
    },
    closed: (link) => {
      intake.quotas.abandon(link, link.peer.name);
      outbox.closed(link);
      feed.closed(link);
      samples.closed(link);
      mesh.closed(link);
      if (link.peer.role === "detector") changes.tell({ kind: "site" });
    },
    overran: (peer, why) => {
      if (peer.peerCa !== undefined) mesh.overran(peer.name, why).catch(report);
      else if (peer.role === "device") intake.ingest.reject(peer.name, "", new Uint8Array(), why).catch(report);
    },
  };
}

/** A batch that unfolds into much more than telemetry does costs its device what it costs the site. */
const USUAL_RATIO = 16;
const weightOf = (payload: Uint8Array) => Math.max(payload.length, (inflatedBytesOf(payload) ?? 0) / USUAL_RATIO);

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
