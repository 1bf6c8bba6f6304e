// How a machine becomes a device of this site and stays one: token, CSR, certificate; renewal; revocation.
import type { Anchor } from "@picket/protocol/command";
import {
  type EnrolRequest,
  type EnrolResponse,
  formatToken,
  RENEW_TYP,
  type RenewRequest,
  type RenewResponse,
} from "@picket/protocol/enroll";
import { compactVerify } from "jose";
import type { CertifiedPeer } from "../peer.ts";
import { Refused } from "../refused.ts";
import type { Store } from "../store/database.ts";
import { addCertificate, addDevice, getCertificate, getDevice, revokeDevice } from "../store/devices.ts";
import { addToken, forgetTokens, type TokenUse, takeToken } from "../store/tokens.ts";

/** After this an expired certificate cannot renew any more. */
export const RENEW_WITHIN_MS = 180 * 86_400_000;
const FORGET_TOKENS_MS = 30 * 86_400_000;

/** The site CA's part. `check` and `issue` reject with a text that can be shown when the CSR is refused. */
export type AuthorityPort = {
  readonly pem: string;
  /** Hash of its SubjectPublicKeyInfo, for tokens. */
  readonly hash: string;
  check(csr: string): Promise<unknown>;
  issue(of: { csr: string; device: string; nowMs: number }): Promise<{ certificate: string; serial: string; notAfterMs: number }>;
  /** Reads a PEM certificate this CA signed, whatever its dates. Rejects when it did not. */
  identify(pem: string): Promise<{ peer: CertifiedPeer; key: CryptoKey }>;
};

export type EnrolPorts = {
  readonly site: string;
  readonly anchor: Anchor;
  readonly anchorHash: string;
  readonly authority: AuthorityPort;
  readonly store: Store;
  readonly nowMs: () => number;
  readonly randomName: () => string;
  readonly currentKeys: () => string | undefined;
  /** Whether this device may have another certificate now: each costs a signature and a row, and whoever stole its key could ask for any number. */
  readonly mayRenew: (device: string) => boolean;
  /** Where devices reach the site, as host:port. Asked when a token is made: the ports are known only then. */
  readonly addresses: () => { https: string; mqtt: string; also?: string[] };
  /** Cuts the live connection of a device. */
  readonly disconnect: (device: string, why: string) => void;
  /** After the registry changed. */
  readonly changed: (device: string) => void;
};

export type Enrolment = {
  /** Makes a token for `uses` devices, on disk when it returns. The text is shown once: only a hash of its secret is kept. */
  createToken(of: { ttlS: number; uses: number }): { token: string; expiresMs: number };
  /** Throws `Refused`. A token that was refused for another reason than itself keeps its use. */
  enroll(request: EnrolRequest): Promise<EnrolResponse>;
  /** Throws `Refused`. */
  renew(request: RenewRequest): Promise<RenewResponse>;
  /** Revokes a device's certificates, on disk when it returns, and cuts its connection. False when there is no such device. */
  revoke(device: string): boolean;
};

export function createEnrolment(ports: EnrolPorts): Enrolment {
  return {
    createToken: (of) => createToken(ports, of),
    enroll: (request) => enroll(ports, request),
    renew: (request) => renew(ports, request),
    revoke: (device) => {
      const found = ports.store.commitNow(() => revokeDevice(ports.store, device, ports.nowMs()));
      ports.disconnect(device, "the device was revoked");
      if (found) ports.changed(device);
      return found;
    },
  };
}

function createToken(ports: EnrolPorts, of: { ttlS: number; uses: number }): { token: string; expiresMs: number } {
  const secret = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("base64url");
  const createdMs = ports.nowMs();
  const expiresMs = createdMs + of.ttlS * 1000;
  ports.store.commitNow(() => {
    forgetTokens(ports.store, createdMs - FORGET_TOKENS_MS);
    addToken(ports.store, { secret, createdMs, expiresMs, uses: of.uses });
  });
  const { site, anchorHash: anchor, authority } = ports;
  return { token: formatToken({ v: 1, site, ...ports.addresses(), ca: authority.hash, anchor, secret }), expiresMs };
}

const tokenRefusals: Record<Exclude<TokenUse, "ok">, string> = {
  unknown: "This enrolment token is not known here",
  expired: "This enrolment token has expired",
  "used-up": "This enrolment token has been used already",
};

async function enroll(ports: EnrolPorts, request: EnrolRequest): Promise<EnrolResponse> {
  const nowMs = ports.nowMs();
  const { device, keys } = await claim(ports, request, nowMs);
  // A crash here leaves a device without certificate and one use gone: a new token enrols it again under another name.
  const issued = await issue(ports, request.csr, device, nowMs);
  await ports.store.commitSoon(() => remember(ports, device, issued, nowMs));
  ports.changed(device);
  const answer = { device, site: ports.site, certificate: issued.certificate, ca: ports.authority.pem, anchor: ports.anchor };
  return keys === undefined ? answer : { ...answer, keys };
}

/** Takes one use of the token and a free name, together or not at all. */
async function claim(ports: EnrolPorts, request: EnrolRequest, nowMs: number): Promise<{ device: string; keys: string | undefined }> {
  // A CSR that cannot be certified must not cost the token.
  await ports.authority.check(request.csr).catch(refuseCsr);
  const device = await ports.store.commitSoon(() => {
    const use = takeToken(ports.store, request.secret, nowMs);
    if (use !== "ok") throw new Refused("forbidden", tokenRefusals[use], "Make a new one with `picket token create`");
    const name = wishes(request.name, ports.randomName).find((one) => addDevice(ports.store, one, nowMs));
    if (name === undefined) throw new Refused("unavailable", "No free device name was found", "Try again with another name");
    return name;
  });
  return { device, keys: ports.currentKeys() };
}

/** Names to try: the wish, the wish with a number, then some of our own. */
function* wishes(name: string | undefined, randomName: () => string): Generator<string> {
  if (name !== undefined) yield name;
  if (name !== undefined) for (let n = 2; n <= 5; n++) yield `${name.slice(0, 60)}-${n}`;
  for (let n = 0; n < 8; n++) yield randomName();
}

async function renew(ports: EnrolPorts, request: RenewRequest): Promise<RenewResponse> {
  const nowMs = ports.nowMs();
  const { peer, key } = await ports.authority.identify(request.certificate).catch(() => {
    throw new Refused("forbidden", "This certificate was not issued by this site", "Enrol the device with a new token");
  });
  const row = getCertificate(ports.store, peer.serial);
  const device = peer.role === "device" && row?.name === peer.name ? getDevice(ports.store, peer.name) : undefined;
  if (!row || !device)
    throw new Refused("forbidden", "This certificate belongs to no device of this site", "Enrol the device with a new token");
  if (row.revokedMs !== null || device.trust === "revoked")
    throw new Refused("forbidden", `${device.id} was revoked`, "Only a new token can bring it back, under another name");
  if (peer.notAfterMs + RENEW_WITHIN_MS < nowMs)
    throw new Refused("forbidden", `The certificate of ${device.id} expired more than 180 days ago`, "Enrol the device with a new token");
  await checkProof(request, key);
  if (!ports.mayRenew(device.id))
    throw new Refused("too-many", `${device.id} renews more often than it may`, "Wait an hour; if it does not stop, revoke the device");
  const issued = await issue(ports, request.csr, device.id, nowMs);
  await ports.store.commitSoon(() => {
    // Revocation may have come while the CA was signing: a certificate of a revoked device must never be stored as good.
    if (getDevice(ports.store, device.id)?.trust !== "enrolled") throw new Refused("forbidden", `${device.id} was revoked`);
    remember(ports, device.id, issued, nowMs);
  });
  ports.changed(device.id);
  return { certificate: issued.certificate, ca: ports.authority.pem };
}

/**
 * The CSR in this request was made by whoever holds the old key. RFC 7515, ES256. How old the proof is does not matter: a board
 * without a clock cannot tell, and who repeats it gets a certificate for a key he does not have.
 */
async function checkProof(request: RenewRequest, key: CryptoKey): Promise<void> {
  const digest = new Bun.CryptoHasher("sha256").update(request.csr).digest("base64url");
  try {
    const { payload, protectedHeader } = await compactVerify(request.proof, key, { algorithms: ["ES256"] });
    const claims = JSON.parse(Buffer.from(payload).toString()) as { csrSha256?: unknown };
    if (protectedHeader.typ === RENEW_TYP && claims.csrSha256 === digest) return;
  } catch {
    // Said below: the same answer whatever is wrong with the proof.
  }
  throw new Refused("forbidden", "The proof does not match this CSR and the old certificate's key");
}

const issue = (ports: EnrolPorts, csr: string, device: string, nowMs: number) =>
  ports.authority.issue({ csr, device, nowMs }).catch(refuseCsr);

function refuseCsr(error: unknown): never {
  throw new Refused("invalid", error instanceof Error ? error.message : String(error));
}

const remember = (ports: EnrolPorts, name: string, issued: { serial: string; notAfterMs: number }, issuedMs: number): void =>
  addCertificate(ports.store, { serial: issued.serial, role: "device", name, issuedMs, notAfterMs: issued.notAfterMs });
