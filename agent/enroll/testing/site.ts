// A small HTTPS site for tests of enrolment, able to lie in every way a real one could.
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { type Anchor, anchorHash } from "@picket/protocol/command";
import { formatToken } from "@picket/protocol/enroll";
import type { Role } from "@picket/protocol/names";
import { type Issued, type TestCa, testCa } from "../../uplink/testing/pki.ts";
import { spkiHash } from "../certificate.ts";
import { Pkcs10CertificateRequest } from "../x509.ts";

const key = (letter: string) => ({ kty: "OKP" as const, crv: "Ed25519" as const, x: letter.repeat(43) });
export const anchor: Anchor = { root: key("A"), recovery: key("B") };
export const SECRET = "s".repeat(40);

export type Lies = {
  /** CA that /v1/ca shows. */
  readonly shownCa?: string;
  /** Certificate the server itself uses. */
  readonly server?: Issued;
  readonly role?: Role;
  readonly name?: string;
  readonly anchor?: Anchor;
  /** CA that signs the device's certificate. */
  readonly signer?: TestCa;
  /** Certifies another key than the CSR's. */
  readonly otherKey?: boolean;
  readonly notAfter?: Date;
  /** Answers everything but /v1/ca with this. */
  readonly answer?: { status: number; body: string };
};

export type TestSite = AsyncDisposable & {
  readonly ca: TestCa;
  readonly token: string;
  readonly port: number;
  /** Requests that carried a body, by path. */
  readonly received: { path: string; body: Record<string, string> }[];
  lies: Lies;
};

export async function startTestSite(lies: Lies = {}, host = "127.0.0.1", ca?: TestCa): Promise<TestSite> {
  return startSite(lies, host, ca ?? (await testCa()));
}

async function startSite(lies: Lies, host: string, ca: TestCa): Promise<TestSite> {
  const own = lies.server ?? (await ca.issue({ name: "lab", role: "site", hosts: [host] }));
  const received: TestSite["received"] = [];
  const site = { ca, received, lies };
  const server = createServer({ key: own.key, cert: own.cert, minVersion: "TLSv1.3" }, async (request, response) => {
    let text = "";
    for await (const chunk of request) text += chunk;
    const path = request.url ?? "";
    if (text) received.push({ path, body: JSON.parse(text) });
    const { status, body } = await answer(site, path, text);
    response.writeHead(status, { "content-type": "application/json" }).end(body);
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
  const token = formatToken({
    v: 1,
    site: "lab",
    https: address,
    mqtt: address,
    ca: spkiHash(ca.cert),
    anchor: anchorHash(anchor),
    secret: SECRET,
  });
  return Object.assign(site, {
    token,
    port,
    [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
  });
}

async function answer({ ca, lies }: { ca: TestCa; lies: Lies }, path: string, text: string): Promise<{ status: number; body: string }> {
  if (path === "/v1/ca") return { status: 200, body: JSON.stringify({ ca: lies.shownCa ?? ca.cert }) };
  if (path === "/v1/health") return { status: 200, body: JSON.stringify({ ok: true, version: "0" }) };
  if (lies.answer) return lies.answer;
  const { csr } = JSON.parse(text) as { csr: string };
  const request = new Pkcs10CertificateRequest(csr);
  const issued = await (lies.signer ?? ca).issue({
    name: lies.name ?? "pi",
    role: lies.role ?? "device",
    ...(lies.otherKey ? {} : { publicKey: request.publicKey }),
    ...(lies.notAfter ? { notAfter: lies.notAfter } : {}),
  });
  const common = { certificate: issued.cert, ca: ca.cert };
  return {
    status: 200,
    body: JSON.stringify(path === "/v1/renew" ? common : { ...common, device: "pi", site: "lab", anchor: lies.anchor ?? anchor }),
  };
}
