// Devices that are away: how they went, from where they last spoke, and blackouts, in which many went at once.
import type { Device } from "@picket/protocol/rest";
import type { Store } from "./database.ts";
import type { Migrations } from "./migration.ts";

export const absenceMigrations: Migrations = [
  `
  CREATE TABLE absences (
    device TEXT PRIMARY KEY,
    how TEXT NOT NULL,
    -- When it went: the end of its connection where that was seen, else its last sign of life.
    goneMs INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE addresses (device TEXT PRIMARY KEY, address TEXT NOT NULL) STRICT, WITHOUT ROWID;
  CREATE TABLE blackouts (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    firstMs INTEGER NOT NULL,
    lastMs INTEGER NOT NULL,
    -- Devices that were there before.
    base INTEGER NOT NULL,
    toldMembers INTEGER NOT NULL DEFAULT 0,
    toldBack INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE blackout_members (
    device TEXT NOT NULL,
    blackout INTEGER NOT NULL REFERENCES blackouts (id),
    how TEXT NOT NULL,
    backMs INTEGER,
    PRIMARY KEY (blackout, device)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX blackout_members_away ON blackout_members (device) WHERE backMs IS NULL;
  `,
];

export type Away = NonNullable<Device["away"]>;
export type How = Away["how"];

/** Notes that a device went. What was seen of its connection says more than its silence, which never replaces it. */
export const noteAbsence = (store: Store, device: string, how: How, goneMs: number): void => {
  store.db.query(`INSERT ${how === "silent" ? "OR IGNORE" : "OR REPLACE"} INTO absences VALUES (?, ?, ?)`).run(device, how, goneMs);
};

/** It is back. Returns how it had gone. */
export function endAbsence(store: Store, device: string, nowMs: number): { how: How; goneMs: number; blackout: boolean } | undefined {
  const row = store.db
    .query<{ how: How; goneMs: number }, [string]>("DELETE FROM absences WHERE device = ? RETURNING how, goneMs")
    .get(device);
  if (!row) return undefined;
  const blackout =
    store.db.query("UPDATE blackout_members SET backMs = ? WHERE device = ? AND backMs IS NULL").run(nowMs, device).changes > 0;
  return { ...row, blackout };
}

export const saveAddress = (store: Store, device: string, address: string): void => {
  store.db.query("INSERT OR REPLACE INTO addresses VALUES (?, ?)").run(device, address);
};

/** How a device that is not there went; undefined while it is there. */
export function awayOf(store: Store, device: string): Away | undefined {
  const row = store.db.query<{ how: How; goneMs: number }, [string]>("SELECT how, goneMs FROM absences WHERE device = ?").get(device);
  if (!row) return undefined;
  const blackout = store.db
    .query<{ devices: number; back: number }, [string]>(
      `SELECT COUNT(*) AS devices, SUM(backMs IS NOT NULL) AS back FROM blackout_members
       WHERE blackout = (SELECT blackout FROM blackout_members WHERE device = ? AND backMs IS NULL) HAVING COUNT(*) > 0`,
    )
    .get(device);
  return { how: row.how, sinceMs: row.goneMs, ...(blackout ? { blackout } : {}) };
}

export type Sighting = {
  readonly device: string;
  readonly presence: Device["presence"];
  readonly lastSeenMs: number;
  /** Null while it is there, or nothing is known but that it is silent. */
  readonly how: How | null;
  readonly goneMs: number | null;
  readonly address: string | null;
  /** An alert was raised about this silence. */
  readonly judged: 0 | 1;
  readonly blackout: number | null;
};

/** Trusted devices that were seen at least once. */
export const sightings = (store: Store): Sighting[] =>
  store.db
    .query<Sighting, []>(
      `SELECT d.id AS device, d.presence, d.lastSeenMs, a.how, a.goneMs, l.address, d.silentSinceMs IS NOT NULL AS judged, m.blackout
       FROM devices d LEFT JOIN absences a ON a.device = d.id LEFT JOIN addresses l ON l.device = d.id
         LEFT JOIN blackout_members m ON m.device = d.id AND m.backMs IS NULL
       WHERE d.trust = 'enrolled' AND d.lastSeenMs IS NOT NULL`,
    )
    .all();

export type Blackout = {
  readonly id: number;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly base: number;
  readonly toldMembers: number;
  readonly toldBack: number;
};

export const openBlackout = (store: Store, of: { firstMs: number; lastMs: number; base: number }): number =>
  Number(store.db.query("INSERT INTO blackouts (firstMs, lastMs, base) VALUES ($firstMs, $lastMs, $base)").run(of).lastInsertRowid);

export function joinBlackout(store: Store, id: number, device: string, how: How, goneMs: number): void {
  store.db.query("INSERT OR REPLACE INTO blackout_members (device, blackout, how) VALUES (?, ?, ?)").run(device, id, how);
  store.db.query("UPDATE blackouts SET lastMs = MAX(lastMs, ?) WHERE id = ?").run(goneMs, id);
}

/** Blackouts of which something is not told yet, or that others may still join. */
export const blackoutsSince = (store: Store, sinceMs: number): Blackout[] =>
  store.db
    .query<Blackout, [number]>(
      `SELECT * FROM blackouts b WHERE lastMs >= ? OR toldMembers > toldBack
       OR toldBack <> (SELECT COUNT(*) FROM blackout_members m WHERE m.blackout = b.id AND backMs IS NOT NULL)`,
    )
    .all(sinceMs);

export const membersOf = (store: Store, id: number): { device: string; how: How; backMs: number | null; address: string | null }[] =>
  store.db
    .query<{ device: string; how: How; backMs: number | null; address: string | null }, [number]>(
      `SELECT m.device, m.how, m.backMs, l.address FROM blackout_members m LEFT JOIN addresses l ON l.device = m.device
       WHERE m.blackout = ? ORDER BY m.device`,
    )
    .all(id);

export const saveTold = (store: Store, id: number, members: number, back: number): void => {
  store.db.query("UPDATE blackouts SET toldMembers = ?, toldBack = ? WHERE id = ?").run(members, back, id);
};
