// What the API may ask of the rest.
import { createHash, timingSafeEqual } from "node:crypto";
import { statfs } from "node:fs/promises";
import type { SiteStatus } from "@picket/protocol/rest";
import type { ApiDeps, MeshPort } from "./api/deps.ts";
import type { Changes } from "./changes.ts";
import type { Enrolment } from "./enroll/enroll.ts";
import type { ExceptionsPort } from "./exceptions.ts";
import type { Given } from "./given.ts";
import { incidentsPort } from "./incidents.ts";
import { openDist } from "./installer/dist.ts";
import type { IocsPort } from "./iocs.ts";
import type { Ledger } from "./ledger/ledger.ts";
import type { Outbox } from "./outbox.ts";
import pkg from "./package.json" with { type: "json" };
import { readCertificateEnd } from "./pki/peer.ts";
import type { Sinks } from "./sinks/sinks.ts";
import { countAlerts, getAlert, judgeAlert, listAlerts, recurrenceOf } from "./store/alerts.ts";
import type { Commands } from "./store/commands.ts";
import { Credentials } from "./store/credentials.ts";
import { deadLetterCounts } from "./store/dead-letters.ts";
import { deviceCounts, getDevice, listCanaries, listDevices } from "./store/devices.ts";
import type { Keys } from "./store/keys.ts";
import { ledgerClocks, ledgerHours, ledgerTotals } from "./store/ledger.ts";
import { batchesWith, logLetGo, logRange, offsetSince, readBatches, readBatchesOf } from "./store/log.ts";
import type { Packs } from "./store/packs.ts";
import { shownSample } from "./store/samples.ts";
import type { Vitals } from "./vitals.ts";
import type { Intake } from "./wire-ingest.ts";

/** Devices that `picket doctor` may hear of; more are counted. */
const MAX_DEAD_DEVICES = 1000;

type ApiParts = {
  readonly startedMs: number;
  readonly vitals: Vitals;
  readonly intake: Intake;
  readonly enrolment: Enrolment;
  readonly commands: Commands;
  readonly keys: Keys;
  readonly packs: Packs;
  readonly outbox: Outbox;
  readonly exceptions: ExceptionsPort;
  readonly iocs: IocsPort;
  readonly rules: ApiDeps["rules"] & { packsChanged(): void };
  readonly sinks: Sinks;
  readonly mesh: MeshPort;
  readonly ledger: Ledger;
  readonly changes: Changes;
  readonly status: () => SiteStatus;
  readonly report: (error: unknown) => void;
};

export function apiDeps({ config, site, store, nowMs }: Given, parts: ApiParts): ApiDeps {
  const {
    startedMs,
    vitals,
    intake,
    enrolment,
    commands,
    keys,
    packs,
    outbox,
    exceptions,
    iocs,
    rules,
    sinks,
    mesh,
    ledger,
    changes,
    status,
    report,
  } = parts;
  return {
    version: pkg.version,
    nowMs,
    report,
    credentials: new Credentials(store),
    siteStatus: status,
    hostFacts: async () => {
      const disk = await statfs(config.dir);
      const size = { freeBytes: disk.bavail * disk.bsize, totalBytes: disk.blocks * disk.bsize };
      return { certificateExpiresMs: readCertificateEnd(site.broker.certificate), disk: size };
    },
    intake: () => ({
      outage: intake.disk.outage,
      throttled: intake.quotas.throttled(),
      quota: intake.quotas.totals(),
      deadLetters: deadLetterCounts(store, MAX_DEAD_DEVICES),
      letGo: logLetGo(store),
      alerts: countAlerts(store),
    }),
    health: () => ({
      ...{ nowMs: nowMs(), startedMs, version: pkg.version, certificateExpiresMs: readCertificateEnd(site.broker.certificate) },
      ...{ outage: intake.disk.outage, online: deviceCounts(store).online, storedMs: vitals.signs().storedMs },
      canaryS: listCanaries(store).reduce<number | undefined>((least, { canaryS }) => Math.min(least ?? canaryS, canaryS), undefined),
    }),
    vitals: () => vitals.signs(),
    mayScrape: (token) => isTokenOf(config.metrics.tokenSha256, token),
    enrolment: { ...enrolment, ca: () => site.ca.certificate },
    installer: { ...openDist(config.dist), trust: () => ({ anchor: site.anchor, keys: keys.current()?.jws }) },
    devices: {
      list: () => listDevices(store),
      get: (id) => getDevice(store, id),
      upToDate: () => ledger.flush(),
      clocks: () => new Map(ledgerClocks(store).map(({ device, offsetMs }) => [device, offsetMs])),
      ledger: (id, sinceMs) => ({ totals: ledgerTotals(store, id), hours: ledgerHours(store, id, sinceMs) }),
      revoke: (id) => void enrolment.revoke(id),
    },
    alerts: {
      list: (filter) => listAlerts(store, filter),
      get: (id) => getAlert(store, id),
      seen: (id) => recurrenceOf(store, id),
      judge: (id, judgement, operator) => {
        const alert = judgeAlert(store, id, judgement, { operator, nowMs: nowMs() });
        if (alert) changes.tell({ kind: "alert", id, created: false });
        return alert;
      },
    },
    incidents: incidentsPort({ site: site.site, store, changes, nowMs }),
    log: {
      read: ({ offset, device, limit }) =>
        device === undefined ? readBatches(store, offset, limit) : readBatchesOf(store, device, offset, limit),
      offsetSince: (sinceMs) => offsetSince(store, sinceMs),
      range: (of) => logRange(store, of),
      holding: (of) => batchesWith(store, of),
    },
    commands: {
      submit: async (of) => {
        const command = await commands.submit({ ...of, nowMs: nowMs() });
        outbox.submitted(command);
        return command;
      },
      get: (jti) => commands.get(jti),
      ofDevice: (device) => commands.ofDevice(device),
    },
    keys: {
      put: async (jws, operator) => {
        const put = await keys.put(jws, operator, nowMs());
        outbox.keysChanged();
        return put;
      },
    },
    packs: {
      list: () => packs.list(),
      put: async (jws, operator) => {
        const pack = await packs.put(jws, operator, nowMs());
        outbox.packChanged(pack);
        if (pack.kind === "rules") rules.packsChanged();
        return pack;
      },
    },
    exceptions,
    iocs,
    samples: { shown: (sha256) => shownSample(store, sha256) },
    rules,
    sinks: { status: () => sinks.status(), test: (name) => sinks.test(name) },
    mesh,
    changes,
  };
}

/** Compared in constant time: an answer's time tells nothing of the hash. */
function isTokenOf(sha256: string | undefined, token: string): boolean {
  return sha256 !== undefined && timingSafeEqual(createHash("sha256").update(token).digest(), Buffer.from(sha256, "hex"));
}
