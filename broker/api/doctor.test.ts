import type { MeshPeer } from "@picket/protocol/mesh";
import type { Device, SinkStatus, SiteStatus } from "@picket/protocol/rest";
import type { OnlineStatus } from "@picket/protocol/status";
import { expect, test } from "vitest";
import { type DoctorFacts, diagnose } from "./doctor.ts";

const DAY_MS = 86_400_000;
const nowMs = 1_800_000_000_000;

const status: OnlineStatus = {
  v: 1,
  state: "online",
  timeMs: nowMs,
  boot: "7b9c1c9e-2f0c-4f7e-9d7e-0123456789ab",
  epoch: "k3m9x0qa",
  version: "1.0.0",
  arch: "arm64",
  kernel: "6.12",
  uptimeS: 1,
  capabilities: [{ name: "exec", level: "live", why: "tracepoints" }],
  isolation: { state: "off" },
  keysVersion: 4,
  produced: 1,
  lost: { kernel: 0, shed: 0, buffer: 0 },
  buffer: { events: 0, bytes: 0 },
  epochs: [],
  rssBytes: 1,
  cpuS: 1,
};
const device = (change: Partial<Device> = {}): Device => ({
  id: "gw-014",
  trust: "enrolled",
  presence: "online",
  enrolledMs: 0,
  lastSeenMs: nowMs,
  certificateExpiresMs: nowMs + 20 * DAY_MS,
  status,
  isolationWanted: false,
  coverage: { stored: 100, lost: 0, ratio: 1 },
  openAlerts: 0,
  ...change,
});
const site = (change: Partial<SiteStatus> = {}): SiteStatus => ({
  site: "dock",
  version: "1.0.0",
  startedMs: 0,
  devices: { enrolled: 1, online: 1, isolated: 0 },
  alerts: { open: 0, low: 0, medium: 0, high: 0, critical: 0 },
  log: { batches: 0, events: 0, bytes: 0, nextOffset: 1 },
  detector: { connected: true, lagBatches: 0, cursor: 1, refused: 0 },
  deadLetters: 0,
  sinks: [],
  keysVersion: 4,
  anchor: "x",
  ...change,
});
const sink = (change: Partial<SinkStatus>): Partial<SiteStatus> => ({
  sinks: [{ name: "soc", kind: "webhook", url: "https://soc.example/", queued: 0, delivered: 0, failed: 0, ...change }],
});
const peer: MeshPeer = {
  ...{ site: "south", state: "connected", ca: "x".repeat(43), joinedMs: 0, by: "anna", lastSeenMs: nowMs },
  ...{ lag: 3, sent: 1, received: 1, lost: 0, refused: { replayed: 1 }, muted: false },
};
type Change = {
  intake?: Partial<DoctorFacts["intake"]>;
  site?: Partial<SiteStatus>;
  device?: Partial<Device>;
  host?: Partial<DoctorFacts["host"]>;
  peer?: Partial<MeshPeer>;
  health?: Partial<DoctorFacts["health"]>;
  clockMs?: number;
  exceptions?: DoctorFacts["exceptions"];
  iocs?: DoctorFacts["iocs"];
  lastDay?: { stored: number; lost: number };
};
const facts = (change: Change): DoctorFacts => ({
  nowMs,
  site: site(change.site),
  devices: [device(change.device)],
  host: { certificateExpiresMs: nowMs + 900 * DAY_MS, disk: { freeBytes: 2 ** 35, totalBytes: 2 ** 36 }, ...change.host },
  intake: {
    outage: undefined,
    throttled: [],
    quota: { delayed: 0, refusedConnections: 0 },
    deadLetters: [],
    letGo: { events: 0, unread: 0 },
    alerts: 0,
    ...change.intake,
  },
  peers: [{ ...peer, ...change.peer }],
  exceptions: change.exceptions ?? [],
  iocs: change.iocs ?? [],
  health: {
    ...{ nowMs, startedMs: nowMs - DAY_MS, version: "1.0.0", certificateExpiresMs: nowMs + DAY_MS, outage: undefined },
    ...{ online: 1, storedMs: nowMs, canaryS: 60, ...change.health },
  },
  clocks: new Map([["gw-014", change.clockMs ?? 0]]),
  lastDay: new Map(change.lastDay ? [["gw-014", change.lastDay]] : []),
});

const made = (change: Partial<DoctorFacts["exceptions"][number]>): DoctorFacts["exceptions"][number] => ({
  ...{ id: 3, rule: "r-1", where: { Image: ["/usr/bin/rsync"] }, devices: [], reason: "backup", operator: "anna" },
  ...{ createdMs: nowMs - 20 * DAY_MS, expiresMs: nowMs + DAY_MS, state: "holds", used: 0, ...change },
});

test.each([
  ["an exception that hid nothing for long", made({}), /Exception 3 \(rule r-1\) has hidden nothing/],
  ["one that is used", made({ used: 4, lastUsedMs: nowMs - DAY_MS }), undefined],
  ["a new one", made({ createdMs: nowMs - DAY_MS }), undefined],
  ["one that expired", made({ state: "expired", expiresMs: nowMs - DAY_MS, used: 4 }), /Exception 3 \(rule r-1\) has expired/],
  ["one that expired and had hidden nothing", made({ state: "expired", expiresMs: nowMs - DAY_MS }), undefined],
  ["one that was removed", made({ state: "removed", endedMs: nowMs - DAY_MS, used: 4 }), undefined],
])("%s", (_, exception, words) => {
  const findings = diagnose(facts({ exceptions: [exception] })).filter(({ level }) => level !== "ok");
  if (words === undefined) expect(findings).toEqual([]);
  else expect(findings.map(({ what }) => what).join()).toMatch(words);
});

test("a site with nothing wrong says so", () => {
  expect(diagnose(facts({}))).toEqual([{ level: "ok", what: "Nothing is wrong: 1 device, all covered." }]);
});

const garbage = { device: "gw-014", count: 2, lastMs: 0, lastTopic: "events", lastReason: "no header" };
const flood = { device: "gw-014", forMs: 130_000, delayed: 7, refusedConnections: 0 };
const lossy = { stored: 900, lost: 100, ratio: 0.9 };
const isolated = { ...status, isolation: { state: "isolated" as const } };
const weak = { ...status, capabilities: [{ name: "dns", level: "off" as const, why: "no tracepoint", todo: "update the kernel" }] };

test.each([
  ["no detector", { site: { detector: { connected: false, lagBatches: 9, cursor: 1, refused: 0 } } }, "error", "No detector is connected"],
  ["a late detector", { site: { detector: { connected: true, lagBatches: 900, cursor: 1, refused: 0 } } }, "warning", "900 batches behind"],
  [
    "unread events",
    { site: { detector: { connected: true, lagBatches: 0, cursor: 1, refused: 3 } } },
    "warning",
    "could not read 3 events",
  ],
  ["dead letters", { intake: { deadLetters: [garbage] } }, "warning", "2 messages from gw-014 could not be read"],
  [
    "a disk that takes no events",
    { intake: { outage: { sinceMs: 0, why: "only 3 MiB are free" } } },
    "error",
    "events wait on their devices: only 3 MiB are free",
  ],
  ["a device that floods", { intake: { throttled: [flood] } }, "warning", "gw-014 sends more than it may for 2 min: 7"],
  ["a device that dials", { intake: { throttled: [{ ...flood, forMs: 0, refusedConnections: 3 }] } }, "warning", "refused 3 times"],
  ["events let go unread", { intake: { letGo: { events: 9, unread: 4 } } }, "warning", "4 events left the log before"],
  ["alerts nobody closes", { intake: { alerts: 60_000 } }, "warning", "60000 alerts are kept"],
  ["no keys", { site: { keysVersion: 0 } }, "warning", "published no key list"],
  [
    "a device that refuses its settings",
    { device: { status: { ...status, packs: [{ kind: "settings", dev: "*", version: 3, refused: { version: 4, why: "wallpaper" } }] } } },
    "warning",
    "gw-014 refuses version 4 of its settings: wallpaper",
  ],
  ["a device with old keys", { device: { status: { ...status, keysVersion: 3 } } }, "warning", "gw-014 obeys key list 3, the site has 4"],
  [
    "a mesh peer that is away",
    { peer: { state: "away", lastSeenMs: nowMs - DAY_MS, lastError: "no answer" } },
    "warning",
    "away for 24 h: no answer",
  ],
  ["a mesh peer that left", { peer: { state: "left" } }, "warning", "south has left"],
  ["a mesh peer that Picket limited", { peer: { itemsPerS: 1, limitedBy: "picket" } }, "warning", "because of what it sent"],
  ["items that a peer never got", { peer: { lost: 7 } }, "warning", "7 items went before"],
  ["a full disk", { host: { disk: { freeBytes: 1 << 20, totalBytes: 2 ** 36 } } }, "error", "only 1 MiB left"],
  ["a filling disk", { host: { disk: { freeBytes: 500 << 20, totalBytes: 2 ** 36 } } }, "warning", "has 500 MiB left"],
  ["an old certificate", { host: { certificateExpiresMs: nowMs + 3 * DAY_MS } }, "warning", "broker's certificate expires in 3 days"],
  ["a dead certificate", { host: { certificateExpiresMs: nowMs - 1 } }, "error", "broker's certificate has expired"],
  [
    "an offline device",
    { device: { presence: "offline", lastSeenMs: nowMs - 600_000 } },
    "error",
    "gw-014 is offline, last seen 10 min ago",
  ],
  ["a stopped agent", { device: { presence: "stopped" } }, "warning", "agent on gw-014 was stopped"],
  ["a device that never came", { device: { presence: "never" } }, "warning", "never connected"],
  [
    "loss",
    { device: { coverage: lossy }, lastDay: { stored: 97, lost: 3 } },
    "warning",
    "gw-014 lost 3 events in the last day; 97.00 % arrived",
  ],
  ["much loss", { device: { coverage: lossy }, lastDay: { stored: 1, lost: 1 } }, "error", "gw-014 lost 1 event in the last day; 50.00 %"],
  [
    "a detector that is slow",
    { site: { detector: { connected: true, lagBatches: 9, lagEvents: 4000, lagSeconds: 95, cursor: 1, refused: 0 } } },
    "warning",
    "9 batches (4000 events) behind, the oldest of 95 s ago",
  ],
  [
    "a long backlog on the side",
    { site: { detector: { connected: true, lagBatches: 0, aside: { batches: 9, events: 90, seconds: 7200 }, cursor: 1, refused: 0 } } },
    "warning",
    "90 events are decided on the side, the oldest of 2 h ago",
  ],
  [
    "devices that are there and silent",
    { health: { storedMs: nowMs - 900_000 } },
    "error",
    "Events do not flow: no event was stored for 900 s",
  ],
  ["a clock that is ahead", { clockMs: 3 * DAY_MS }, "warning", "The clock of gw-014 is 3 days ahead of the site's"],
  ["a clock that is behind", { clockMs: -300_000 }, "warning", "The clock of gw-014 is 5 min behind the site's"],
  [
    "an agent that is newer",
    { device: { status: { ...status, version: "1.1.0" } } },
    "warning",
    "gw-014 runs picket-agent 1.1.0, newer than the site (1.0.0)",
  ],
  [
    "an agent that is older",
    { device: { status: { ...status, version: "0.9.9" } } },
    "warning",
    "gw-014 runs picket-agent 0.9.9, older than the site (1.0.0)",
  ],
  [
    "flash over its budget",
    { device: { status: { ...status, flash: { wroteBytes: 600 << 20, budgetBytes: 512 << 20 } } } },
    "warning",
    "gw-014 wrote 600 MiB in its last 24 hours of running, of 512 MiB",
  ],
  [
    "a backlog on a device",
    { device: { status: { ...status, buffer: { events: 30_000, bytes: 1 } } } },
    "warning",
    "30000 events wait on gw-014",
  ],
  [
    "an agent that crashed",
    { device: { presence: "offline", away: { how: "killed", sinceMs: 0 } } },
    "error",
    "The agent on gw-014 ended without a word, and its host still answered",
  ],
  ["a host without power", { device: { presence: "offline", away: { how: "lost", sinceMs: 0 } } }, "error", "has no power"],
  [
    "a blackout",
    { device: { presence: "offline", away: { how: "lost", sinceMs: nowMs - 600_000, blackout: { devices: 9, back: 3 } } } },
    "error",
    "Blackout: 9 devices went at once, 10 min ago; 3 are back. Away: gw-014.",
  ],
  ["renewal that fails", { device: { certificateExpiresMs: nowMs + 2 * DAY_MS } }, "warning", "expires in 2 days and was not renewed"],
  ["isolation not reached", { device: { isolationWanted: true } }, "error", "gw-014 should be isolated but is not"],
  ["isolation nobody wants", { device: { status: isolated } }, "warning", "isolated though no operator"],
  ["a weak sensor", { device: { status: weak } }, "warning", "gw-014: dns is off (no tracepoint)"],
  ["a failing sink", { site: sink({ lastError: "HTTP 500", queued: 3 }) }, "error", 'do not reach sink "soc": HTTP 500; 3 wait'],
  ["messages given up", { site: sink({ failed: 2 }) }, "warning", '2 alerts never reached sink "soc"'],
  ["messages let go", { site: sink({ dropped: 5 }) }, "warning", "5 alerts let go"],
  ["a sink without TLS", { site: sink({ url: "http://soc.example/" }) }, "warning", "plain http"],
] as const)("%s is found, and what to do is said", (_, change, level, what) => {
  const findings = diagnose(facts(change as Parameters<typeof facts>[0]));
  expect(findings).toEqual([{ level, what: expect.stringContaining(what), todo: expect.stringMatching(/\w+/) }]);
});

test.each(["http://127.0.0.1:9000/", "http://localhost/", "http://[::1]/x"])("plain http to this machine itself is fine: %s", (url) => {
  expect(diagnose(facts({ site: sink({ url }) }))[0]?.level).toBe("ok");
});

test("a revoked device is nobody's worry", () => {
  expect(diagnose(facts({ device: { trust: "revoked", presence: "offline" } }))[0]?.level).toBe("ok");
});

test("an isolated device as ordered is as it should be", () => {
  expect(diagnose(facts({ device: { isolationWanted: true, status: isolated } }))[0]?.level).toBe("ok");
});

test("the worst comes first", () => {
  const findings = diagnose(facts({ site: { keysVersion: 0 }, intake: { deadLetters: [garbage] }, device: { presence: "offline" } }));
  expect(findings.map(({ level }) => level)).toEqual(["error", "warning", "warning"]);
});

test("samples: the spool is told; what waits too long, is wrong or was forgotten is warned of", () => {
  const samples = { files: 3, bytes: 5 << 20, waiting: 1, wanted: 2, mismatched: 0, forgotten: 0 };
  const site = (change: object) => facts({ site: { samples: { ...samples, ...change } } });
  expect(diagnose(site({}))).toEqual([
    { level: "ok", what: "Nothing is wrong: 1 device, all covered. 3 files kept for scanning (5 MiB), 1 not scanned yet, 2 to come." },
  ]);
  expect(diagnose(site({ waiting: 501, mismatched: 1, forgotten: 9 })).map(({ level, what }) => [level, what.split(" ", 1)[0]])).toEqual([
    ["warning", "501"],
    ["warning", "1"],
    ["warning", "9"],
  ]);
});

test("what many devices have in common is said once, with some of their names", () => {
  const many = (count: number, change: Partial<Device>) => Array.from({ length: count }, (_, at) => device({ id: `gw-${at}`, ...change }));
  const all = (devices: Device[]) => diagnose({ ...facts({}), devices });
  expect(all(many(3, { presence: "offline" }))).toHaveLength(3);
  expect(all(many(40, { presence: "offline", lastSeenMs: 0 }))).toEqual([
    {
      level: "error",
      what: "40 devices are offline: gw-0, gw-1, gw-2, gw-3, gw-4 and 35 more.",
      todo: "Check power, network and picket-agent on each of them",
    },
  ]);
  const dark = many(200, { presence: "offline", away: { how: "lost", sinceMs: nowMs - 60_000, blackout: { devices: 210, back: 10 } } });
  expect(all(dark)).toHaveLength(1);
  expect(all([...dark, ...many(500, { status: weak }).map((one) => ({ ...one, id: `x-${one.id}` }))]).map(({ level }) => level)).toEqual([
    "error",
    "warning",
  ]);
});

test("loss of long ago, and a share that is normal, are no findings", () => {
  expect(diagnose(facts({ device: { coverage: lossy }, lastDay: { stored: 0, lost: 0 } }))[0]?.level).toBe("ok");
  expect(diagnose(facts({ device: { coverage: lossy }, lastDay: { stored: 995, lost: 5 } }))[0]?.level).toBe("ok");
});

test("a disk that takes no events is said once", () => {
  const outage = { sinceMs: 0, why: "only 3 MiB are free" };
  const disk = { freeBytes: 3 << 20, totalBytes: 2 ** 36 };
  expect(diagnose(facts({ intake: { outage }, host: { disk }, health: { outage, storedMs: 0 } }))).toHaveLength(1);
});

const listed = (change: Partial<DoctorFacts["iocs"][number]>): DoctorFacts["iocs"][number] => ({
  ...{ source: "feed-a", kind: "list", generation: 3, importedMs: nowMs - DAY_MS, by: "ann", format: "text", indicators: 9 },
  ...{ byKind: { address: 9 }, refused: 0, active: true, met: { indicators: 0, devices: 0 } },
  ...change,
});

test.each<[string, DoctorFacts["iocs"][number], RegExp | undefined]>([
  ["a list as it should be", listed({}), undefined],
  ["one that expired", listed({ expiresMs: nowMs - 1 }), /All of the list of indicators "feed-a" has expired/],
  ["one that is old", listed({ importedMs: nowMs - 31 * DAY_MS }), /"feed-a" is 31 days old/],
  ["an old one that another site shares", listed({ kind: "mesh", importedMs: nowMs - 31 * DAY_MS }), undefined],
  ["one whose import failed", listed({ failure: { atMs: nowMs, why: "it stopped in the middle" } }), /failed: it stopped in the middle/],
  ["one the detector never took", listed({ active: false }), /does not match with the list/],
])("indicators: %s", (_, list, words) => {
  const findings = diagnose(facts({ iocs: [list] })).filter(({ level }) => level !== "ok");
  if (words) expect(findings).toMatchObject([{ level: "warning", what: expect.stringMatching(words) }]);
  else expect(findings).toEqual([]);
});
