import { anchorHash } from "@picket/protocol/command";
import { parseToken, RENEW_TYP } from "@picket/protocol/enroll";
import { CompactSign } from "jose";
import { beforeEach, expect, test } from "vitest";
import { type Authority, createAuthority, createIdentity, issueDevice, keyOfCsr, readAuthority, spkiHash } from "../pki/certificates.ts";
import { identify, identifyPem } from "../pki/peer.ts";
import { X509Certificate } from "../pki/x509.ts";
import type { Store } from "../store/database.ts";
import { getCertificate, getDevice, listDevices } from "../store/devices.ts";
import { openStore } from "../store/schema.ts";
import { anchor as makeAnchor, makeCsr, SITE } from "../testing/site.ts";
import { createEnrolment, type Enrolment, RENEW_WITHIN_MS } from "./enroll.ts";

const DAY_MS = 86_400_000;
let store: Store;
let ca: Authority;
let enrolment: Enrolment;
let clock: { nowMs: number };
let cut: string[];
let renewals: number;
const anchor = makeAnchor();

beforeEach(async () => {
  clock = { nowMs: Date.now() };
  store = openStore(":memory:");
  ca = await readAuthority(await createAuthority(SITE, clock.nowMs));
  cut = [];
  renewals = 100;
  let names = 0;
  enrolment = createEnrolment({
    site: SITE,
    anchor,
    anchorHash: anchorHash(anchor),
    authority: {
      pem: ca.pem,
      hash: spkiHash(ca.certificate),
      check: keyOfCsr,
      issue: (of) => issueDevice(ca, of),
      identify: (pem) => identifyPem(ca, pem),
    },
    store,
    nowMs: () => clock.nowMs,
    randomName: () => `device-${++names}`,
    currentKeys: () => "keys.jws",
    mayRenew: () => renewals-- > 0,
    addresses: () => ({ https: "site.example:8443", mqtt: "site.example:8883" }),
    disconnect: (device) => cut.push(device),
    changed: () => {},
  });
});

const secretOf = (of: { ttlS?: number; uses?: number } = {}) =>
  parseToken(enrolment.createToken({ ttlS: 3600, uses: 1, ...of }).token).secret;
const derOf = (pem: string) => new Uint8Array(new X509Certificate(pem).rawData);

test("a token carries all a device needs to trust nothing on first use, and the database holds no secret", () => {
  const { token, expiresMs } = enrolment.createToken({ ttlS: 60, uses: 1 });
  const read = parseToken(token);
  expect(read).toMatchObject({
    site: SITE,
    https: "site.example:8443",
    mqtt: "site.example:8883",
    ca: spkiHash(ca.certificate),
    anchor: anchorHash(anchor),
  });
  expect(expiresMs).toBe(clock.nowMs + 60_000);
  expect(JSON.stringify(store.db.query("SELECT * FROM tokens").all())).not.toContain(read.secret);
});

test("enrolment answers with a certificate for the CSR's key, registered under its serial", async () => {
  const { csr, keys } = await makeCsr();
  const answer = await enrolment.enroll({ secret: secretOf(), csr, name: "gw-1" });
  expect(answer).toMatchObject({ device: "gw-1", site: SITE, ca: ca.pem, anchor, keys: "keys.jws" });
  const peer = await identify(ca, derOf(answer.certificate));
  expect(peer).toMatchObject({ role: "device", name: "gw-1" });
  expect(getCertificate(store, peer.serial)).toMatchObject({ role: "device", name: "gw-1", revokedMs: null, notAfterMs: peer.notAfterMs });
  expect(Math.round((peer.notAfterMs - clock.nowMs) / DAY_MS)).toBe(30);
  const spki = Buffer.from(await crypto.subtle.exportKey("spki", keys.publicKey));
  expect(Buffer.from(new X509Certificate(answer.certificate).publicKey.rawData).equals(spki)).toBe(true);
});

test.each(["CN=root,OU=site", "CN=gw-1,OU=detector", "CN=other,OU=device,O=x", "OU=site,OU=device,CN=a,CN=b"])(
  "a CSR that asks for %s gets its key certified and nothing else",
  async (subject) => {
    const { csr } = await makeCsr(subject);
    const { certificate } = await enrolment.enroll({ secret: secretOf(), csr, name: "gw-1" });
    expect(new X509Certificate(certificate).subject).toBe("CN=gw-1, OU=device");
  },
);

test("the certificate holds on a board whose clock is years behind, cannot sign others, and is good for clients only", async () => {
  const { csr } = await makeCsr();
  const { certificate } = await enrolment.enroll({ secret: secretOf(), csr });
  const read = new X509Certificate(certificate);
  expect(read.notBefore.getTime()).toBeLessThan(clock.nowMs - 9 * 365 * DAY_MS);
  expect(read.extensions.map((extension) => JSON.stringify(extension)).length).toBeGreaterThan(3);
  expect(read.serialNumber).toMatch(/^[4-7][0-9a-f]{31}$/);
});

test("a token is used once, or as often as it says, also when everybody comes at once", async () => {
  const secret = secretOf({ uses: 3 });
  const csrs = await Promise.all(Array.from({ length: 8 }, () => makeCsr()));
  const results = await Promise.allSettled(csrs.map(({ csr }) => enrolment.enroll({ secret, csr })));
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(3);
  expect(listDevices(store)).toHaveLength(3);
  await expect(enrolment.enroll({ secret, csr: csrs[0]!.csr })).rejects.toMatchObject({
    kind: "forbidden",
    message: expect.stringContaining("used already"),
  });
});

test("unknown and expired tokens are refused with the reason", async () => {
  const { csr } = await makeCsr();
  const secret = secretOf({ ttlS: 60 });
  await expect(enrolment.enroll({ secret: "x".repeat(43), csr })).rejects.toThrow(/not known/);
  clock.nowMs += 60_000;
  await expect(enrolment.enroll({ secret, csr })).rejects.toThrow(/expired/);
  expect(listDevices(store)).toEqual([]);
});

test("a taken name gets a number; a wish never takes over a device", async () => {
  const names: string[] = [];
  for (let n = 0; n < 3; n++) names.push((await enrolment.enroll({ secret: secretOf(), csr: (await makeCsr()).csr, name: "gw-1" })).device);
  names.push((await enrolment.enroll({ secret: secretOf(), csr: (await makeCsr()).csr })).device);
  expect(names).toEqual(["gw-1", "gw-1-2", "gw-1-3", "device-1"]);
});

test("a CSR that is damaged, not signed with its key, or no P-256 key is refused and costs no use of the token", async () => {
  const secret = secretOf();
  const { csr } = await makeCsr();
  const lines = csr.split("\n");
  const body = Buffer.from(lines.slice(1, -1).join(""), "base64");
  body[body.length - 3]! ^= 0xff;
  const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${body.toString("base64")}\n-----END CERTIFICATE REQUEST-----`;
  for (const bad of ["", "hello", forged, csr.replace("REQUEST", "")])
    await expect(enrolment.enroll({ secret, csr: bad }), bad).rejects.toMatchObject({ kind: "invalid" });
  expect((await enrolment.enroll({ secret, csr, name: "gw-1" })).device).toBe("gw-1");
});

async function enrolled(name: string) {
  const { csr, keys } = await makeCsr();
  return { ...(await enrolment.enroll({ secret: secretOf(), csr, name })), keys };
}

async function proofFor(csr: string, key: CryptoKey, changes: { csrSha256?: string; iat?: number; typ?: string } = {}): Promise<string> {
  const csrSha256 = changes.csrSha256 ?? new Bun.CryptoHasher("sha256").update(csr).digest("base64url");
  const body = Buffer.from(JSON.stringify({ csrSha256, iat: changes.iat ?? Math.floor(clock.nowMs / 1000) }));
  return new CompactSign(body).setProtectedHeader({ alg: "ES256", typ: changes.typ ?? RENEW_TYP }).sign(key);
}

test.each([0, 25, 31, 30 + 179])(
  "renewal %d days after enrolment keeps the device and gives it a new key and a new serial",
  async (days) => {
    const old = await enrolled("gw-1");
    clock.nowMs += days * DAY_MS;
    const { csr } = await makeCsr("CN=gw-2,OU=site");
    const answer = await enrolment.renew({ certificate: old.certificate, csr, proof: await proofFor(csr, old.keys.privateKey) });
    const [before, after] = await Promise.all([identify(ca, derOf(old.certificate)), identify(ca, derOf(answer.certificate))]);
    expect(after).toMatchObject({ role: "device", name: "gw-1" });
    expect(after.serial).not.toBe(before.serial);
    expect(getCertificate(store, after.serial)).toMatchObject({ name: "gw-1" });
    expect(getDevice(store, "gw-1")?.certificateExpiresMs).toBe(after.notAfterMs);
  },
);

test("a device that renews again and again is refused, and no row more is written", async () => {
  const old = await enrolled("gw-1");
  const { csr } = await makeCsr();
  const request = { certificate: old.certificate, csr, proof: await proofFor(csr, old.keys.privateKey) };
  renewals = 1;
  await enrolment.renew(request);
  const rows = () => store.db.query<{ n: number }, []>("SELECT COUNT(*) AS n FROM certificates").get()!.n;
  const before = rows();
  await expect(enrolment.renew(request)).rejects.toMatchObject({ kind: "too-many" });
  expect(rows()).toBe(before);
});

test("renewal is refused: too late, revoked, another's key, another CSR, a proof made for something else", async () => {
  const old = await enrolled("gw-1");
  const other = await enrolled("gw-2");
  const { csr } = await makeCsr();
  const { csr: another } = await makeCsr();
  const renew = (proof: string, certificate = old.certificate) => enrolment.renew({ certificate, csr, proof });
  const key = old.keys.privateKey;
  await expect(renew(await proofFor(csr, other.keys.privateKey))).rejects.toThrow(/proof/);
  await expect(renew(await proofFor(another, key))).rejects.toThrow(/proof/);
  await expect(renew(await proofFor(csr, key, { typ: "jwt" }))).rejects.toThrow(/proof/);
  await expect(renew("not.a.jws")).rejects.toThrow(/proof/);
  await expect(renew(await proofFor(csr, key), "garbage")).rejects.toThrow(/not issued by this site/);
  const foreign = await createIdentity(await readAuthority(await createAuthority(SITE, clock.nowMs)), {
    name: "gw-1",
    role: "device",
    nowMs: clock.nowMs,
  });
  await expect(renew(await proofFor(csr, key), foreign.certificate)).rejects.toThrow(/not issued by this site/);
  const detector = await createIdentity(ca, { name: SITE, role: "detector", nowMs: clock.nowMs });
  await expect(renew(await proofFor(csr, key), detector.certificate)).rejects.toThrow(/no device/);
  const end = new X509Certificate(old.certificate).notAfter.getTime();
  clock.nowMs = end + RENEW_WITHIN_MS + 1;
  await expect(renew(await proofFor(csr, key))).rejects.toThrow(/180 days/);
  clock.nowMs = end;
  expect(enrolment.revoke("gw-1")).toBe(true);
  await expect(renew(await proofFor(csr, key))).rejects.toThrow(/revoked/);
});

test("a board whose clock stands in 1970 can renew", async () => {
  const old = await enrolled("gw-1");
  const { csr } = await makeCsr();
  expect(
    await enrolment.renew({ certificate: old.certificate, csr, proof: await proofFor(csr, old.keys.privateKey, { iat: 60 }) }),
  ).toMatchObject({ ca: ca.pem });
});

test("revocation marks every certificate of the device, cuts its connection, and its name is not given again", async () => {
  const device = await enrolled("gw-1");
  const { serial } = await identify(ca, derOf(device.certificate));
  expect(enrolment.revoke("gw-1")).toBe(true);
  expect(cut).toEqual(["gw-1"]);
  expect(getCertificate(store, serial)?.revokedMs).toBe(clock.nowMs);
  expect((await enrolled("gw-1")).device).toBe("gw-1-2");
  expect(enrolment.revoke("nobody")).toBe(false);
});
