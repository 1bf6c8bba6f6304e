// Samples over real connections: from a detector's commit to the question, the bytes, the disk and back to the detector.
import { existsSync, readdirSync, readFileSync, statSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import type { Alert } from "@picket/protocol/alert";
import { Commit, decodeData, type SampleNews, type SampleVerdict, type Sighting } from "@picket/protocol/feed";
import { encodeSample, type SampleHeader, SampleWant } from "@picket/protocol/samples";
import { topic } from "@picket/protocol/topics";
import type { MqttClient } from "mqtt";
import { afterEach, beforeEach, expect, test } from "vitest";
import { closed, connect, enrol, makeBatch, mine, SITE, type TestSite, testSite, until } from "../testing/site.ts";

const sha = (bytes: string | Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");
let site: TestSite;
let nowMs: number;
beforeEach(async () => {
  nowMs = Date.now();
  site = await testSite({ nowMs: () => nowMs });
});
afterEach(() => site[Symbol.asyncDispose]());

const spool = (name = "") => join(site.dir, "samples", name);
const alerts = async () => ((await site.api("GET", "/v1/alerts")).json as { alerts: Alert[] }).alerts;
const qos1 = { qos: 1 } as const;

type Device = { name: string; client: MqttClient; wants: SampleWant[]; say(header: SampleHeader, bytes?: Uint8Array): Promise<unknown> };

async function startDevice(
  name: string,
  who?: Awaited<ReturnType<typeof enrol>>,
): Promise<Device & { who: Awaited<ReturnType<typeof enrol>> }> {
  const enrolled = who ?? (await enrol(site, name));
  const client = await connect(site, enrolled);
  const wants: SampleWant[] = [];
  client.on("message", (_topic, payload) => wants.push(SampleWant.parse(JSON.parse(payload.toString()))));
  await client.subscribeAsync(topic("sampleWant", SITE, name), qos1);
  return {
    ...{ name, client, wants, who: enrolled },
    say: (header, bytes) => client.publishAsync(topic("sample", SITE, name), encodeSample(header, bytes), qos1),
  };
}

/** Sends all of `bytes` from where the broker wants it, in pieces. */
async function give(device: Device, want: SampleWant, bytes: Buffer, sha256 = want.sha256): Promise<void> {
  for (let offset = want.offset; offset < bytes.length; offset += 1000)
    await device.say({ kind: "chunk", sha256, offset, size: bytes.length }, bytes.subarray(offset, offset + 1000));
}

async function startDetector(pack: string | undefined = "pack-1") {
  const read = (name: string) => readFileSync(join(site.dir, name), "utf8");
  const client = await connect(site, { role: "detector", name: SITE, key: read("detector.key.pem"), cert: read("detector.crt.pem") });
  const samples = new Map<string, Buffer>();
  const news: SampleNews[] = [];
  let session = "";
  let next = 1;
  let arriving = Buffer.alloc(0);
  client.on("message", (_topic, payload) => {
    const data = decodeData(payload);
    if ("state" in data) ({ session, cursor: next } = data.state);
    else if ("news" in data) news.push(data.news);
    else if ("piece" in data) {
      arriving = data.piece.offset === 0 ? Buffer.from(data.bytes) : Buffer.concat([arriving, data.bytes]);
      if (arriving.length === data.piece.size) samples.set(data.piece.sha256, arriving);
    }
  });
  await client.subscribeAsync(topic("data", SITE), qos1);
  const want = (body: object) => client.publishAsync(topic("want", SITE), JSON.stringify(body), qos1);
  await want({ kind: "hello", credits: 1 });
  await until(() => session);
  if (pack) await want({ kind: "scan", session, pack });
  const commit = (body: Partial<Commit>) =>
    client.publishAsync(
      topic("commit", SITE),
      JSON.stringify(Commit.parse({ session, next, alerts: [], seen: [], read: 0, refused: 0, ...body })),
      qos1,
    );
  const verdict = (sha256: string, bad: boolean): Promise<unknown> => commit({ verdicts: [verdictOn(sha256, bad, pack ?? "")] });
  return { client, samples, news, commit, verdict, saw: (...sightings: Sighting[]) => commit({ sightings }) };
}

const match = { rule: "yara:r", title: "R", severity: "high", score: 55, attack: { tactics: [], techniques: [] }, why: "$a" } as const;
const verdictOn = (sha256: string, bad: boolean, pack: string): SampleVerdict => ({
  ...{ sha256, pack, matches: bad ? [{ ...match, attack: { tactics: [], techniques: [] } }] : [] },
});
const sighting = (device: string, sha256: string, path = "/tmp/x"): Sighting => ({
  ...{ device, sha256, path, executed: false, event: `${device}:abcdefgh:1`, timeMs: 1 },
});

test("a file is asked for once for the whole site, kept, scanned once, and told of every device that has it", async () => {
  const bytes = Buffer.from("evil".repeat(5000));
  const hash = sha(bytes);
  const [one, two, detector] = await Promise.all([startDevice("gw-1"), startDevice("gw-2"), startDetector()]);
  await detector.saw(sighting("gw-1", hash), sighting("gw-2", hash));
  const asked = await until(() => [one, two].find(({ wants }) => wants.length > 0));
  expect(asked.wants).toEqual([{ sha256: hash, offset: 0, maxBytes: 32 << 20 }]);
  await give(asked, asked.wants[0]!, bytes);
  expect(readFileSync(spool(hash)).equals(bytes)).toBe(true);
  expect([statSync(spool()).mode & 0o777, statSync(spool(hash)).mode & 0o777]).toEqual([0o700, 0o600]);
  await until(() => detector.samples.has(hash));
  expect(detector.samples.get(hash)!.equals(bytes)).toBe(true);
  await detector.verdict(hash, true);
  const { sightings, verdict } = await until(() => detector.news[0]);
  expect([sightings.map(({ device }) => device), verdict.matches]).toEqual([["gw-1", "gw-2"], [match]]);
  await detector.commit({ judged: sightings.map(({ device }) => ({ device, sha256: hash, pack: "pack-1" })) });
  const three = await startDevice("gw-3");
  await detector.saw(sighting("gw-3", hash), sighting("gw-1", hash));
  expect((await until(() => detector.news[1])).sightings.map(({ device }) => device)).toEqual(["gw-3"]);
  expect([one, two, three].flatMap(({ wants }) => wants)).toHaveLength(1);
});

test("nobody is asked where no detector scans; once one does, everybody is", async () => {
  const device = await startDevice("gw-1");
  const blind = await startDetector("");
  await blind.saw(sighting("gw-1", sha("a")));
  await device.client.publishAsync(mine({ name: "gw-1" }, "events"), makeBatch("gw-1", "epoch000", 0, 1), qos1);
  expect(device.wants).toEqual([]);
  blind.client.end(true);
  await startDetector();
  await until(() => device.wants.length === 1);
});

test("ended in the middle, both ends: it goes on where it was, and no byte is asked for twice", async () => {
  const bytes = Buffer.from(Array.from({ length: 5500 }, (_, at) => at % 256));
  const hash = sha(bytes);
  const device = await startDevice("gw-1");
  await (await startDetector()).saw(sighting("gw-1", hash));
  await until(() => device.wants.length);
  for (const offset of [0, 1000])
    await device.say({ kind: "chunk", sha256: hash, offset, size: 5500 }, bytes.subarray(offset, offset + 1000));
  await site.restart();
  const again = await startDevice("gw-1", device.who);
  const want = await until(() => again.wants[0]);
  expect(want.offset).toBe(2000);
  await give(again, want, bytes);
  expect(readFileSync(spool(hash)).equals(bytes)).toBe(true);
  const detector = await startDetector();
  await until(() => detector.samples.has(hash));
});

test("a whole file whose arrival was not noted is found again; what nobody knows is swept out; what is missing is asked for again", async () => {
  const bytes = Buffer.from("whole");
  const hash = sha(bytes);
  const device = await startDevice("gw-1");
  await (await startDetector()).saw(sighting("gw-1", hash));
  await until(() => device.wants.length);
  await give(device, device.wants[0]!, bytes);
  await until(() => existsSync(spool(hash)));
  await site.restart();
  expect(existsSync(spool(hash))).toBe(true);
  await Bun.write(spool(sha("unknown")), "unknown");
  unlinkSync(spool(hash));
  await site.restart();
  expect(readdirSync(spool())).toEqual([]);
  const again = await startDevice("gw-1", device.who);
  await until(() => again.wants.some(({ sha256 }) => sha256 === hash));
});

test("wrong bytes are let go, counted, said of the device in an alert, and another device is asked", async () => {
  const bytes = Buffer.from("the right bytes");
  const hash = sha(bytes);
  const liar = await startDevice("gw-1");
  const detector = await startDetector();
  await detector.saw(sighting("gw-1", hash), sighting("gw-2", hash));
  await until(() => liar.wants.length);
  await give(liar, liar.wants[0]!, Buffer.from("the wrong bytes"));
  expect(existsSync(spool(hash))).toBe(false);
  const alert = await until(async () => (await alerts())[0]);
  expect(alert).toMatchObject({ device: "gw-1", rule: { id: "picket-broker-dead-letter" } });
  expect(alert.summary).toContain("another file");
  const honest = await startDevice("gw-2");
  await give(honest, await until(() => honest.wants[0]), bytes);
  await until(() => detector.samples.has(hash));
  expect(liar.wants).toHaveLength(1);
});

test("a device that has lost it, or falls silent, is not waited for", async () => {
  const hash = sha("x");
  const [gone, silent] = [await startDevice("gw-1"), await startDevice("gw-2")];
  const detector = await startDetector();
  await detector.saw(sighting("gw-1", hash));
  await until(() => gone.wants.length);
  await detector.saw(sighting("gw-2", hash), sighting("gw-3", hash));
  await gone.say({ kind: "none", sha256: hash, why: "gone" });
  await until(() => silent.wants.length);
  nowMs += 30_000;
  const third = await startDevice("gw-3");
  await until(() => third.wants.length);
  expect(gone.wants).toHaveLength(1);
});

test.each([
  ["a hash nobody asked for", { sha256: sha("nobody") }, Buffer.from("y")],
  ["another offset", { offset: 5 }, Buffer.from("y")],
])("a chunk of %s goes nowhere, is acknowledged and said in an alert", async (_, change, bytes) => {
  const hash = sha("z");
  const device = await startDevice("gw-1");
  await (await startDetector()).saw(sighting("gw-1", hash));
  await until(() => device.wants.length);
  await device.say({ kind: "chunk", sha256: hash, offset: 0, size: 9, ...change }, bytes);
  await until(async () => (await alerts()).length === 1);
  expect(readdirSync(spool()).every((name) => statSync(spool(name)).size === 0)).toBe(true);
});

test("a device that floods with chunks is cut off, while others' events go on being stored", async () => {
  const [hostile, quiet] = await Promise.all([startDevice("gw-1"), startDevice("gw-2")]);
  const end = closed(hostile.client);
  const chunk = Buffer.alloc(200 << 10, 1);
  for (let n = 0; n < 200; n++) hostile.say({ kind: "chunk", sha256: sha(String(n)), offset: 0, size: 1 << 20 }, chunk).catch(() => {});
  for (let n = 0; n < 5; n++) await quiet.client.publishAsync(mine({ name: "gw-2" }, "events"), makeBatch("gw-2", "epoch000", n, 1), qos1);
  await end;
  expect(readdirSync(spool())).toEqual([]);
  expect((await alerts()).map(({ device }) => device)).toEqual(["gw-1"]);
});

test("a detector that dies on a file is given it three times", async () => {
  const bytes = Buffer.from("poison");
  const hash = sha(bytes);
  const device = await startDevice("gw-1");
  let detector = await startDetector();
  await detector.saw(sighting("gw-1", hash));
  await give(device, await until(() => device.wants[0]), bytes);
  for (let died = 0; died < 3; died++) {
    await until(() => detector.samples.has(hash));
    detector.client.end(true);
    detector = await startDetector();
  }
  const other = Buffer.from("harmless");
  await detector.saw(sighting("gw-1", sha(other)));
  await give(device, await until(() => device.wants[1]), other);
  await until(() => detector.samples.has(sha(other)));
  expect(detector.samples.has(hash)).toBe(false);
});

test("with another pack, what is still here is scanned again", async () => {
  const bytes = Buffer.from("again");
  const hash = sha(bytes);
  const device = await startDevice("gw-1");
  const before = await startDetector();
  await before.saw(sighting("gw-1", hash));
  await give(device, await until(() => device.wants[0]), bytes);
  await until(() => before.samples.has(hash));
  await before.verdict(hash, false);
  before.client.end(true);
  const after = await startDetector("pack-2");
  await until(() => after.samples.has(hash));
  await after.verdict(hash, true);
  expect((await until(() => after.news[0])).sightings.map(({ device: name }) => name)).toEqual(["gw-1"]);
  expect(device.wants).toHaveLength(1);
});
