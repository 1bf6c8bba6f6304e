// A site for the API's tests: the real store and certificates, wired as main.ts does, on a free port.
import type { Alert, Detection } from "@picket/protocol/alert";
import type { SiteStatus } from "@picket/protocol/rest";
import { Changes } from "../../changes.ts";
import { exceptionsOf } from "../../exceptions.ts";
import { incidentsPort } from "../../incidents.ts";
import { Imports } from "../../ioc/imports.ts";
import { iocLists } from "../../iocs.ts";
import { createAuthority, createIdentity, readAuthority } from "../../pki/certificates.ts";
import { Refused } from "../../refused.ts";
import { SiteRules } from "../../rules.ts";
import { alertCounts, getAlert, judgeAlert, listAlerts, recurrenceOf, upsertAlert } from "../../store/alerts.ts";
import { Commands } from "../../store/commands.ts";
import { Credentials } from "../../store/credentials.ts";
import type { Store } from "../../store/database.ts";
import { addCertificate, addDevice, deviceCounts, getDevice, listDevices, revokeDevice } from "../../store/devices.ts";
import { Keys } from "../../store/keys.ts";
import { ledgerHours, ledgerTotals } from "../../store/ledger.ts";
import { batchesWith, logRange, logTotals, offsetSince, readBatches, readBatchesOf } from "../../store/log.ts";
import { Packs } from "../../store/packs.ts";
import { shownSample } from "../../store/samples.ts";
import { openStore } from "../../store/schema.ts";
import { type Keyring, makeKeyring, SITE, signKeyList } from "../../testing/samples.ts";
import { Vitals } from "../../vitals.ts";
import type { ApiDeps } from "../deps.ts";
import { type ApiOptions, startApi } from "../server.ts";

export const logPort = (store: Store): ApiDeps["log"] => ({
  read: ({ device, offset, limit }) =>
    device === undefined ? readBatches(store, offset, limit) : readBatchesOf(store, device, offset, limit),
  offsetSince: (sinceMs) => offsetSince(store, sinceMs),
  range: (of) => logRange(store, of),
  holding: (of) => batchesWith(store, of),
});

export type Site = AsyncDisposable & {
  readonly store: Store;
  readonly keyring: Keyring;
  readonly ca: string;
  readonly port: number;
  readonly url: string;
  readonly token: string;
  readonly credentials: Credentials;
  readonly faults: unknown[];
  /** Calls with the operator's credential, trusting the site's CA. */
  readonly call: (method: string, path: string, body?: unknown) => Promise<Response>;
  readonly putAlert: (detection: Detection) => Alert;
  readonly changes: Changes;
};

/** One enrolled device, gw-014, and operator anna with a published key. */
export async function startSite(of: { limits?: ApiOptions["limits"]; deps?: Partial<ApiDeps> } = {}): Promise<Site> {
  const nowMs = () => Date.now();
  const store = openStore(":memory:");
  const keyring = await makeKeyring();
  const authority = await readAuthority(await createAuthority(SITE, nowMs()));
  const server = await createIdentity(authority, { name: SITE, role: "site", hosts: ["127.0.0.1"], nowMs: nowMs() });
  const credentials = new Credentials(store);
  const token = credentials.create("anna", nowMs());
  const keys = new Keys(store, { site: SITE, anchor: keyring.anchor });
  await keys.put(await signKeyList(keyring, { version: 1 }), "anna", nowMs());
  const commands = new Commands(store, { site: SITE, keys: () => keys.current()?.list });
  const packs = new Packs(store, { site: SITE, keys: () => keys.current()?.list, knows: (id) => getDevice(store, id) !== undefined });
  const rules = new SiteRules(store, () => packs.list());
  const changes = new Changes();
  addDevice(store, "gw-014", nowMs());
  addCertificate(store, { serial: "1", role: "device", name: "gw-014", issuedMs: 0, notAfterMs: nowMs() + 30 * 86_400_000 });
  const faults: unknown[] = [];
  const deps: ApiDeps = {
    version: "1.2.3",
    nowMs,
    report: (error) => faults.push(error),
    credentials,
    siteStatus: () => siteStatus(store),
    hostFacts: () => ({ certificateExpiresMs: server.notAfterMs, disk: { freeBytes: 2 ** 40, totalBytes: 2 ** 41 } }),
    intake: () => ({
      outage: undefined,
      throttled: [],
      quota: { delayed: 0, refusedConnections: 0 },
      deadLetters: [],
      letGo: { events: 0, unread: 0 },
      alerts: 0,
    }),
    health: () => ({
      ...{ nowMs: nowMs(), startedMs: nowMs(), version: "1.2.3", certificateExpiresMs: server.notAfterMs },
      ...{ outage: undefined, online: 0, storedMs: undefined, canaryS: undefined },
    }),
    vitals: () => new Vitals().signs(),
    mayScrape: () => false,
    enrolment: {
      ca: () => authority.pem,
      enroll: async () => {
        throw new Refused("forbidden", "This token is not known here");
      },
      renew: async () => {
        throw new Refused("forbidden", "This proof is not the key holder's");
      },
      createToken: ({ ttlS }) => ({ token: "picket1.x", expiresMs: nowMs() + ttlS * 1000 }),
    },
    installer: { trust: () => ({ anchor: keyring.anchor, keys: keys.current()?.jws }), release: () => undefined, file: () => undefined },
    devices: {
      list: () => listDevices(store),
      get: (id) => getDevice(store, id),
      upToDate: async () => {},
      clocks: () => new Map(),
      ledger: (id, sinceMs) => ({ totals: ledgerTotals(store, id), hours: ledgerHours(store, id, sinceMs) }),
      revoke: (id) => void revokeDevice(store, id, nowMs()),
    },
    alerts: {
      list: (filter) => listAlerts(store, filter),
      get: (id) => getAlert(store, id),
      seen: (id) => recurrenceOf(store, id),
      judge: (id, judgement, operator) => judgeAlert(store, id, judgement, { operator, nowMs: nowMs() }),
    },
    incidents: incidentsPort({ site: SITE, store, changes, nowMs }),
    log: logPort(store),
    commands: {
      submit: (submission) => commands.submit({ ...submission, nowMs: nowMs() }),
      get: (jti) => commands.get(jti),
      ofDevice: (device) => commands.ofDevice(device),
    },
    keys: { put: (jws, operator) => keys.put(jws, operator, nowMs()) },
    rules: { list: () => rules.list(nowMs()), findings: () => rules.findings(nowMs()) },
    packs: { list: () => packs.list(), put: (jws, operator) => packs.put(jws, operator, nowMs()) },
    exceptions: exceptionsOf({ site: SITE, store, changes, nowMs, changed: () => {} }),
    samples: { shown: (sha256) => shownSample(store, sha256) },
    iocs: iocLists({ store, imports: new Imports({ store, nowMs, changed: () => {} }), loaded: () => new Set(), changed: () => {} }),
    sinks: { status: () => [], test: async (name) => (name === "soc" ? { ok: true, detail: "delivered" } : undefined) },
    mesh: noMesh(),
    changes,
    ...of.deps,
  };
  const limits = of.limits === undefined ? {} : { limits: of.limits };
  const api = await startApi(deps, { host: "127.0.0.1", port: 0, cert: server.certificate, key: server.key, ...limits });
  const url = `https://127.0.0.1:${api.port}`;
  return {
    store,
    keyring,
    ca: authority.pem,
    port: api.port,
    url,
    token,
    credentials,
    faults,
    changes,
    call: (method, path, body) =>
      fetch(url + path, {
        method,
        headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        tls: { ca: authority.pem },
      }),
    putAlert: (of) => {
      store.commitNow(() => upsertAlert(store, of, "g", nowMs()));
      return getAlert(store, of.id)!;
    },
    async [Symbol.asyncDispose]() {
      await api[Symbol.asyncDispose]();
      store[Symbol.dispose]();
    },
  };
}

const noMesh = (): ApiDeps["mesh"] => {
  const refuse = () => {
    throw new Refused("conflict", "This site has no peer");
  };
  return {
    status: () => ({ site: SITE, log: { items: 0, bytes: 0 }, peers: [], sites: [] }),
    invite: ({ ttlS }) => ({ token: "picketmesh1.x", expiresMs: Date.now() + ttlS * 1000 }),
    ...{ join: refuse, accept: refuse, shareIoc: refuse },
    ...{ change: () => undefined, remove: async () => false, iocs: () => [], verdicts: () => [] },
  };
};

const siteStatus = (store: Store): SiteStatus => ({
  site: SITE,
  version: "1.2.3",
  startedMs: 0,
  devices: deviceCounts(store),
  alerts: alertCounts(store),
  log: logTotals(store),
  detector: { connected: true, lagBatches: 0, cursor: 1, refused: 0 },
  deadLetters: 0,
  sinks: [],
  keysVersion: 1,
  anchor: "x".repeat(43),
});
