// What travels: this site's own items and those of others that it passes on, in one log that each peer reads from its own position.
// An item has one row: a higher revision replaces it and moves it to the end, so a peer that was away gets the last word only.
import type { Detection } from "@picket/protocol/alert";
import type { SampleVerdict } from "@picket/protocol/feed";
import { identityOf, type MeshItem, type MeshKind } from "@picket/protocol/mesh";
import { MAX_AGE_MS, MAX_HOPS, MAX_ITEM_BYTES } from "@picket/protocol/mesh-limits";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const meshLogMigrations: Migrations = [
  `
  CREATE TABLE mesh_items (
    pos INTEGER PRIMARY KEY,
    origin TEXT NOT NULL,
    caHash TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    revision INTEGER NOT NULL,
    hops TEXT NOT NULL,
    hopCount INTEGER NOT NULL GENERATED ALWAYS AS (json_array_length(hops)) STORED,
    -- The peer it came from; empty for our own.
    source TEXT NOT NULL,
    -- open: our own, not signed yet, 'content' is the JSON to sign. ready: 'content' is the JWS. gone: let go, only its name is remembered.
    state TEXT NOT NULL CHECK (state IN ('open', 'ready', 'gone')),
    bytes INTEGER NOT NULL,
    storedMs INTEGER NOT NULL,
    -- Last: the columns before it are read without it.
    content TEXT NOT NULL,
    UNIQUE (origin, caHash, kind, id)
  ) STRICT;
  CREATE INDEX mesh_items_by_source ON mesh_items (source, state, pos);
  -- All that decides who is told: the log is looked through without reading what the items say.
  CREATE INDEX mesh_items_waiting ON mesh_items (pos, source, origin, state, hopCount, kind);
  `,
];

export type LogLimits = { readonly keepMs: number; readonly keepItems: number; readonly keepBytes: number };

/** Where the log's next item goes, and the log's name. Made at first use; call inside a transaction. */
export function meshSelf(store: Store): { log: string; nextPos: number } {
  const self = store.db.query<{ log: string; nextPos: number }, []>("SELECT log, nextPos FROM mesh_self").get();
  if (self) return self;
  const fresh = { log: crypto.randomUUID(), nextPos: 1 };
  store.db.query("INSERT INTO mesh_self VALUES (1, $log, $nextPos)").run(fresh);
  return fresh;
}

function takePos(store: Store): number {
  const { nextPos } = meshSelf(store);
  store.db.run("UPDATE mesh_self SET nextPos = nextPos + 1");
  return nextPos;
}

export type ItemName = {
  readonly origin: string;
  readonly caHash: string;
  readonly kind: MeshKind;
  readonly id: string;
  readonly revision: number;
};
export type NewItem = ItemName & {
  readonly hops: readonly string[];
  readonly source: string;
  readonly state: "open" | "ready";
  readonly content: string;
  readonly storedMs: number;
};

/** A detection of this site for the mesh, without what a message has no room for; nothing when there is no peer. Call in the transaction that stores it. */
export function shareAlert(store: Store, detection: Detection, nowMs: number): void {
  if (!store.db.query("SELECT 1 FROM mesh_peers").get()) return;
  const { process: _, ...withoutProcess } = detection;
  const fitting = [detection, { ...detection, tree: [] }, { ...withoutProcess, tree: [] }].find(
    (one) => Buffer.byteLength(JSON.stringify(one)) <= MAX_CONTENT_BYTES,
  );
  if (fitting) shareItem(store, { v: 1, origin: detection.site, iat: Math.floor(nowMs / 1000), kind: "alert", body: fitting }, nowMs);
}

/** What this site's rules found in files, by hash, for the mesh. What they did not find, and what they could not read, stays here. Call in the transaction that stores it. */
export function shareVerdicts(store: Store, site: string, verdicts: readonly SampleVerdict[], nowMs: number): void {
  const found = verdicts.filter(({ matches }) => matches.length > 0);
  if (found.length === 0 || !store.db.query("SELECT 1 FROM mesh_peers").get()) return;
  for (const { sha256, matches } of found) {
    const sure = matches.some(({ severity }) => severity === "high" || severity === "critical");
    const body = {
      sha256,
      verdict: sure ? "malicious" : "suspicious",
      rules: matches.slice(0, 32).map(({ rule }) => rule),
      judgedMs: nowMs,
    } as const;
    shareItem(store, { v: 1, origin: site, iat: Math.floor(nowMs / 1000), kind: "verdict", body }, nowMs);
  }
}

/** Base64 makes four bytes of three, and the signer's certificate comes with it. */
const MAX_CONTENT_BYTES = ((MAX_ITEM_BYTES - 4096) * 3) / 4;

/** Puts something of this site into the log, to be signed soon. Call inside a transaction. */
export function shareItem(store: Store, item: MeshItem, nowMs: number): void {
  const { origin, kind } = item;
  const name = { origin, caHash: "", kind, ...identityOf(item) };
  appendItem(store, { ...name, hops: [origin], source: "", state: "open", content: JSON.stringify(item), storedMs: nowMs });
}

/** Puts an item at the end of the log, in the place of its earlier revision. Call inside a transaction. */
export function appendItem(store: Store, item: NewItem): void {
  const row = { ...item, pos: takePos(store), hops: JSON.stringify(item.hops), bytes: Buffer.byteLength(item.content) };
  store.db
    .query(
      `INSERT OR REPLACE INTO mesh_items (origin, caHash, kind, id, revision, pos, hops, source, state, content, bytes, storedMs)
       VALUES ($origin, $caHash, $kind, $id, $revision, $pos, $hops, $source, $state, $content, $bytes, $storedMs)`,
    )
    .run(row);
}

export type KnownItem = { readonly revision: number; readonly hops: readonly string[]; readonly source: string; readonly content: string };

/** What is remembered of an item, whatever its revision. */
export function knownItem(store: Store, of: Omit<ItemName, "revision">): KnownItem | undefined {
  const row = store.db
    .query<{ revision: number; hops: string; source: string; content: string }, [string, string, string, string]>(
      "SELECT revision, hops, source, content FROM mesh_items WHERE origin = ? AND caHash = ? AND kind = ? AND id = ?",
    )
    .get(of.origin, of.caHash, of.kind, of.id);
  return row ? { ...row, hops: JSON.parse(row.hops) as string[] } : undefined;
}

/** The same item came on a shorter way: whoever told it first with a long list of hops must not keep it from going on. */
export function shortenWay(store: Store, of: ItemName, way: { hops: readonly string[]; source: string }): void {
  store.db
    .query(
      `UPDATE mesh_items SET hops = ?, source = ?, pos = ? WHERE origin = ? AND caHash = ? AND kind = ? AND id = ? AND revision = ? AND state = 'ready'`,
    )
    .run(JSON.stringify(way.hops), way.source, takePos(store), of.origin, of.caHash, of.kind, of.id, of.revision);
}

/** Our own items that wait for their signature, oldest first. */
export const unsignedItems = (store: Store, limit: number): (ItemName & { content: string })[] =>
  store.db
    .query<ItemName & { content: string }, [number]>(
      "SELECT origin, caHash, kind, id, revision, content FROM mesh_items WHERE source = '' AND state = 'open' ORDER BY pos LIMIT ?",
    )
    .all(limit);

/** Call inside a transaction. Nothing happens when a higher revision came meanwhile. */
export const putSignature = (store: Store, of: ItemName, jws: string): void => {
  store.db
    .query(
      `UPDATE mesh_items SET state = 'ready', content = ?, bytes = ?
       WHERE origin = ? AND caHash = ? AND kind = ? AND id = ? AND revision = ? AND state = 'open'`,
    )
    .run(jws, Buffer.byteLength(jws), of.origin, of.caHash, of.kind, of.id, of.revision);
};

export type LogRow = { readonly pos: number; readonly hops: readonly string[]; readonly jws: string };

// What came from a peer, or was said by it, is not told to it again. Longer ways end here.
const FOR_PEER = `source <> $peer AND origin <> $peer AND state <> 'gone' AND hopCount <= ${MAX_HOPS}`;

/** Items for a peer after `pos`, in order, up to the first that is not signed yet; `upTo` is how far the log was looked through for them. */
export function itemsAfter(store: Store, peer: string, pos: number, limit: number): { items: LogRow[]; upTo: number } {
  const rows = store.db
    .query<{ pos: number; hops: string; state: string; content: string }, { peer: string; pos: number; limit: number }>(
      `SELECT pos, hops, state, content FROM mesh_items WHERE pos IN
         (SELECT pos FROM mesh_items INDEXED BY mesh_items_waiting WHERE pos > $pos AND ${FOR_PEER} ORDER BY pos LIMIT $limit)
       ORDER BY pos`,
    )
    .all({ peer, pos, limit });
  const open = rows.findIndex((row) => row.state === "open");
  const items = open < 0 ? rows : rows.slice(0, open);
  const end = rows.length < limit ? meshSelf(store).nextPos - 1 : rows.at(-1)!.pos;
  return {
    items: items.map((row) => ({ pos: row.pos, hops: JSON.parse(row.hops) as string[], jws: row.content })),
    upTo: open < 0 ? end : rows[open]!.pos - 1,
  };
}

/** How many items wait for a peer. */
export const countAfter = (store: Store, peer: string, pos: number): number =>
  store.db
    .query<{ n: number }, { peer: string; pos: number }>(
      `SELECT COUNT(*) AS n FROM mesh_items INDEXED BY mesh_items_waiting WHERE pos > $pos AND ${FOR_PEER}`,
    )
    .get({ peer, pos })!.n;

export const logSize = (store: Store): { items: number; bytes: number } =>
  store.db
    .query<{ items: number; bytes: number }, []>(
      "SELECT COUNT(*) AS items, COALESCE(SUM(bytes), 0) AS bytes FROM mesh_items WHERE state <> 'gone'",
    )
    .get()!;

/** Most names of items let go that are remembered. */
const MAX_GONE = 500_000;

/**
 * Lets the oldest items go, each source by its own share, so that a peer that floods displaces only itself. What a peer had not got yet
 * is counted as lost for it. Introductions stay: later items mean nothing without them. Call inside a transaction.
 */
export function trimMeshLog(store: Store, limits: LogLimits, nowMs: number): number {
  let gone = 0;
  for (const { source } of store.db.query<{ source: string }, []>("SELECT DISTINCT source FROM mesh_items").all()) {
    const upTo = oldestKept(store, source, limits, nowMs);
    if (upTo === undefined) continue;
    for (const peer of store.db.query<{ site: string; sentPos: number }, []>("SELECT site, sentPos FROM mesh_peers").all()) {
      store.db
        .query(
          `UPDATE mesh_peers SET lost = lost + (SELECT COUNT(*) FROM mesh_items
             WHERE source = $source AND pos > $sentPos AND pos <= $upTo AND kind <> 'site' AND ${FOR_PEER}) WHERE site = $peer`,
        )
        .run({ source, sentPos: peer.sentPos, upTo, peer: peer.site });
    }
    gone += store.db
      .query(
        "UPDATE mesh_items SET state = 'gone', content = '', bytes = 0 WHERE source = ? AND pos <= ? AND kind <> 'site' AND state <> 'gone'",
      )
      .run(source, upTo).changes;
  }
  // Older ones are refused by their age, so their names need no memory.
  store.db.run("DELETE FROM mesh_items WHERE state = 'gone' AND storedMs < ?", [nowMs - MAX_AGE_MS - 86_400_000]);
  store.db
    .query("DELETE FROM mesh_items WHERE pos IN (SELECT pos FROM mesh_items WHERE state = 'gone' ORDER BY pos DESC LIMIT -1 OFFSET ?)")
    .run(MAX_GONE);
  return gone;
}

/** The highest position of a source that its share has no room for. */
function oldestKept(store: Store, source: string, limits: LogLimits, nowMs: number): number | undefined {
  const row = store.db
    .query<{ pos: number | null }, { source: string; beforeMs: number; keepItems: number; keepBytes: number }>(
      `SELECT MAX(pos) AS pos FROM (
         SELECT pos, storedMs, ROW_NUMBER() OVER newest AS n, SUM(bytes) OVER newest AS total
         FROM mesh_items WHERE source = $source AND state <> 'gone' AND kind <> 'site' WINDOW newest AS (ORDER BY pos DESC))
       WHERE storedMs < $beforeMs OR n > $keepItems OR total > $keepBytes`,
    )
    .get({ source, beforeMs: nowMs - limits.keepMs, keepItems: limits.keepItems, keepBytes: limits.keepBytes });
  return row?.pos ?? undefined;
}
