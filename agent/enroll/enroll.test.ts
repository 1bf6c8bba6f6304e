import { createPublicKey, X509Certificate } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatToken, parseToken, RENEW_TYP } from "@picket/protocol/enroll";
import { compactVerify } from "jose";
import { afterEach, beforeEach, expect, test } from "vitest";
import { testCa } from "../uplink/testing/pki.ts";
import { enroll, renew } from "./enroll.ts";
import { NotEnrolled, readIdentity } from "./files.ts";
import { call, Refused } from "./request.ts";
import { anchor, type Lies, SECRET, startTestSite } from "./testing/site.ts";
import { expiresMs, renewInMs } from "./validity.ts";

let dir: string;
beforeEach(() => {
  dir = join(mkdtempSync(join(tmpdir(), "pkagt-enroll-")), "state");
});
afterEach(() => rmSync(join(dir, ".."), { recursive: true, force: true }));

test.each(["127.0.0.1", "::1", "localhost"])("a token becomes an identity over HTTPS at %s", async (host) => {
  await using site = await startTestSite({}, host);
  const identity = await enroll({ token: `${site.token}\n`, dir, name: "pi" });
  expect(identity).toMatchObject({ device: "pi", site: "lab", anchor });
  const read = readIdentity(dir);
  expect(read.identity).toEqual(identity);
  const certificate = new X509Certificate(read.credentials.cert);
  expect(certificate.checkPrivateKey((await import("node:crypto")).createPrivateKey(read.credentials.key))).toBe(true);
  expect(site.received).toEqual([
    { path: "/v1/enroll", body: { secret: SECRET, csr: expect.stringContaining("CERTIFICATE REQUEST"), name: "pi" } },
  ]);
  expect(JSON.stringify(site.received)).not.toContain("PRIVATE");
});

test("every file is its owner's only, and no half-written one is left", async () => {
  await using site = await startTestSite();
  await enroll({ token: site.token, dir });
  expect(readdirSync(dir).toSorted()).toEqual(["ca.crt.pem", "device.crt.pem", "device.key.pem", "identity.json"]);
  for (const name of readdirSync(dir)) expect(statSync(join(dir, name)).mode & 0o777).toBe(0o600);
  expect(statSync(dir).mode & 0o777).toBe(0o700);
});

test("a site with another CA key than the token's never sees the secret", async () => {
  const other = await testCa();
  await using site = await startTestSite({ shownCa: other.cert });
  await expect(enroll({ token: site.token, dir })).rejects.toThrow("not the site this token was made for");
  expect(site.received).toEqual([]);
});

test("someone in the middle who shows the true CA, but cannot prove it, never sees the secret", async () => {
  const evil = await testCa();
  await using site = await startTestSite({ server: await evil.issue({ name: "lab", role: "site", hosts: ["127.0.0.1"] }) });
  await expect(enroll({ token: site.token, dir })).rejects.toThrow(/certificate/);
  expect(site.received).toEqual([]);
});

test("someone in the middle who shows the true CA and his own behind it is not trusted for the company", async () => {
  const [ca, evil] = [await testCa(), await testCa("elsewhere")];
  const server = await evil.issue({ name: "lab", role: "site", hosts: ["127.0.0.1"] });
  await using site = await startTestSite({ server, shownCa: `${ca.cert}\n${evil.cert}` }, "127.0.0.1", ca);
  await expect(enroll({ token: site.token, dir })).rejects.toThrow(/certificate/);
  expect(site.received).toEqual([]);
  expect(existsSync(dir)).toBe(false);
});

test("a device of the site posing as the site is not given the secret", async () => {
  const ca = await testCa();
  await using site = await startTestSite({
    server: await ca.issue({ name: "evil", role: "device", hosts: ["127.0.0.1"] }),
    shownCa: ca.cert,
  });
  await expect(call({ method: "POST", path: "/v1/enroll", body: {}, address: address(site.token), ca: ca.cert })).rejects.toThrow(
    "belongs to a device",
  );
  expect(site.received).toEqual([]);
});

const otherKey = { kty: "OKP" as const, crv: "Ed25519" as const, x: "C".repeat(43) };
test.each<{ name: string; lies: Lies; why: RegExp }>([
  { name: "other operators' keys", lies: { anchor: { ...anchor, root: otherKey } }, why: /other operators' keys/ },
  { name: "another recovery key", lies: { anchor: { ...anchor, recovery: otherKey } }, why: /other operators' keys/ },
  { name: "a certificate of role site", lies: { role: "site" }, why: /role is site/ },
  { name: "a certificate for another name", lies: { name: "else" }, why: /names else/ },
  { name: "a certificate for another key", lies: { otherKey: true }, why: /another key/ },
  { name: "an answer that is no JSON", lies: { answer: { status: 200, body: "<html>" } }, why: /does not understand/ },
  { name: "an answer without end", lies: { answer: { status: 200, body: "x".repeat(300_000) } }, why: /larger than/ },
  {
    name: "a refusal",
    lies: {
      answer: {
        status: 403,
        body: JSON.stringify({ type: "x", title: "t", status: 403, detail: "the token was used", hint: "make a new one" }),
      },
    },
    why: /the token was used. make a new one/,
  },
  {
    name: "a refusal that would steer the terminal",
    lies: { answer: { status: 403, body: JSON.stringify({ type: "x", title: "t", status: 403, detail: "no\u001B[8m\u009B2J\u202E" }) } },
    why: /^no\uFFFD\[8m\uFFFD2J\uFFFD$/,
  },
])("refused, and nothing written: $name", async ({ lies, why }) => {
  await using site = await startTestSite(lies);
  await expect(enroll({ token: site.token, dir })).rejects.toThrow(why);
  expect(existsSync(dir)).toBe(false);
});

test("a certificate signed by another CA is refused", async () => {
  await using site = await startTestSite({ signer: await testCa() });
  await expect(enroll({ token: site.token, dir })).rejects.toThrow("not signed by the site CA");
});

test.each([
  { name: "not a token", token: "hello" },
  { name: "a damaged one", token: "picket1.e30" },
])("$name is told apart from a site that does not answer", async ({ token }) => {
  await expect(enroll({ token, dir })).rejects.toThrow(/token/);
});

test("a machine that is not enrolled is told what to do", () => {
  expect(() => readIdentity(dir)).toThrow(NotEnrolled);
  expect(() => readIdentity(dir)).toThrow("picket-agent enroll --token-file FILE");
});

test("a damaged identity is named", async () => {
  await using site = await startTestSite();
  await enroll({ token: site.token, dir });
  writeFileSync(join(dir, "identity.json"), '{"device": "Not A Label"}');
  expect(() => readIdentity(dir)).toThrow(/identity\.json/);
});

test("renewal proves the old key, keeps the key, and replaces one file; an expired certificate may renew", async () => {
  await using site = await startTestSite({ notAfter: new Date(Date.now() - 1000) });
  await enroll({ token: site.token, dir });
  const before = readIdentity(dir);
  site.lies = {};
  const renewed = await renew({ dir, ...before, nowMs: 0 });
  expect(renewed.cert).not.toBe(before.credentials.cert);
  expect(renewed.key).toBe(before.credentials.key);
  expect(readIdentity(dir).credentials).toEqual(renewed);
  const { body } = site.received.at(-1)!;
  const publicKey = createPublicKey(new X509Certificate(body.certificate!).publicKey.export({ format: "pem", type: "spki" }));
  const { payload, protectedHeader } = await compactVerify(body.proof!, publicKey);
  const claims = JSON.parse(Buffer.from(payload).toString());
  expect(protectedHeader).toEqual({ alg: "ES256", typ: RENEW_TYP });
  expect(claims.csrSha256).toBe(new Bun.CryptoHasher("sha256").update(body.csr!).digest("base64url"));
  // The board's clock said 1970: the site's own was used.
  expect(Math.abs(claims.iat * 1000 - Date.now())).toBeLessThan(3600_000);
});

/** A port of loopback where nobody listens. */
async function deadPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

test("a site that is not at its first address is found at the next, to enrol and to renew", async () => {
  await using site = await startTestSite({}, "localhost");
  const token = parseToken(site.token);
  // The same port at an address of loopback that is not the site's.
  const elsewhere = formatToken({ ...token, https: `127.0.0.9:${site.port}`, mqtt: "127.0.0.9:8883", also: ["localhost"] });
  const identity = await enroll({ token: elsewhere, dir });
  expect(identity).toMatchObject({ mqtt: "127.0.0.9:8883", also: ["localhost"] });
  const { credentials } = readIdentity(dir);
  const ways = [
    { host: "127.0.0.1", port: await deadPort() },
    { host: "localhost", port: site.port },
  ];
  const renewed = await renew({ dir, identity, credentials, nowMs: Date.now(), ways });
  expect(renewed.cert).not.toBe(credentials.cert);
  await expect(renew({ dir, identity, credentials, nowMs: Date.now(), ways: ways.slice(0, 1) })).rejects.toThrow("127.0.0.1:");
});

test("a refused renewal leaves the old certificate in place", async () => {
  await using site = await startTestSite();
  await enroll({ token: site.token, dir });
  const before = readIdentity(dir);
  const old = readFileSync(join(dir, "device.crt.pem"), "utf8");
  site.lies = { answer: { status: 403, body: "{}" } };
  await expect(renew({ dir, ...before, nowMs: Date.now() })).rejects.toThrow(Refused);
  site.lies = { signer: await testCa() };
  await expect(renew({ dir, ...before, nowMs: Date.now() })).rejects.toThrow("not signed by the site CA");
  expect(readFileSync(join(dir, "device.crt.pem"), "utf8")).toBe(old);
});

const day = 86_400_000;
test.each([
  { name: "issued now for 30 days", fromDays: 0, toDays: 30, days: 10 },
  { name: "notBefore years back, for boards without a clock", fromDays: -3650, toDays: 30, days: 10 },
  { name: "a third of its life has passed", fromDays: -10, toDays: 20, days: 0 },
  { name: "short-lived", fromDays: 0, toDays: 3, days: 1 },
  { name: "expired", fromDays: -40, toDays: -10, days: -30 },
])("renewal is due in $days days: $name", async ({ fromDays, toDays, days }) => {
  const nowMs = Math.floor(Date.now() / 1000) * 1000;
  const ca = await testCa();
  const { cert } = await ca.issue({
    name: "pi",
    role: "device",
    notBefore: new Date(nowMs + fromDays * day),
    notAfter: new Date(nowMs + toDays * day),
  });
  expect(renewInMs(cert, nowMs) / day).toBeCloseTo(days, 5);
  expect(expiresMs(cert)).toBe(nowMs + toDays * day);
});

const address = (token: string) => (JSON.parse(Buffer.from(token.slice(8), "base64url").toString()) as { https: string }).https;
