// The operators' key lists. The broker cannot make one: it checks, keeps and carries them, and a device checks again.

import type { Database } from "bun:sqlite";
import { type Anchor, KEYS_TYP, KeyList } from "@picket/protocol/command";
import { tryParse } from "@picket/protocol/try-parse";
import { compactVerify, importJWK } from "jose";
import * as z from "zod";
import { Refused } from "../refused.ts";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const keyMigrations: Migrations = [
  `CREATE TABLE key_lists (
    version INTEGER PRIMARY KEY,
    jws TEXT NOT NULL,
    operator TEXT NOT NULL,
    putMs INTEGER NOT NULL
  ) STRICT`,
];

export type CurrentKeys = { readonly version: number; readonly jws: string; readonly list: KeyList };

/**
 * Checks a key list (compact JWS, EdDSA, RFC 8037) against the site's anchor: the root signs it, or the recovery key.
 * Throws `Refused` when it is signed by neither, is not a key list, or is for another site.
 */
export async function readKeyList(jws: string, of: { site: string; anchor: Anchor }): Promise<KeyList> {
  const payload = (await payloadIfSigned(jws, of.anchor.root)) ?? (await payloadIfSigned(jws, of.anchor.recovery));
  if (!payload)
    throw new Refused(
      "forbidden",
      "This key list is signed neither by this site's operator root nor by its recovery key",
      "Sign it with the root of `picket operator init` that this site was made with",
    );
  const list = tryParse(KeyList, payload.json);
  if (!list.success) throw new Refused("invalid", `This is signed, but not a key list: ${z.prettifyError(list.error).slice(0, 300)}`);
  if (list.data.site !== of.site) throw new Refused("conflict", `This key list is for site "${list.data.site}", not for "${of.site}"`);
  return list.data;
}

async function payloadIfSigned(jws: string, key: Anchor["root"]): Promise<{ json: unknown } | undefined> {
  try {
    const { payload, protectedHeader } = await compactVerify(jws, await importJWK(key, "EdDSA"), { algorithms: ["EdDSA"] });
    if (protectedHeader.typ !== KEYS_TYP) return undefined;
    return { json: JSON.parse(Buffer.from(payload).toString()) };
  } catch {
    return undefined;
  }
}

export class Keys {
  readonly #store: Store;
  readonly #db: Database;
  readonly #of: { readonly site: string; readonly anchor: Anchor };

  constructor(store: Store, of: { site: string; anchor: Anchor }) {
    this.#store = store;
    this.#db = store.db;
    this.#of = of;
  }

  /** The newest key list, or undefined before the operators published one. */
  current(): CurrentKeys | undefined {
    const row = this.#db
      .query<{ version: number; jws: string }, []>("SELECT version, jws FROM key_lists ORDER BY version DESC LIMIT 1")
      .get();
    return row ? { version: row.version, jws: row.jws, list: listOf(row.jws) } : undefined;
  }

  /** Stores a signed list, on disk when it resolves. Putting the current one again is no error. Throws `Refused`. */
  async put(jws: string, operator: string, nowMs: number): Promise<{ version: number }> {
    const list = await readKeyList(jws, this.#of);
    return this.#store.commitSoon(() => {
      const before = this.current();
      if (before?.jws === jws) return { version: list.version };
      if (before && list.version <= before.version)
        throw new Refused(
          "conflict",
          `Key list version ${list.version} is not newer than version ${before.version}, which this site already has`,
          "Sign a list with a higher version; devices would refuse this one as well",
        );
      this.#db.run("INSERT INTO key_lists (version, jws, operator, putMs) VALUES (?, ?, ?, ?)", [list.version, jws, operator, nowMs]);
      return { version: list.version };
    });
  }
}

// Verified before it was stored.
const listOf = (jws: string) => KeyList.parse(JSON.parse(Buffer.from(jws.split(".")[1] ?? "", "base64url").toString()));
