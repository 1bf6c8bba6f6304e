// Devices and their certificates. What the site decided (trust) stands in columns that no heartbeat writes;
// what operators want (isolation) is read from their commands.
import type { Device } from "@picket/protocol/rest";
import type { OnlineStatus } from "@picket/protocol/status";
import { awayOf } from "./absences.ts";
import type { Store } from "./database.ts";
import { coverageOf } from "./ledger.ts";
import type { Migrations } from "./migration.ts";

export const devicesMigrations: Migrations = [
  `
  CREATE TABLE devices (
    id TEXT PRIMARY KEY,
    enrolledMs INTEGER NOT NULL,
    trust TEXT NOT NULL DEFAULT 'enrolled',
    presence TEXT NOT NULL DEFAULT 'never',
    lastSeenMs INTEGER,
    status TEXT,
    -- The interval of silence an alert was raised for; its start is the alert's anchor.
    silentSinceMs INTEGER,
    lostSeen INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE certificates (
    serial TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    name TEXT NOT NULL,
    issuedMs INTEGER NOT NULL,
    notAfterMs INTEGER NOT NULL,
    revokedMs INTEGER
  ) STRICT;
  CREATE INDEX certificates_by_name ON certificates (name, role);
  `,
  // When the last canary of the device was received that the detector saw.
  "ALTER TABLE devices ADD COLUMN canaryMs INTEGER",
];

export type Presence = Device["presence"];
export type CertificateRow = {
  readonly serial: string;
  readonly role: string;
  readonly name: string;
  readonly notAfterMs: number;
  readonly revokedMs: number | null;
};
type Row = {
  id: string;
  enrolledMs: number;
  trust: Device["trust"];
  isolationWanted: number | null;
  presence: Presence;
  lastSeenMs: number | null;
  status: string | null;
  silentSinceMs: number | null;
  lostSeen: number;
  certificateExpiresMs: number | null;
  openAlerts: number;
};

const select = `SELECT d.*,
  (SELECT MAX(notAfterMs) FROM certificates c WHERE c.name = d.id AND c.role = 'device') AS certificateExpiresMs,
  (SELECT COUNT(*) FROM alerts a WHERE a.device = d.id AND a.status = 'open') AS openAlerts,
  (SELECT act = 'isolate' FROM commands k WHERE k.device = d.id AND act IN ('isolate', 'release') ORDER BY seq DESC LIMIT 1) AS isolationWanted
  FROM devices d`;

/** All devices by name. */
export const listDevices = (store: Store): Device[] =>
  store.db
    .query<Row, []>(`${select} ORDER BY id`)
    .all()
    .map((row) => toDevice(store, row));

export function getDevice(store: Store, id: string): Device | undefined {
  const row = store.db.query<Row, [string]>(`${select} WHERE id = ?`).get(id);
  return row ? toDevice(store, row) : undefined;
}

function toDevice(store: Store, row: Row): Device {
  const away = row.presence === "online" ? undefined : awayOf(store, row.id);
  return {
    id: row.id,
    trust: row.trust,
    presence: row.presence,
    ...(away ? { away } : {}),
    enrolledMs: row.enrolledMs,
    ...(row.lastSeenMs === null ? {} : { lastSeenMs: row.lastSeenMs }),
    certificateExpiresMs: row.certificateExpiresMs ?? 0,
    ...(row.status === null ? {} : { status: JSON.parse(row.status) as OnlineStatus }),
    isolationWanted: row.isolationWanted === 1,
    coverage: coverageOf(store, row.id),
    openAlerts: row.openAlerts,
  };
}

/** Adds a device. False when the name is taken. */
export const addDevice = (store: Store, id: string, nowMs: number): boolean =>
  store.db.query("INSERT OR IGNORE INTO devices (id, enrolledMs) VALUES (?, ?)").run(id, nowMs).changes === 1;

export const addCertificate = (
  store: Store,
  of: { serial: string; role: string; name: string; issuedMs: number; notAfterMs: number },
): void => {
  store.db
    .query("INSERT INTO certificates (serial, role, name, issuedMs, notAfterMs) VALUES ($serial, $role, $name, $issuedMs, $notAfterMs)")
    .run(of);
};

export const getCertificate = (store: Store, serial: string): CertificateRow | undefined =>
  store.db
    .query<CertificateRow, [string]>("SELECT serial, role, name, notAfterMs, revokedMs FROM certificates WHERE serial = ?")
    .get(serial) ?? undefined;

/** Revokes a device and every certificate it has. False when there is no such device. */
export function revokeDevice(store: Store, id: string, nowMs: number): boolean {
  const found = store.db.query("UPDATE devices SET trust = 'revoked' WHERE id = ?").run(id).changes === 1;
  if (found)
    store.db.query("UPDATE certificates SET revokedMs = ? WHERE name = ? AND role = 'device' AND revokedMs IS NULL").run(nowMs, id);
  return found;
}

/** A heartbeat: presence and the whole status are replaced. */
export const saveStatus = (store: Store, id: string, status: OnlineStatus, nowMs: number): void => {
  store.db.query("UPDATE devices SET presence = 'online', lastSeenMs = ?, status = ? WHERE id = ?").run(nowMs, JSON.stringify(status), id);
};

export const setPresence = (store: Store, id: string, presence: Presence): boolean =>
  store.db.query("UPDATE devices SET presence = ? WHERE id = ? AND presence <> ?").run(presence, id, presence).changes === 1;

/** Any sign of life. */
export const touchDevice = (store: Store, id: string, nowMs: number): void => {
  store.db.query("UPDATE devices SET lastSeenMs = ? WHERE id = ?").run(nowMs, id);
};

/** The detector saw canaries of these devices. */
export function saveCanaries(store: Store, canaries: readonly { device: string; receivedMs: number }[]): void {
  const save = store.db.query("UPDATE devices SET canaryMs = MAX(COALESCE(canaryMs, 0), $receivedMs) WHERE id = $device");
  for (const canary of canaries) save.run(canary);
}

/** When the detector last saw a canary of each trusted device that is online and has one; `canaryS` is how often it sings. */
export const listCanaries = (store: Store): { id: string; canaryMs: number | null; canaryS: number }[] =>
  store.db
    .query<{ id: string; canaryMs: number | null; canaryS: number }, []>(
      `SELECT id, canaryMs, json_extract(status, '$.canaryS') AS canaryS FROM devices
       WHERE trust = 'enrolled' AND presence = 'online' AND json_extract(status, '$.canaryS') IS NOT NULL`,
    )
    .all();

export type Liveness = {
  readonly id: string;
  readonly presence: Presence;
  readonly lastSeenMs: number;
  readonly silentSinceMs: number | null;
};
export const getLiveness = (store: Store, id: string): Liveness | undefined =>
  store.db.query<Liveness, [string]>("SELECT id, presence, lastSeenMs, silentSinceMs FROM devices WHERE id = ?").get(id) ?? undefined;

export const setSilentSince = (store: Store, id: string, sinceMs: number | null): void => {
  store.db.query("UPDATE devices SET silentSinceMs = ? WHERE id = ?").run(sinceMs, id);
};

export const deviceCounts = (store: Store): { enrolled: number; online: number; isolated: number } =>
  store.db
    .query<{ enrolled: number; online: number; isolated: number }, []>(
      `SELECT COUNT(*) AS enrolled, COALESCE(SUM(presence = 'online'), 0) AS online,
         COALESCE(SUM(json_extract(status, '$.isolation.state') = 'isolated'), 0) AS isolated FROM devices WHERE trust = 'enrolled'`,
    )
    .get()!;
