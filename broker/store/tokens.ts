// Enrolment tokens. Only the hash of a secret is kept: a stolen database enrols nobody.
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const tokensMigrations: Migrations = [
  `CREATE TABLE tokens (hash TEXT PRIMARY KEY, createdMs INTEGER NOT NULL, expiresMs INTEGER NOT NULL, usesLeft INTEGER NOT NULL) STRICT;`,
];

export const hashSecret = (secret: string): string => new Bun.CryptoHasher("sha256").update(secret).digest("base64url");

export const addToken = (store: Store, of: { secret: string; createdMs: number; expiresMs: number; uses: number }): void => {
  store.db.query("INSERT INTO tokens VALUES (?, ?, ?, ?)").run(hashSecret(of.secret), of.createdMs, of.expiresMs, of.uses);
};

export type TokenUse = "ok" | "unknown" | "expired" | "used-up";

/**
 * Takes one use, atomically. The secret is looked up by its hash, so how long the look-up takes says nothing about how
 * much of a guess was right.
 */
export function takeToken(store: Store, secret: string, nowMs: number): TokenUse {
  const hash = hashSecret(secret);
  const taken = store.db
    .query("UPDATE tokens SET usesLeft = usesLeft - 1 WHERE hash = ? AND usesLeft > 0 AND expiresMs > ?")
    .run(hash, nowMs).changes;
  if (taken === 1) return "ok";
  const row = store.db.query<{ usesLeft: number }, [string]>("SELECT usesLeft FROM tokens WHERE hash = ?").get(hash);
  if (!row) return "unknown";
  return row.usesLeft <= 0 ? "used-up" : "expired";
}

/** Forgets tokens that ended before `beforeMs`; until then their use is answered with the reason. */
export const forgetTokens = (store: Store, beforeMs: number): void => {
  store.db.query("DELETE FROM tokens WHERE expiresMs < ?").run(beforeMs);
};
