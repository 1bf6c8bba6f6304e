// Lists of indicators as operators use them: a real broker, a real detector, the command as a program of its own.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { encodeBatch } from "@picket/protocol/batch";
import type { SensorEvent } from "@picket/protocol/event";
import type { IocSource } from "@picket/protocol/ioc";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listAlerts } from "../../broker/store/alerts.ts";
import { appendBatch } from "../../broker/store/log.ts";
import { putIoc } from "../../broker/store/mesh-received.ts";
import { openStore } from "../../broker/store/schema.ts";
import { BOOT, connect, type Enrolled, enrol, mine, type TestSite, testSite, until } from "../../broker/testing/site.ts";
import { event, proc } from "../../detector/testing/events.ts";

const main = new URL("../main.ts", import.meta.url).pathname;
const detectorChild = new URL("../../detector/testing/child.ts", import.meta.url).pathname;
const DAY_MS = 86_400_000;
const C2 = "203.0.113.9";
let site: TestSite;
let folder: string;
let device: Enrolled;
let detector: Awaited<ReturnType<typeof startDetector>>;
let seq = 0;

const curl = proc(12, "/usr/bin/curl");
const contact = (dstIp: string) => event("net.connect", 0, { process: curl, net: { proto: "tcp", dstIp, dstPort: 443 } });
const read = <T>(look: (store: ReturnType<typeof openStore>) => T): T => {
  using store = openStore(join(site.dir, "site.db"));
  return look(store);
};
const iocAlerts = () => read((store) => listAlerts(store, { limit: 1000 })).filter(({ rule }) => rule.engine === "ioc");

function batchOf(name: string, events: readonly SensorEvent[], timeMs: number): { first: number; batch: Uint8Array } {
  const first = seq;
  const numbered = events.map((one) => ({ ...one, device: name, epoch: "indicate", seq: seq++, timeMs: timeMs + seq }));
  return { first, batch: encodeBatch({ boot: BOOT, oldest: first, events: numbered }) };
}

/** What came long before. */
function past(name: string, agoMs: number, events: readonly SensorEvent[]): void {
  const receivedMs = Date.now() - agoMs;
  const { first, batch } = batchOf(name, events, receivedMs);
  read((store) =>
    store.commitNow(() =>
      appendBatch(store, { device: name, epoch: "indicate", firstSeq: first, nextSeq: seq, receivedMs, count: events.length, batch }),
    ),
  );
}

async function startDetector() {
  const child = Bun.spawn([process.execPath, detectorChild, site.dir, String(site.broker.mqttPort)], { stdout: "pipe", stderr: "ignore" });
  const reader = child.stdout.getReader();
  expect(Buffer.from((await reader.read()).value!).toString()).toBe("ready\n");
  return child;
}

async function picket(...args: string[]) {
  const child = Bun.spawn([process.execPath, main, "--home", folder, ...args], {
    cwd: folder,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, err, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { out, err, code };
}
const file = (name: string, text: string) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};
const sources = async () => ((await site.api("GET", "/v1/iocs")).json as { sources: IocSource[] }).sources;
const isSearched = async (name: string) => {
  const one = (await sources()).find(({ source }) => source === name);
  return one?.active && one.past?.state === "done" ? one : undefined;
};

beforeAll(async () => {
  site = await testSite();
  folder = mkdtempSync(join(tmpdir(), "picket-ioc-"));
  const access = { url: `https://127.0.0.1:${site.broker.httpsPort}`, ca: site.ca, token: site.token, site: "yard" };
  writeFileSync(join(folder, "site.json"), JSON.stringify(access));
  device = await enrol(site, "gw-1");
  past("gw-1", 5 * DAY_MS, [contact(C2), contact("198.51.100.1"), contact(C2)]);
  past("gw-2", 3 * DAY_MS, [contact(C2), event("net.dns", 0, { process: curl, net: { query: "a.evil.example" } })]);
  detector = await startDetector();
});
afterAll(async () => {
  detector.kill(9);
  await detector.exited;
  await site[Symbol.asyncDispose]();
  rmSync(folder, { recursive: true, force: true });
});

async function live(events: readonly SensorEvent[]): Promise<void> {
  const client = await connect(site, device);
  await client.publishAsync(mine(device, "events"), Buffer.from(batchOf("gw-1", events, Date.now()).batch), { qos: 1 });
  await client.endAsync();
}

test("a list is imported with its bad lines named, finds what was there before, and what comes", async () => {
  const list = file(
    "feed.txt",
    `# addresses\n203[.]0[.]113[.]9 # Mirai\nhxxp://evil[.]example/\n10.0.0.1\ncom\n${"d41d8cd98f00b204e9800998ecf8427e"}\n\nnonsense here\n`,
  );
  const done = await picket("ioc", "import", list, "--source", "feed-a", "--confidence", "80", "--expires", "30d");
  expect([done.code, done.err]).toEqual([
    0,
    expect.stringMatching(/line 4: it is private[\s\S]*line 5: it is a top-level domain[\s\S]*line 6: an MD5[\s\S]*line 8: /),
  ]);
  expect(done.out).toMatch(/"feed-a" is in force: 2 indicators \(1 address, 1 domain\); 4 things cannot be used\./);
  expect(done.out).toMatch(/2 devices met 2 of these\. The stored log was searched from .* on \(5 events\): 3 alerts\./);
  const found = iocAlerts();
  expect(found.map(({ device, rule, count }) => `${device} ${rule.id} ${count}`).sort()).toEqual([
    "gw-1 picket-ioc-address 2",
    "gw-2 picket-ioc-address 1",
    "gw-2 picket-ioc-domain 1",
  ]);
  expect(found.find(({ device, rule }) => device === "gw-1" && rule.id === "picket-ioc-address")).toMatchObject({
    severity: "high",
    rule: { author: "feed-a" },
    summary: expect.stringMatching(
      /^curl \(pid 12\) connected to 203\.0\.113\.9:443; 203\.0\.113\.9 is listed by feed-a as Mirai \(confidence 80, until .*found in the stored log/,
    ),
  });
  await live([contact(C2), contact("192.0.2.1")]);
  const alert = await until(() => iocAlerts().find(({ lastMs }) => lastMs > Date.now() - DAY_MS), "an alert of what came");
  expect(alert).toMatchObject({ device: "gw-1", count: 1, rule: { id: "picket-ioc-address" } });
});

test("the same list again finds nothing twice; what is new in it is searched for, also over kill -9 of the detector", async () => {
  const before = iocAlerts().length;
  await picket("ioc", "import", file("again.txt", `${C2}\nevil.example\n`), "--source", "feed-a");
  expect(iocAlerts()).toHaveLength(before);
  // Many pages, so that there is a middle.
  for (let at = 0; at < 400; at++)
    past("gw-3", DAY_MS, [contact("198.51.100.77"), ...Array.from({ length: 50 }, () => contact("198.51.100.1"))]);
  await picket("ioc", "import", file("more.txt", `${C2}\nevil.example\n198.51.100.64/26\n`), "--source", "feed-a", "--no-wait");
  const reading = async () => (await sources())[0]!.past;
  for (let kills = 0; kills < 2; kills++) {
    await until(async () => {
      const now = await reading();
      return now?.state === "done" || (now?.state === "reading" && now.read > 0);
    }, "the search is under way");
    detector.kill(9);
    await detector.exited;
    detector = await startDetector();
  }
  const done = await until(() => isSearched("feed-a"), "the search");
  expect(done.past!.read).toBe(done.past!.events);
  const found = iocAlerts().filter(({ device }) => device === "gw-3");
  expect(found.map(({ count, summary }) => [count, summary.includes("198.51.100.64/26 is listed")])).toEqual([[400, true]]);
});

test("a list that is removed matches nothing from then on, and another takes nothing of it away", async () => {
  await picket(
    "ioc",
    "import",
    file("b.csv", "ioc_type,ioc_value,malware\nip:port,192.0.2.44:80,Bot\nurl,http://files.example.org/a.sh,Loader\n"),
    "--source",
    "feed-b",
  );
  const { out } = await picket("ioc", "list");
  expect(out).toMatch(/feed-a +3 /);
  expect(out).toMatch(/feed-b +2 /);
  expect((await picket("ioc", "show", "198.51.100.64/26")).out).toMatch(/address {2}198\.51\.100\.64\/26 {2}feed-a[\s\S]*gw-3/);
  expect(JSON.parse((await picket("ioc", "stats", "--json", "--since", "30d")).out)).toMatchObject({
    indicators: 5,
    byKind: { address: 3, domain: 1, url: 1 },
  });
  expect((await picket("ioc", "remove", "feed-a")).out).toBe("Removed feed-a.\n");
  expect(await picket("ioc", "remove", "feed-a")).toMatchObject({ code: 1, err: expect.stringContaining('There is no list "feed-a"') });
  const before = iocAlerts().filter(({ rule }) => rule.author === "feed-a").length;
  await live([contact(C2), contact("192.0.2.44")]);
  await until(() => iocAlerts().some(({ rule, device }) => rule.author === "feed-b" && device === "gw-1"), "an alert of the other list");
  expect(iocAlerts().filter(({ rule }) => rule.author === "feed-a")).toHaveLength(before);
});

test("what other sites share is a list of its own, matched and searched for like any other", async () => {
  const from = { origin: "north", caHash: "x".repeat(43), via: "east", receivedMs: Date.now() };
  past("gw-4", DAY_MS, [contact("192.0.2.200")]);
  // Only what was decided is searched, and the broker does not know of what was put into its log behind its back.
  await live([contact("192.0.2.1")]);
  read((store) =>
    store.commitNow(() => {
      for (const value of ["192.0.2.200", "10.1.1.1"])
        putIoc(store, from, { kind: "ip", value, confidence: 90, expiresMs: Date.now() + DAY_MS, source: "a report", sharedMs: 1 });
    }),
  );
  const made = await until(() => isSearched("mesh:north"), "the list of the other site");
  expect(made).toMatchObject({ kind: "mesh", trust: "vouched", indicators: 1, refused: 1, met: { devices: 1, indicators: 1 } });
  expect(iocAlerts().find(({ device }) => device === "gw-4")).toMatchObject({
    rule: { author: "mesh:north" },
    summary: expect.stringContaining("listed by mesh:north as a report"),
  });
  expect((await picket("ioc", "remove", "mesh:north")).err).toContain("what another site shares");
});

test("an import that is not finished changes nothing, and says why it failed", async () => {
  const call = async (path: string, body?: object) => site.api("POST", `/v1/iocs/${path}`, body);
  const begun = (await call("imports", { source: "feed-b" })).json as { import: number };
  const at = `imports/${begun.import}`;
  const rows = [
    { kind: "address", value: "192.0.2.9" },
    { kind: "sha256", value: "no" },
  ];
  expect((await call(`${at}/rows`, { at: 0, rows })).json).toMatchObject({ given: 2, refused: [{ at: 1 }] });
  expect((await call(`${at}/rows`, { at: 0, rows })).json).toMatchObject({ given: 2 });
  expect((await call(`${at}/rows`, { at: 7, rows })).status).toBe(409);
  await call(`${at}/abort`, { why: "the wire was cut" });
  expect((await call(`${at}/finish`, {})).status).toBe(404);
  expect((await sources()).find(({ source }) => source === "feed-b")).toMatchObject({
    indicators: 2,
    failure: { why: "the wire was cut" },
  });
  expect((await call("imports", { source: "mesh:me" })).status).toBe(400);
  expect((await picket("ioc", "import", file("none.txt", "10.0.0.1\n"), "--source", "feed-b")).err).toContain(
    "Nothing in this list can be used",
  );
  expect((await picket("ioc", "import", file("odd.json", '{"a":1}'))).err).toContain("neither a STIX bundle nor MISP events");
  expect((await picket("ioc", "import", join(folder, "missing.txt"))).code).toBe(1);
});
