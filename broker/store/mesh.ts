// The mesh's peers: whom this site trusts as a site, how far each has got, and what was refused of it.
import type { IntroducedSite, MeshRefusal } from "@picket/protocol/mesh";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const meshMigrations: Migrations = [
  `
  -- The log's name, so that a peer can tell this database from one made anew.
  CREATE TABLE mesh_self (one INTEGER PRIMARY KEY CHECK (one = 1), log TEXT NOT NULL, nextPos INTEGER NOT NULL) STRICT;
  CREATE TABLE mesh_invites (hash TEXT PRIMARY KEY, operator TEXT NOT NULL, createdMs INTEGER NOT NULL, expiresMs INTEGER NOT NULL) STRICT;
  CREATE TABLE mesh_peers (
    site TEXT PRIMARY KEY,
    ca TEXT NOT NULL,
    caHash TEXT NOT NULL UNIQUE,
    -- Where this site dials the peer; NULL where the peer dials.
    address TEXT,
    operator TEXT NOT NULL,
    joinedMs INTEGER NOT NULL,
    leftMs INTEGER,
    muted INTEGER NOT NULL DEFAULT 0,
    itemsPerS REAL,
    limitedBy TEXT,
    lastSeenMs INTEGER,
    -- How far the peer has stored our log, and how far we have stored its.
    sentPos INTEGER NOT NULL DEFAULT 0,
    receivedLog TEXT,
    receivedPos INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0,
    received INTEGER NOT NULL DEFAULT 0,
    lost INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE mesh_refused (peer TEXT NOT NULL, why TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (peer, why)) STRICT, WITHOUT ROWID;
  -- Sites known through a peer. Two CAs for one name are two sites: whoever came first cannot shut the other out.
  CREATE TABLE mesh_sites (
    site TEXT NOT NULL,
    caHash TEXT NOT NULL,
    ca TEXT NOT NULL,
    via TEXT NOT NULL,
    introducedMs INTEGER NOT NULL,
    PRIMARY KEY (site, caHash, via)
  ) STRICT, WITHOUT ROWID;
  `,
];

export type Peer = {
  readonly site: string;
  readonly ca: string;
  readonly caHash: string;
  readonly address: string | null;
  readonly operator: string;
  readonly joinedMs: number;
  readonly leftMs: number | null;
  readonly muted: boolean;
  readonly itemsPerS: number | null;
  readonly limitedBy: "operator" | "picket" | null;
  readonly lastSeenMs: number | null;
  readonly sentPos: number;
  readonly receivedLog: string | null;
  readonly receivedPos: number;
  readonly sent: number;
  readonly received: number;
  readonly lost: number;
};
type Row = Omit<Peer, "muted"> & { muted: number };

const toPeer = (row: Row): Peer => ({ ...row, muted: row.muted !== 0 });

export const listPeers = (store: Store): Peer[] => store.db.query<Row, []>("SELECT * FROM mesh_peers ORDER BY site").all().map(toPeer);

export function getPeer(store: Store, site: string): Peer | undefined {
  const row = store.db.query<Row, [string]>("SELECT * FROM mesh_peers WHERE site = ?").get(site);
  return row ? toPeer(row) : undefined;
}

export type NewPeer = Pick<Peer, "site" | "ca" | "caHash" | "address" | "operator" | "joinedMs">;

/** Stores a peer, or the same again after it had left; what was sent and received before stays. Call inside a transaction. */
export function addPeer(store: Store, peer: NewPeer): void {
  store.db
    .query(
      `INSERT INTO mesh_peers (site, ca, caHash, address, operator, joinedMs) VALUES ($site, $ca, $caHash, $address, $operator, $joinedMs)
       ON CONFLICT (site) DO UPDATE SET address = excluded.address, operator = excluded.operator, joinedMs = excluded.joinedMs,
         leftMs = NULL WHERE caHash = excluded.caHash`,
    )
    .run(peer);
}

/** Forgets a peer, its CA, whom only it introduced, and the names of what it brought. Call inside a transaction. False when there is none. */
export function removePeer(store: Store, site: string): boolean {
  store.db.run("DELETE FROM mesh_sites WHERE via = ?", [site]);
  // An introduction that another peer makes as well goes on in its name.
  store.db.run(
    `UPDATE mesh_items SET source = (SELECT via FROM mesh_sites s WHERE s.site = origin AND s.caHash = mesh_items.caHash)
     WHERE source = ? AND kind = 'site' AND EXISTS (SELECT 1 FROM mesh_sites s WHERE s.site = origin AND s.caHash = mesh_items.caHash)`,
    [site],
  );
  store.db.run("DELETE FROM mesh_items WHERE source = ?", [site]);
  store.db.run("DELETE FROM mesh_refused WHERE peer = ?", [site]);
  return store.db.run("DELETE FROM mesh_peers WHERE site = ?", [site]).changes > 0;
}

export type PeerChange = Partial<Pick<Peer, "leftMs" | "muted" | "itemsPerS" | "limitedBy" | "lastSeenMs">>;

/** Sets the given columns. Call inside a transaction. */
export function changePeer(store: Store, site: string, change: PeerChange): void {
  const names = Object.keys(change);
  const values = Object.values(change).map((value) => (typeof value === "boolean" ? Number(value) : value));
  if (names.length > 0)
    store.db.query(`UPDATE mesh_peers SET ${names.map((name) => `${name} = ?`).join(", ")} WHERE site = ?`).run(...values, site);
}

/** The peer has stored our log up to `pos`, `items` of it in messages of ours. Call inside a transaction. */
export const noteSent = (store: Store, site: string, pos: number, items: number): void => {
  store.db.query("UPDATE mesh_peers SET sentPos = MAX(sentPos, ?), sent = sent + ? WHERE site = ?").run(pos, items, site);
};

/** We have stored the peer's log up to `pos`; `news` of the items were new. Call inside a transaction. */
export const noteReceived = (store: Store, site: string, of: { log: string; pos: number; news: number; nowMs: number }): void => {
  store.db
    .query("UPDATE mesh_peers SET receivedLog = ?, receivedPos = ?, received = received + ?, lastSeenMs = ? WHERE site = ?")
    .run(of.log, of.pos, of.news, of.nowMs, site);
};

export const noteRefused = (store: Store, site: string, why: MeshRefusal, count: number): void => {
  store.db
    .query("INSERT INTO mesh_refused VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET count = count + excluded.count")
    .run(site, why, count);
};

export function refusedOf(store: Store, site: string): Partial<Record<MeshRefusal, number>> {
  const rows = store.db
    .query<{ why: MeshRefusal; count: number }, [string]>("SELECT why, count FROM mesh_refused WHERE peer = ?")
    .all(site);
  return Object.fromEntries(rows.map(({ why, count }) => [why, count]));
}

/** The CAs by which an origin that is no peer is known. */
export const introducedCas = (store: Store, site: string): { pem: string; hash: string }[] =>
  store.db
    .query<{ pem: string; hash: string }, [string]>("SELECT DISTINCT ca AS pem, caHash AS hash FROM mesh_sites WHERE site = ?")
    .all(site);

/** Remembers who introduced whom. False when `via` has introduced `most` already. Call inside a transaction. */
export function addIntroduced(store: Store, of: IntroducedSite & { pem: string }, most: number): boolean {
  if (store.db.query("SELECT 1 FROM mesh_sites WHERE site = ? AND caHash = ? AND via = ?").get(of.site, of.ca, of.via)) return true;
  const { n } = store.db.query<{ n: number }, [string]>("SELECT COUNT(*) AS n FROM mesh_sites WHERE via = ?").get(of.via)!;
  if (n >= most) return false;
  store.db.query("INSERT INTO mesh_sites VALUES (?, ?, ?, ?, ?)").run(of.site, of.ca, of.pem, of.via, of.introducedMs);
  return true;
}

export const listIntroduced = (store: Store): IntroducedSite[] =>
  store.db
    .query<IntroducedSite, []>(
      `SELECT site, caHash AS ca, via, introducedMs FROM mesh_sites
       WHERE NOT EXISTS (SELECT 1 FROM mesh_peers p WHERE p.site = mesh_sites.site) ORDER BY site, introducedMs`,
    )
    .all();

export const addInvite = (store: Store, of: { hash: string; operator: string; createdMs: number; expiresMs: number }): void => {
  store.db.run("DELETE FROM mesh_invites WHERE expiresMs < ?", [of.createdMs]);
  store.db.query("INSERT INTO mesh_invites VALUES ($hash, $operator, $createdMs, $expiresMs)").run(of);
};

/** Takes an invitation, which is then gone. Returns who made it. Call inside a transaction. */
export function takeInvite(store: Store, hash: string, nowMs: number): { operator: string } | undefined {
  const row = store.db
    .query<{ operator: string; expiresMs: number }, [string]>("DELETE FROM mesh_invites WHERE hash = ? RETURNING operator, expiresMs")
    .get(hash);
  return row && row.expiresMs > nowMs ? { operator: row.operator } : undefined;
}
