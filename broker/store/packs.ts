// Signed packs: what operators set on devices. The broker cannot make one: it checks, keeps the newest of each kind and target, and carries them; a device checks again.

import type { Database } from "bun:sqlite";
import type { KeyList } from "@picket/protocol/command";
import { MAX_VERSION_STEP, PACK_TYP, PackClaims, type PackKind, type PackRecord, packKinds, WHOLE_SITE } from "@picket/protocol/pack";
import { openRules } from "@picket/protocol/rule-pack";
import { readSettings } from "@picket/protocol/settings";
import { tryParse } from "@picket/protocol/try-parse";
import { compactVerify, decodeProtectedHeader, importJWK } from "jose";
import * as z from "zod";
import { Refused } from "../refused.ts";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const packMigrations: Migrations = [
  `CREATE TABLE packs (
    kind TEXT NOT NULL,
    -- A device, or * for the whole site.
    dev TEXT NOT NULL,
    version INTEGER NOT NULL,
    kid TEXT NOT NULL,
    jws TEXT NOT NULL,
    operator TEXT NOT NULL,
    putMs INTEGER NOT NULL,
    PRIMARY KEY (kind, dev)
  ) STRICT`,
];

/**
 * Checks what a broker can check, so that an operator hears of a mistake now and not from each device later: form, site, target, content, expiry, and
 * signature and right against the current key list. A device trusts none of this. Throws `Refused`.
 */
export async function readPack(
  jws: string,
  of: { site: string; nowMs: number; keys: KeyList | undefined; knows: (device: string) => boolean },
): Promise<PackClaims & { kind: PackKind }> {
  const claims = claimsOf(jws);
  const { kind, dev } = claims;
  if (!isKind(kind)) throw new Refused("invalid", `This site knows no packs of the kind "${kind}"`, "Upgrade the site first");
  if (claims.site !== of.site) throw new Refused("conflict", `This pack is for site "${claims.site}", not for "${of.site}"`);
  if (dev !== WHOLE_SITE && !of.knows(dev))
    throw new Refused("not-found", `There is no device "${dev}" at this site`, "`picket devices` lists them");
  const wrong = whatIsWrong(kind, claims.payload);
  if (wrong !== undefined) throw new Refused("invalid", `Devices would refuse this pack: ${wrong}`);
  if (claims.exp !== undefined && claims.exp * 1000 <= of.nowMs)
    throw new Refused(
      "conflict",
      "This pack has already expired",
      "Sign it again; when that does not help, compare your clock with the site's",
    );
  const entry = of.keys?.keys.find(({ kid }) => kid === claims.kid);
  if (!of.keys || !entry)
    throw new Refused(
      "forbidden",
      of.keys
        ? `Key ${claims.kid} is not in key list version ${of.keys.version} of this site`
        : "This site has no key list, so no device would obey",
      "Publish a key list that names it (PUT /v1/keys), or sign with a key it names",
    );
  if (!entry.may.includes(kind))
    throw new Refused(
      "forbidden",
      `Key list version ${of.keys.version} does not let "${entry.name}" sign ${kind}`,
      `Whoever holds the root key grants it: picket operator grant ${kind}`,
    );
  try {
    await compactVerify(jws, await importJWK(entry.key, "EdDSA"), { algorithms: ["EdDSA"] });
  } catch {
    throw new Refused("forbidden", `The signature does not match key ${claims.kid}, so devices would refuse this pack`);
  }
  return { ...claims, kind };
}

const isKind = (kind: string): kind is PackKind => (packKinds as readonly string[]).includes(kind);

/** Exhaustive: a new kind must say how it is read. */
function whatIsWrong(kind: PackKind, payload: unknown): string | undefined {
  switch (kind) {
    case "settings": {
      const read = readSettings(payload);
      return typeof read === "string" ? read : undefined;
    }
    case "rules": {
      const read = openRules(payload);
      return typeof read === "string" ? read : undefined;
    }
  }
}

function claimsOf(jws: string): PackClaims {
  try {
    const header = decodeProtectedHeader(jws);
    if (header.typ !== PACK_TYP) throw new Error(`header typ must be ${PACK_TYP}`);
    const claims = tryParse(PackClaims, JSON.parse(Buffer.from(jws.split(".")[1] ?? "", "base64url").toString()));
    if (!claims.success) throw new Error(z.prettifyError(claims.error).replaceAll("\n", " ").slice(0, 300));
    return claims.data;
  } catch (error) {
    throw new Refused("invalid", `This is not a signed pack: ${error instanceof Error ? error.message : "malformed"}`);
  }
}

export type PacksOptions = {
  readonly site: string;
  readonly keys: () => KeyList | undefined;
  readonly knows: (device: string) => boolean;
};

export class Packs {
  readonly #store: Store;
  readonly #db: Database;
  readonly #of: PacksOptions;

  constructor(store: Store, of: PacksOptions) {
    this.#store = store;
    this.#db = store.db;
    this.#of = of;
  }

  /** The newest of each kind and target. */
  list(): PackRecord[] {
    return this.#db.query<PackRecord, []>("SELECT * FROM packs ORDER BY kind, dev").all();
  }

  /** What a device must hear: those of the whole site, and its own. */
  forDevice(device: string): PackRecord[] {
    return this.#db
      .query<PackRecord, [string, string]>("SELECT * FROM packs WHERE dev IN (?, ?) ORDER BY kind, dev")
      .all(WHOLE_SITE, device);
  }

  /** Stores a pack, on disk when it resolves. The current one again is no error. Throws `Refused`. */
  async put(jws: string, operator: string, nowMs: number): Promise<PackRecord> {
    const { site, keys, knows } = this.#of;
    const { kind, dev, version, kid } = await readPack(jws, { site, nowMs, keys: keys(), knows });
    return this.#store.commitSoon(() => {
      const before = this.#row(kind, dev);
      if (before?.jws === jws) return before;
      if (before && version <= before.version)
        throw new Refused(
          "conflict",
          `Version ${version} of these ${kind} is not newer than version ${before.version}, which this site already has`,
          "Somebody else may have changed them meanwhile: look at them, and change them again",
        );
      if (before && version > before.version + MAX_VERSION_STEP)
        throw new Refused(
          "conflict",
          `Version ${version} is more than ${MAX_VERSION_STEP} above version ${before.version}; devices would refuse it`,
        );
      this.#db.run("INSERT OR REPLACE INTO packs (kind, dev, version, kid, jws, operator, putMs) VALUES (?, ?, ?, ?, ?, ?, ?)", [
        kind,
        dev,
        version,
        kid,
        jws,
        operator,
        nowMs,
      ]);
      return this.#row(kind, dev)!;
    });
  }

  #row(kind: string, dev: string): PackRecord | undefined {
    return this.#db.query<PackRecord, [string, string]>("SELECT * FROM packs WHERE kind = ? AND dev = ?").get(kind, dev) ?? undefined;
  }
}
