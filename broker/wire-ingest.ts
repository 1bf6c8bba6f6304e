// What comes from devices on its way to the log: quotas, the disk, and the alerts about both.
import { statfsSync } from "node:fs";
import { hourOf, raise } from "./broker-alert.ts";
import type { Changes } from "./changes.ts";
import type { Given } from "./given.ts";
import { Disk } from "./ingest/disk.ts";
import { createIngest, type Ingest, type IngestPorts } from "./ingest/ingest.ts";
import type { Ledger } from "./ledger/ledger.ts";
import { Quotas } from "./quota/quotas.ts";
import { probeWrite, reusableBytes } from "./store/database.ts";
import type { Vitals } from "./vitals.ts";

export const DISK_MS = 1000;
export const FLOOD_MS = 10_000;
/** A device held back for this long without a pause is not just catching up. */
const FLOOD_AFTER_MS = 60_000;

export type Intake = {
  readonly ingest: Ingest;
  readonly disk: Disk;
  readonly quotas: Quotas;
  /** Raises the alert about devices that were held back for long. Call it every `FLOOD_MS`. */
  sweepFloods(): Promise<void>;
};

export function startIntake(
  given: Given,
  of: {
    changes: Changes;
    ledger: Ledger;
    vitals: Vitals;
    stored: () => void;
    pace: NonNullable<IngestPorts["pace"]>;
    report: (error: unknown) => void;
  },
): Intake {
  const { config, store } = given;
  const quotas = new Quotas({
    limits: config.quota,
    nowMs: () => performance.now(),
    later: (ms, wake) => {
      const timer = setTimeout(wake, ms);
      return { [Symbol.dispose]: () => clearTimeout(timer) };
    },
  });
  const disk = new Disk({
    reserveBytes: config.log.reserveBytes,
    space: () => {
      const { bavail, bsize } = statfsSync(config.dir);
      return { freeBytes: bavail * bsize, reusableBytes: reusableBytes(store) };
    },
    probe: () => store.commitSoon(() => probeWrite(store)),
    nowMs: given.nowMs,
    tell: (outage) => tellOutage(given, of.changes, outage),
    report: of.report,
  });
  const ingest = createIngest({
    store,
    nowMs: given.nowMs,
    disk: { room: () => of.vitals.withhold("disk", disk.room()), failed: (error) => disk.failed(error) },
    stored: (batch) => {
      of.vitals.stored(batch);
      of.ledger.stored(batch);
      of.stored();
    },
    pace: (firstMs) => of.vitals.withhold("pace", of.pace(firstMs)),
    taken: (device, events) => quotas.spend(device, { events }),
    deadLetter: (device, reason, topic, payload) => {
      quotas.rejected(device);
      if (topic === "events") of.ledger.refused(device, payload, given.nowMs());
      return raiseNow(given, of.changes, {
        rule: "deadLetter",
        device,
        summary: (count) => `${count} messages of ${device} within an hour could not be read. The last: ${reason.slice(0, 300)}`,
      });
    },
  });
  return { ingest, disk, quotas, sweepFloods: () => sweepFloods(given, of.changes, quotas) };
}

/** Raises the alert about devices that were held back for over a minute without a pause. */
export async function sweepFloods(given: Given, changes: Changes, quotas: Quotas): Promise<void> {
  const floods = quotas.throttled().filter(({ forMs }) => forMs >= FLOOD_AFTER_MS);
  if (floods.length === 0) return;
  const tell = await given.store.commitSoon(() =>
    floods.map(({ device, delayed }) =>
      raiseNow(given, changes, {
        rule: "flood",
        device,
        add: 0,
        summary: () =>
          `${device} sends more than it may for over a minute; ${delayed} of its messages had to wait since the broker started. Nothing is lost: they wait on the device.`,
      }),
    ),
  );
  for (const told of tell) told();
}

/** Inside a transaction; the result tells it afterwards. */
function raiseNow(
  { site, store, nowMs }: Given,
  changes: Changes,
  of: { rule: "deadLetter" | "flood"; device: string; add?: number; summary: (count: number) => string },
): () => void {
  const { id, change } = raise(store, { add: 1, ...of, site: site.site, anchorMs: hourOf(nowMs()), nowMs: nowMs() });
  return () => {
    if (change !== "unchanged") changes.tell({ kind: "alert", id, created: change === "created" });
  };
}

async function tellOutage(
  { site, store, nowMs, log }: Given,
  changes: Changes,
  outage: { sinceMs: number; why: string; untilMs?: number },
): Promise<void> {
  const { sinceMs, why, untilMs } = outage;
  const since = new Date(sinceMs).toISOString();
  const summary =
    untilMs === undefined
      ? `Since ${since} events wait on their devices: ${why}.`
      : `For ${Math.round((untilMs - sinceMs) / 1000)} s from ${since} events waited on their devices: ${why}. They are taken again.`;
  if (untilMs === undefined) log("error", "events wait on their devices", { why });
  else log("info", "events are taken again", { afterMs: untilMs - sinceMs });
  const add = untilMs === undefined ? 1 : 0;
  const of = {
    site: site.site,
    rule: "disk",
    device: site.site,
    anchorMs: hourOf(sinceMs),
    nowMs: nowMs(),
    add,
    summary: () => summary,
  } as const;
  const { id, change } = await store.commitSoon(() => raise(store, of));
  changes.tell({ kind: "alert", id, created: change === "created" });
}
