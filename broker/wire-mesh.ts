// What the mesh may ask of the rest.

import { clientId } from "@picket/protocol/names";
import { topic, topics } from "@picket/protocol/topics";
import type { MeshPort } from "./api/deps.ts";
import { hourOf, raise } from "./broker-alert.ts";
import type { Changes } from "./changes.ts";
import type { Given } from "./given.ts";
import { ask } from "./mesh/ask.ts";
import { dial } from "./mesh/dial.ts";
import { type Signer, Verifier } from "./mesh/envelope.ts";
import { accept, invite, type JoinPorts, join } from "./mesh/join.ts";
import { Mesh } from "./mesh/mesh.ts";
import { PacketLimit } from "./mqtt/packet-limit.ts";
import { spkiHash } from "./pki/certificates.ts";
import { identifySite, readSiteCa } from "./pki/peer.ts";
import { Refused } from "./refused.ts";
import { readMeshIdentity } from "./site.ts";
import { listIocs, verdictsOf } from "./store/mesh-received.ts";

const DAY_MS = 86_400_000;
/** Items kept for peers, of each source. */
const KEEP_ITEMS = 20_000;

type Parts = {
  readonly changes: Changes;
  readonly report: (error: unknown) => void;
  /** Where this site is reached by that host, which its certificate names. */
  readonly addresses: (host: string) => { https: string; mqtt: string };
  readonly cut: (peer: string, why: string) => void;
  /** Peers' CAs may have changed. */
  readonly trustChanged: () => void;
};

/** The mesh, and what the API may do with it. */
export async function startMesh(given: Given, parts: Parts): Promise<{ mesh: Mesh; port: MeshPort }> {
  const { config, site, store, nowMs, log, authority } = given;
  const { changes, report } = parts;
  const files = await readMeshIdentity(site, authority, nowMs());
  const base64 = files.certificate.replaceAll(/-----[^-]+-----|\s/g, "");
  const signer: Signer = { key: await importKey(files.key), certificate: base64 };
  const ca = { pem: site.ca.certificate, hash: spkiHash(authority.certificate) };
  const mesh = new Mesh({
    ...{ site: site.site, ca, store, nowMs, log, report, random: Math.random },
    identity: () => ({ ...files, signer }),
    judge: { site: site.site, store, nowMs, verifier: new Verifier(identifySite), readCa: readSiteCa },
    limits: { keepMs: config.mesh.keepDays * DAY_MS, keepBytes: config.mesh.keepBytes, keepItems: KEEP_ITEMS },
    dial: (options) => {
      const limit = new PacketLimit(topics.meshDown.maxBytes + 1024, "site");
      const named = (name: "meshUp" | "meshDown") => topic(name, options.target.site, site.site);
      return dial({
        ...options,
        credentials: { cert: files.certificate, key: files.key },
        clientId: clientId("site", site.site),
        publish: named("meshUp"),
        subscribe: named("meshDown"),
        inspect: (chunk) => limit.take(chunk),
      });
    },
    alerted: (id, created) => changes.tell({ kind: "alert", id, created }),
    trustChanged: parts.trustChanged,
    cut: parts.cut,
    misbehaved: async (peer, why) => {
      const { id, change } = await store.commitSoon(() => raiseMisbehaved(given, peer, why));
      changes.tell({ kind: "alert", id, created: change === "created" });
    },
  });
  const joining: JoinPorts = {
    ...{ site: site.site, ca, store, nowMs, ask, identifySite, readCa: readSiteCa },
    identity: () => ({ certificate: files.certificate, signer }),
    addresses: (host) => {
      if (host !== undefined && !site.hosts.includes(host))
        throw new Refused("invalid", `"${host}" is not in this site's certificate`, `Use one of ${site.hosts.join(", ")}`);
      return parts.addresses(host ?? config.publicHost ?? site.hosts[0]!);
    },
  };
  return { mesh, port: portOf(given, mesh, joining) };
}

function portOf({ store, nowMs }: Given, mesh: Mesh, joining: JoinPorts): MeshPort {
  const changed = <T>(result: T): T => {
    mesh.peersChanged();
    return result;
  };
  return {
    status: () => mesh.status(),
    invite: (of) => invite(joining, of),
    join: async (of) => changed(await join(joining, of)),
    accept: async (request) => changed(await accept(joining, request)),
    change: (name, change) => mesh.change(name, change),
    remove: (name) => mesh.remove(name),
    shareIoc: (ioc) => mesh.shareIoc(ioc),
    iocs: (limit) => listIocs(store, nowMs(), limit),
    verdicts: (hash) => verdictsOf(store, hash),
  };
}

function raiseMisbehaved({ site, store, nowMs }: Given, peer: string, why: string) {
  const summary = (count: number) =>
    `The mesh peer ${peer} was limited to one item a second, ${count} times within an hour, for what it sent. The last: ${why.slice(0, 300)}`;
  const device = `mesh-${peer}`.slice(0, 63).replace(/-+$/, "");
  return raise(store, { site: site.site, rule: "meshPeer", device, anchorMs: hourOf(nowMs()), nowMs: nowMs(), add: 1, summary });
}

function importKey(pem: string): Promise<CryptoKey> {
  const der = Buffer.from(pem.replaceAll(/-----[^-]+-----|\s/g, ""), "base64");
  return crypto.subtle.importKey("pkcs8", der, { name: "ECDSA", namedCurve: "P-256" }, false, ["sign"]);
}
