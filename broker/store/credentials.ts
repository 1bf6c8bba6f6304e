// API credentials of operators. Only hashes are kept: a copy of the database lets nobody in.
import type { Database } from "bun:sqlite";
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const credentialMigrations: Migrations = [
  `CREATE TABLE credentials (
    id INTEGER PRIMARY KEY,
    operator TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    createdMs INTEGER NOT NULL,
    revokedMs INTEGER
  ) STRICT`,
];

/** Who calls: the credential's number and the operator it was made for. */
export type Operator = { readonly id: number; readonly name: string };

// The prefix lets secret scanners find a leaked one. A plain SHA-256 is enough for 256 random bits: there is nothing to guess.
const PREFIX = "picket_";
const hashOf = (token: string) => createHash("sha256").update(token).digest();

export class Credentials {
  readonly #store: Store;
  readonly #db: Database;

  constructor(store: Store) {
    this.#store = store;
    this.#db = store.db;
  }

  /** Makes a credential for `operator`, on disk when it returns. The token cannot be shown again. */
  create(operator: string, nowMs: number): string {
    const token = PREFIX + randomBytes(32).toString("base64url");
    this.#store.commitNow(() =>
      this.#db.run("INSERT INTO credentials (operator, hash, createdMs) VALUES (?, ?, ?)", [operator, hashOf(token), nowMs]),
    );
    return token;
  }

  /** The operator a token belongs to, unless it was revoked. Looks at every row, so time tells nothing about where it matched. */
  find(token: string): Operator | undefined {
    const wanted = hashOf(token);
    let found: Operator | undefined;
    for (const row of this.#db
      .query<{ id: number; operator: string; hash: Uint8Array }, []>("SELECT id, operator, hash FROM credentials WHERE revokedMs IS NULL")
      .all()) {
      if (row.hash.length === wanted.length && timingSafeEqual(row.hash, wanted)) found = { id: row.id, name: row.operator };
    }
    return found;
  }

  /** Whether a credential found earlier still counts: a live stream outlasts the check at its start. */
  isValid(id: number): boolean {
    return this.#db.query<{ id: number }, [number]>("SELECT id FROM credentials WHERE id = ? AND revokedMs IS NULL").get(id) !== null;
  }

  /** Revokes all credentials of an operator and returns how many there were. */
  revoke(operator: string, nowMs: number): number {
    return this.#store.commitNow(
      () => this.#db.run("UPDATE credentials SET revokedMs = ? WHERE operator = ? AND revokedMs IS NULL", [nowMs, operator]).changes,
    );
  }
}
