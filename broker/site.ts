// A site on disk: its CA, its certificates, its anchor and its database.
import { X509Certificate as X509 } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Anchor, anchorHash } from "@picket/protocol/command";
import { siteId } from "@picket/protocol/names";
import * as z from "zod";
import { type Authority, createAuthority, createIdentity, type Identity, readAuthority } from "./pki/certificates.ts";
import { Credentials } from "./store/credentials.ts";
import { addCertificate } from "./store/devices.ts";
import { Keys } from "./store/keys.ts";
import { openStore } from "./store/schema.ts";

const host = z.string().regex(/^[A-Za-z0-9.:-]{1,253}$/, "use a host name or an address");

const SiteFile = z.strictObject({
  site: siteId,
  /** Names and addresses in the broker's certificate. Devices are told the first. */
  hosts: z.array(host).min(1).max(64),
  anchor: Anchor,
});
export type SiteFile = z.output<typeof SiteFile>;

export type Site = SiteFile & { readonly dir: string; readonly ca: Identity; readonly broker: Identity };

/** The site cannot be made or used. The message says what to do. */
export class BadSite extends Error {
  override name = "BadSite";
}

export type InitSite = {
  /** Must not exist, or be empty. */
  readonly dir: string;
  readonly site: string;
  /** Names and addresses devices and operators reach the site by. */
  readonly hosts: readonly string[];
  /** What `picket operator init` wrote to public.json. `keys` is a signed key list (JWS). */
  readonly operator: { readonly anchor: Anchor; readonly keys?: string | undefined };
  /** Whose first API credential is made. */
  readonly operatorName?: string;
  readonly nowMs?: number;
};

/**
 * Makes a site: CA, broker and detector certificates, database, and the first API credential, whose token is returned
 * and kept nowhere else. All or nothing. Throws `BadSite` when there is one already.
 */
export async function initSite(of: InitSite): Promise<{ site: string; token: string; ca: string; anchor: string }> {
  const file = SiteFile.safeParse({ site: of.site, hosts: of.hosts, anchor: of.operator.anchor });
  if (!file.success) throw new BadSite(`this site cannot be made: ${z.prettifyError(file.error)}`);
  if (existsSync(join(of.dir, "site.json"))) throw new BadSite(`${of.dir} holds a site already: use it, or choose another directory`);
  const nowMs = of.nowMs ?? Date.now();
  const fresh = `${of.dir}.new-${process.pid}`;
  mkdirSync(dirname(of.dir), { recursive: true, mode: 0o755 });
  rmSync(fresh, { recursive: true, force: true });
  mkdirSync(fresh, { mode: 0o700 });
  try {
    const made = await fill(fresh, file.data, of, nowMs);
    renameSync(fresh, of.dir);
    return { site: file.data.site, ...made, anchor: anchorHash(file.data.anchor) };
  } catch (error) {
    rmSync(fresh, { recursive: true, force: true });
    if (isNotEmpty(error)) throw new BadSite(`${of.dir} is not empty and holds no site: empty it, or choose another directory`);
    throw error;
  }
}

async function fill(dir: string, file: SiteFile, of: InitSite, nowMs: number): Promise<{ token: string; ca: string }> {
  const caFiles = await createAuthority(file.site, nowMs);
  const ca = await readAuthority(caFiles);
  const broker = await createIdentity(ca, { name: file.site, role: "site", hosts: file.hosts, nowMs });
  const detector = await createIdentity(ca, { name: file.site, role: "detector", nowMs });
  for (const [name, identity] of Object.entries({ ca: caFiles, broker, detector })) {
    writeFileSync(join(dir, `${name}.key.pem`), identity.key, { mode: 0o600, flush: true });
    writeFileSync(join(dir, `${name}.crt.pem`), identity.certificate, { mode: 0o644, flush: true });
  }
  writeFileSync(join(dir, "site.json"), `${JSON.stringify(file, null, 2)}\n`, { mode: 0o644, flush: true });
  using store = openStore(join(dir, "site.db"));
  store.commitNow(() =>
    addCertificate(store, { serial: detector.serial, role: "detector", name: file.site, issuedMs: nowMs, notAfterMs: detector.notAfterMs }),
  );
  const operator = of.operatorName ?? "operator";
  if (of.operator.keys !== undefined) await new Keys(store, file).put(of.operator.keys, operator, nowMs);
  return { token: new Credentials(store).create(operator, nowMs), ca: caFiles.certificate };
}

/** Reads a site made by `initSite`. Throws `BadSite`. */
export function readSite(dir: string): Site {
  const path = join(dir, "site.json");
  if (!existsSync(path)) throw new BadSite(`${dir} holds no site: make one with \`picket site init\``);
  const keyMode = statSync(join(dir, "ca.key.pem")).mode;
  if (keyMode & 0o077) throw new BadSite(`${join(dir, "ca.key.pem")} can be read by others: chmod 600 it`);
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new BadSite(`${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`);
  }
  const file = SiteFile.safeParse(json);
  if (!file.success) throw new BadSite(`${path}: ${z.prettifyError(file.error)}`);
  const identity = (name: string): Identity => ({
    key: readFileSync(join(dir, `${name}.key.pem`), "utf8"),
    certificate: readFileSync(join(dir, `${name}.crt.pem`), "utf8"),
  });
  return { ...file.data, dir, ca: identity("ca"), broker: identity("broker") };
}

/**
 * The site's certificate towards its mesh: role `site` like the broker's, but for a client, and what it signs items with. Made at first use and
 * again in its last month.
 */
export async function readMeshIdentity(site: Site, authority: Authority, nowMs: number): Promise<Identity> {
  const at = (end: "key" | "crt") => join(site.dir, `mesh.${end}.pem`);
  if (existsSync(at("key")) && existsSync(at("crt"))) {
    const found = { key: readFileSync(at("key"), "utf8"), certificate: readFileSync(at("crt"), "utf8") };
    if (new X509(found.certificate).validToDate.getTime() > nowMs + 30 * 86_400_000) return found;
  }
  const made = await createIdentity(authority, { name: site.site, role: "site", nowMs });
  // The key first: a certificate without its key would be taken for both.
  writeWhole(at("key"), made.key, 0o600);
  writeWhole(at("crt"), made.certificate, 0o644);
  return { key: made.key, certificate: made.certificate };
}

function writeWhole(path: string, text: string, mode: number): void {
  writeFileSync(`${path}.new`, text, { mode, flush: true });
  renameSync(`${path}.new`, path);
}

const isNotEmpty = (error: unknown) =>
  error instanceof Error && "code" in error && (error.code === "ENOTEMPTY" || error.code === "EEXIST" || error.code === "ENOTDIR");

const MAX_ALSO = 8;
const isLoopback = (host: string) => host === "localhost" || host === "::1" || /^127\./.test(host);

/** The hosts a device is told, best first: what the operator chose, then the others of the certificate, but for loopback, which would be the device itself. */
export function hostsForDevices(hosts: readonly string[], chosen: string | undefined): [string, ...string[]] {
  const first = chosen ?? hosts[0]!;
  const more = hosts.filter((host) => host !== first && !isLoopback(host));
  return [first, ...more.slice(0, MAX_ALSO)];
}
