// What devices may install: signed where the operator works, checked before a token is handed out, and again by each device.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Anchor, anchorHash, KEYS_TYP, KeyList, type PublicKey } from "@picket/protocol/command";
import { RELEASE_TYP, Release, type ReleaseFile, releaseFiles } from "@picket/protocol/release";
import { CompactSign, compactVerify, decodeProtectedHeader, importJWK } from "jose";
import { deviceFile, deviceFiles } from "./device-files.ts";
import { OperatorError } from "./key-file.ts";
import type { Operator } from "./keys.ts";

const FILE = "release.jws";
const isExecutable = (name: ReleaseFile) => name.endsWith("/picket-agent");

/**
 * Makes `dir`, in which `bun run build` left linux-<arch>/picket-agent, into what a site serves: adds the files that devices need besides, and signs
 * the checksums of all. Throws `OperatorError` when there is no agent in it, or the key list does not let this operator.
 */
export async function signRelease(operator: Operator, dir: string, of: { version: string; nowMs: number }): Promise<Release> {
  if (!operator.may.includes("install"))
    throw new OperatorError(`the key list lets ${operator.name ?? "this key"} not sign what devices install: ask who holds the root key`);
  const found = releaseFiles.filter((name) => isExecutable(name) && existsSync(join(dir, name)));
  if (found.length === 0)
    throw new OperatorError(`${dir} holds no linux-x64/picket-agent or linux-arm64/picket-agent: name the folder \`bun run build\` made`);
  mkdirSync(dir, { recursive: true });
  for (const name of deviceFiles) writeFileSync(join(dir, name), await deviceFile(name), { mode: 0o644 });
  const files = Object.fromEntries([...deviceFiles, ...found].map((name) => [name, sha256(readFileSync(join(dir, name)))]));
  const release: Release = { site: operator.site, iat: Math.floor(of.nowMs / 1000), version: of.version, files };
  const jws = await new CompactSign(new TextEncoder().encode(JSON.stringify(release)))
    .setProtectedHeader({ alg: "EdDSA", typ: RELEASE_TYP, kid: operator.kid })
    .sign(await importJWK(operator.key, "EdDSA"));
  writeFileSync(join(dir, FILE), `${jws}\n`, { mode: 0o644 });
  return release;
}

/**
 * Checks a release as a device does: anchor -> key list -> operator's key -> release. `anchor` is the one this operator's devices pin.
 * Throws `OperatorError` with what is wrong.
 */
export async function verifyRelease(of: { jws: string; keys: string; anchor: Anchor; site: string }): Promise<Release> {
  const list = await openKeyList(of.keys, of.anchor);
  const entry = list.keys.find(({ kid }) => kid === kidOf(of.jws));
  if (!entry?.may.includes("install"))
    throw new OperatorError("the site's release is signed with a key that the key list does not let sign");
  const release = Release.safeParse(await payloadOf(of.jws, entry.key, RELEASE_TYP));
  if (!release.success) throw new OperatorError("the site's release carries no valid signature of its operator");
  if (list.site !== of.site || release.data.site !== of.site)
    throw new OperatorError(`the site's release is for another site, ${release.data.site}`);
  return release.data;
}

async function openKeyList(jws: string, anchor: Anchor): Promise<KeyList> {
  for (const key of [anchor.root, anchor.recovery]) {
    const list = KeyList.safeParse(await payloadOf(jws, key, KEYS_TYP));
    if (list.success) return list.data;
  }
  throw new OperatorError(`the key list is not signed by the operators' root ${anchorHash(anchor).slice(0, 12)}`);
}

/** Undefined when the signature is not good. */
async function payloadOf(jws: string, key: PublicKey, typ: string): Promise<unknown> {
  try {
    const { payload, protectedHeader } = await compactVerify(jws, await importJWK(key, "EdDSA"), { algorithms: ["EdDSA"] });
    return protectedHeader.typ === typ ? JSON.parse(new TextDecoder().decode(payload)) : undefined;
  } catch {
    return undefined;
  }
}

function kidOf(jws: string): unknown {
  try {
    return decodeProtectedHeader(jws).kid;
  } catch {
    return undefined;
  }
}

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
