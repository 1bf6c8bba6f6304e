// How two sites come to trust each other: one invites, the other joins with that invitation. Each pins the other's CA; nothing is trusted on first use.

import { timingSafeEqual } from "node:crypto";
import { formatInvite, JOIN_TYP, type MeshJoinRequest, MeshJoinResponse, parseInvite } from "@picket/protocol/mesh";
import { routes } from "@picket/protocol/rest";
import { tryParse } from "@picket/protocol/try-parse";
import { CompactSign, compactVerify } from "jose";
import { Refused } from "../refused.ts";
import type { Store } from "../store/database.ts";
import { addInvite, addPeer, getPeer, listPeers, takeInvite } from "../store/mesh.ts";
import type { Ask } from "./ask.ts";
import type { IdentifySite, Signer } from "./envelope.ts";
import type { SiteCa } from "./judge.ts";

export const MAX_PEERS = 32;

export type JoinPorts = {
  readonly site: string;
  readonly ca: { readonly pem: string; readonly hash: string };
  readonly store: Store;
  readonly nowMs: () => number;
  /** Our certificate (PEM) and key of role `site`. */
  readonly identity: () => { readonly certificate: string; readonly signer: Signer };
  readonly readCa: (pem: string, site: string, nowMs: number) => Promise<SiteCa>;
  readonly identifySite: IdentifySite;
  /** Where peers reach us by the given one of our certificate's hosts. Throws `Refused` when it is none of them. */
  readonly addresses: (host: string | undefined) => { https: string; mqtt: string };
  readonly ask: Ask;
};

const hashOf = (secret: string): string => new Bun.CryptoHasher("sha256").update(secret).digest("base64url");

/** Makes an invitation for one site, on disk when it returns. The text is shown once: only a hash of its secret is kept. */
export function invite(
  ports: JoinPorts,
  of: { ttlS: number; host?: string | undefined; operator: string },
): { token: string; expiresMs: number } {
  const secret = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url");
  const createdMs = ports.nowMs();
  const expiresMs = createdMs + of.ttlS * 1000;
  const addresses = ports.addresses(of.host);
  ports.store.commitNow(() => addInvite(ports.store, { hash: hashOf(secret), operator: of.operator, createdMs, expiresMs }));
  return { token: formatInvite({ v: 1, site: ports.site, ...addresses, ca: ports.ca.hash, secret }), expiresMs };
}

/** The inviting side: a site shows its invitation, its CA, and that it holds a key its CA certified. Throws `Refused`. */
export async function accept(ports: JoinPorts, request: MeshJoinRequest): Promise<{ site: string; ca: string }> {
  const nowMs = ports.nowMs();
  const ca = await readPeerCa(ports, request.ca, request.site);
  await checkProof(ports, request, ca);
  ports.store.commitNow(() => {
    const invitation = takeInvite(ports.store, hashOf(request.secret), nowMs);
    if (!invitation)
      throw new Refused(
        "forbidden",
        "This invitation is not known here, was used, or has expired",
        "Make a new one with `picket mesh invite`",
      );
    checkNew(ports, ca);
    addPeer(ports.store, { site: ca.site, ca: ca.pem, caHash: ca.hash, address: null, operator: invitation.operator, joinedMs: nowMs });
  });
  return { site: ports.site, ca: ports.ca.pem };
}

/** The joining side: reads the invitation, checks the other's CA by the hash in it, and presents this site. Throws `Refused`. */
export async function join(ports: JoinPorts, of: { token: string; operator: string }): Promise<{ site: string }> {
  const to = readToken(of.token);
  if (to.site === ports.site)
    throw new Refused(
      "conflict",
      `This invitation is for another site than "${ports.site}" itself`,
      "Give it to the site that should join",
    );
  const pem = await theirCa(ports, to);
  const ca = await readPeerCa(ports, pem, to.site);
  if (!equal(ca.hash, to.ca))
    throw new Refused(
      "forbidden",
      `${to.https} is not the site of this invitation: its CA is another one`,
      "Somebody may be in between. Ask for a new invitation",
    );
  checkNew(ports, ca);
  const body = await request(ports, to);
  const answer = await ports.ask({ method: "POST", address: to.https, path: routes.meshPeer.path, body, ca: ca.pem, site: to.site });
  if (answer.status !== 200)
    throw new Refused("conflict", `The site ${to.site} refused: ${answer.problem}`, "Ask for a new invitation when this one is used up");
  const accepted = tryParse(MeshJoinResponse, answer.json);
  if (!accepted.success || accepted.data.site !== to.site)
    throw new Refused("conflict", `The site ${to.site} gave an answer that cannot be read`);
  ports.store.commitNow(() => {
    checkNew(ports, ca);
    addPeer(ports.store, { site: ca.site, ca: ca.pem, caHash: ca.hash, address: to.mqtt, operator: of.operator, joinedMs: ports.nowMs() });
  });
  return { site: ca.site };
}

function readToken(token: string) {
  try {
    return parseInvite(token);
  } catch (error) {
    throw new Refused("invalid", (error as Error).message, "Make one with `picket mesh invite` at the other site");
  }
}

/** Fetched from whoever answers: its hash says whether it is the right one. */
async function theirCa(ports: JoinPorts, to: { https: string }): Promise<string> {
  const answer = await ports.ask({ method: "GET", address: to.https, path: routes.ca.path, ca: undefined });
  const found = tryParse(routes.ca.response, answer.json);
  if (!found.success)
    throw new Refused(
      "unavailable",
      `${to.https} did not show its CA: it answered ${answer.status}`,
      "Is a Picket broker listening there?",
    );
  return found.data.ca;
}

async function readPeerCa(ports: JoinPorts, pem: string, site: string): Promise<SiteCa> {
  if (site === ports.site)
    throw new Refused("conflict", `Both sites are called "${site}"`, "Names must differ in a mesh: one of them must be made anew");
  return ports.readCa(pem, site, ports.nowMs()).catch((error: unknown) => {
    throw new Refused("invalid", `This CA cannot be used: ${error instanceof Error ? error.message : "malformed"}`);
  });
}

/** A known name with another CA is another site, or somebody who would like to be it. */
function checkNew({ store, ca: own }: JoinPorts, ca: SiteCa): void {
  const before = getPeer(store, ca.site);
  if (before && before.caHash !== ca.hash)
    throw new Refused(
      "conflict",
      `A site "${ca.site}" with another CA is a peer already`,
      `If it was made anew, remove the old one first: picket mesh remove ${ca.site}`,
    );
  if (ca.hash === own.hash || listPeers(store).some((peer) => peer.site !== ca.site && peer.caHash === ca.hash))
    throw new Refused("conflict", `The CA of "${ca.site}" is known under another name`);
  if (!before && listPeers(store).length >= MAX_PEERS)
    throw new Refused("too-many", `This site has ${MAX_PEERS} peers already`, "Remove one, or join through another site");
}

async function request(ports: JoinPorts, to: { site: string; secret: string }): Promise<MeshJoinRequest> {
  const { certificate, signer } = ports.identity();
  const claims = JSON.stringify({ site: to.site, secretSha256: hashOf(to.secret) });
  const proof = await new CompactSign(Buffer.from(claims)).setProtectedHeader({ alg: "ES256", typ: JOIN_TYP }).sign(signer.key);
  return { secret: to.secret, site: ports.site, ca: ports.ca.pem, certificate, proof };
}

async function checkProof(ports: JoinPorts, of: MeshJoinRequest, ca: SiteCa): Promise<void> {
  try {
    const der = new Uint8Array(Buffer.from(of.certificate.replaceAll(/-----[^-]+-----|\s/g, ""), "base64"));
    const { key } = await ports.identifySite(ca, der);
    const { payload, protectedHeader } = await compactVerify(of.proof, key, { algorithms: ["ES256"] });
    const claims = JSON.parse(Buffer.from(payload).toString()) as { site?: unknown; secretSha256?: unknown };
    if (protectedHeader.typ === JOIN_TYP && claims.site === ports.site && claims.secretSha256 === hashOf(of.secret)) return;
  } catch {
    // Said below: the same answer whatever is wrong with it.
  }
  throw new Refused("forbidden", `"${of.site}" did not prove that it holds a key of its CA`);
}

const equal = (a: string, b: string) => a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b));
