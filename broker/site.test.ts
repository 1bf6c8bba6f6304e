import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { anchorHash } from "@picket/protocol/command";
import { afterEach, beforeEach, expect, test } from "vitest";
import { readAuthority } from "./pki/certificates.ts";
import { identifyPem } from "./pki/peer.ts";
import { X509Certificate } from "./pki/x509.ts";
import { BadSite, hostsForDevices, initSite, readSite } from "./site.ts";
import { Credentials } from "./store/credentials.ts";
import { openStore } from "./store/schema.ts";
import { anchor } from "./testing/site.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "pkbrk-site-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const operator = { anchor: anchor() };
const hosts = ["site.example", "192.0.2.7", "2001:db8::7"];
const init = (dir = join(root, "site")) => initSite({ dir, site: "yard", hosts, operator });

test("a site has a CA, certificates with their roles, an anchor and a first operator", async () => {
  const made = await init();
  const site = readSite(join(root, "site"));
  expect(site).toMatchObject({ site: "yard", hosts, anchor: operator.anchor });
  expect(made.anchor).toBe(anchorHash(operator.anchor));
  const ca = await readAuthority(site.ca);
  expect((await identifyPem(ca, site.broker.certificate)).peer).toMatchObject({ role: "site", name: "yard" });
  expect((await identifyPem(ca, await Bun.file(join(root, "site/detector.crt.pem")).text())).peer).toMatchObject({
    role: "detector",
    name: "yard",
  });
  using store = openStore(join(root, "site/site.db"));
  expect(new Credentials(store).find(made.token)).toMatchObject({ name: "operator" });
});

test.each([
  {
    name: "devices are told every host of the certificate, best first",
    chosen: undefined,
    told: ["site.example", "192.0.2.7", "2001:db8::7"],
  },
  { name: "the chosen host is the first", chosen: "192.0.2.7", told: ["192.0.2.7", "site.example", "2001:db8::7"] },
  { name: "a chosen host of its own is added", chosen: "vpn.example", told: ["vpn.example", "site.example", "192.0.2.7", "2001:db8::7"] },
])("$name, and never loopback, which would be themselves", ({ chosen, told }) => {
  expect(hostsForDevices([...hosts, "localhost", "127.0.0.1", "::1"], chosen)).toEqual(told);
});

test("the broker's certificate names every host, addresses as addresses", async () => {
  await init();
  const certificate = new X509Certificate(readSite(join(root, "site")).broker.certificate);
  const names = certificate.getExtension("2.5.29.17")!;
  expect(JSON.parse(JSON.stringify((names as unknown as { names: unknown }).names))).toEqual([
    { type: "dns", value: "site.example" },
    { type: "ip", value: "192.0.2.7" },
    { type: "ip", value: expect.stringMatching(/^2001:0?db8:/) },
  ]);
});

test("private keys are for their owner alone, and a CA key others can read is refused", async () => {
  await init();
  const dir = join(root, "site");
  for (const name of readdirSync(dir).filter((file) => file.endsWith(".key.pem")))
    expect(statSync(join(dir, name)).mode & 0o777, name).toBe(0o600);
  chmodSync(join(dir, "ca.key.pem"), 0o644);
  expect(() => readSite(dir)).toThrow(/chmod 600/);
});

test("a second init changes nothing; a directory with other things is left alone", async () => {
  await init();
  const before = readSite(join(root, "site"));
  await expect(init()).rejects.toThrow(BadSite);
  expect(readSite(join(root, "site"))).toEqual(before);
  mkdirSync(join(root, "other"));
  writeFileSync(join(root, "other/photos"), "");
  await expect(init(join(root, "other"))).rejects.toThrow(/not empty/);
  expect(readdirSync(root).sort()).toEqual(["other", "site"]);
});

test("an empty directory may be there; a bad name or key list leaves nothing behind", async () => {
  mkdirSync(join(root, "empty"));
  await init(join(root, "empty"));
  expect(existsSync(join(root, "empty/site.json"))).toBe(true);
  await expect(initSite({ dir: join(root, "bad"), site: "Not A Name", hosts, operator })).rejects.toThrow(BadSite);
  await expect(initSite({ dir: join(root, "bad"), site: "yard", hosts, operator: { ...operator, keys: "no.key.list" } })).rejects.toThrow(
    /key list/,
  );
  expect(readdirSync(root)).toEqual(["empty"]);
});

test("reading what is no site says what to do", () => {
  expect(() => readSite(join(root, "nothing"))).toThrow(/picket site init/);
});
