// Everything that reads bytes of devices, detectors, peers and operators, called directly.

import { readdirSync, readFileSync } from "node:fs";
import { packetGuard } from "../../agent/uplink/guard.ts";
import { trimBatch } from "../../broker/ingest/trim.ts";
import { PacketLimit } from "../../broker/mqtt/packet-limit.ts";
import { readList } from "../../cli/ioc/read.ts";
import { NoList } from "../../cli/ioc/row.ts";
import { BadBatch, BatchHeader, countLines, decodeBatch, encodeBatch, firstTime, inflateBatch, openBatch } from "../../protocol/batch.ts";
import { Pack } from "../../protocol/command.ts";
import { parseToken } from "../../protocol/enroll.ts";
import { SensorEvent } from "../../protocol/event.ts";
import { Commit, decodeData, encodeData, encodePiece, Want } from "../../protocol/feed.ts";
import { MeshMessage, parseInvite } from "../../protocol/mesh.ts";
import { parseRecorded } from "../../protocol/recorded.ts";
import { decodeSample, encodeSample, SampleWant } from "../../protocol/samples.ts";
import { DeviceStatus } from "../../protocol/status.ts";
import { mayPublish, maySubscribe, parseTopic, topic } from "../../protocol/topics.ts";
import { tryParse } from "../../protocol/try-parse.ts";
import { BadFrame, readFrame } from "../../protocol/zstd-frame.ts";
import { jsonBytes, mutateBytes, mutateJson, pick, type Random } from "./mutate.ts";
import type { Target } from "./target.ts";

const golden = new URL("../../protocol/testdata/", import.meta.url).pathname;
const events: SensorEvent[] = readdirSync(golden).map((name) => SensorEvent.parse(JSON.parse(readFileSync(golden + name, "utf8"))));
const EPOCH = "fuzz0000";
const BOOT = "11111111-1111-4111-8111-111111111111";
const numbered = events.map((event, seq): SensorEvent => ({ ...event, device: "pi", epoch: EPOCH, seq }));
export const batch = encodeBatch({ boot: BOOT, oldest: 0, events: numbered });
const header = JSON.parse(Buffer.from(batch.subarray(0, batch.indexOf(0x0a))).toString()) as unknown;
const lines = inflateBatch(openBatch(batch).body).toString().split("\n");

export const heartbeat = {
  ...{ v: 1, state: "online", timeMs: 1, boot: BOOT, epoch: EPOCH, version: "0.1.0", arch: "arm64", kernel: "6.1", uptimeS: 1 },
  capabilities: [{ name: "sensor.exec", level: "live", why: "x" }],
  ...{ isolation: { state: "off" }, keysVersion: 0, produced: 9, lost: { kernel: 0, shed: 0, buffer: 0 } },
  ...{ buffer: { events: 0, bytes: 0 }, epochs: [[EPOCH, 0, 9]], rssBytes: 1, cpuS: 1 },
};

const parseJson = (bytes: Uint8Array): unknown => {
  try {
    return JSON.parse(Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
};
const schema = (name: string, of: Parameters<typeof tryParse>[0], seeds: readonly unknown[]): Target => ({
  name,
  seeds: seeds.map(jsonBytes),
  make: (random) =>
    random() < 0.5
      ? jsonBytes(mutateJson(random, pick(random, seeds)))
      : mutateBytes(random, jsonBytes(pick(random, seeds)), seeds.map(jsonBytes)),
  run: (bytes) => void tryParse(of, parseJson(bytes)),
});

/** A batch with a damaged header, body, frame or line. */
export function badBatch(random: Random): Buffer {
  const what = random();
  if (what < 0.2) return mutateBytes(random, batch, [batch]);
  const head = what < 0.5 ? mutateJson(random, header) : header;
  const many = what < 0.4 ? lines : lines.map((line) => (random() < 0.2 ? badLine(random, line) : line));
  const count = random() < 0.8 ? many.length : Math.floor(random() * 1200);
  const text = Array.from({ length: count }, (_, at) => many[at % many.length]).join("\n");
  const body = Bun.zstdCompressSync(Buffer.from(text));
  const frame = random() < 0.2 ? mutateBytes(random, body, [batch]) : body;
  return Buffer.concat([jsonBytes(head), Buffer.from("\n"), frame]);
}

function badLine(random: Random, line: string): string {
  if (random() < 0.7) return jsonBytes(mutateJson(random, JSON.parse(line))).toString();
  return mutateBytes(random, Buffer.from(line), [Buffer.from(lines[0]!)])
    .toString("latin1")
    .replaceAll("\n", " ");
}

const takeOf = (limit: PacketLimit) => (chunk: Uint8Array) => limit.take(chunk);
const peers = [
  { role: "device" as const, name: "pi", site: "lab" },
  { role: "detector" as const, name: "lab", site: "lab" },
  { role: "site" as const, name: "other", site: "lab" },
];

const lists = [
  "# list\n203[.]0[.]113[.]9 # x\nhxxp://evil[.]example/a\n2001:db8::/33\n/tmp/.x/y\n",
  '"ioc_value","ioc_type","tags"\n"203.0.113.9:1","ip:port","a,b"\n',
  '{"type":"bundle","objects":[{"type":"indicator","id":"i","pattern":"[(ipv4-addr:value IN (\'203.0.113.9\') OR url:value = \'http://a.example/x\') AND file:size = 3]"}]}',
  '{"response":[{"Event":{"info":"e","Attribute":[{"type":"domain|ip","value":"a.example|203.0.113.9","to_ids":true}],"Object":[]}}]}',
].map((text) => Buffer.from(text));

export const parsers: readonly Target[] = [
  {
    name: "ioc list",
    seeds: lists,
    make: (random) => mutateBytes(random, pick(random, lists), lists),
    run: (bytes) => {
      try {
        for (const _ of readList(bytes, "auto").rows);
      } catch (error) {
        if (!(error instanceof NoList)) throw error;
      }
    },
  },
  {
    name: "batch",
    seeds: [batch],
    make: badBatch,
    refusals: [BadBatch],
    run: (bytes) => {
      const { header: read, body } = openBatch(bytes);
      const inflated = inflateBatch(body);
      countLines(inflated);
      firstTime(inflated);
      const decoded = decodeBatch(bytes);
      if (decoded.events.length + decoded.refused > BatchHeader.parse(read).runs.reduce((sum, [, count]) => sum + count, 0))
        throw new TypeError("more events than the header announces");
      const [first] = read.runs;
      if (first) trimBatch(read, inflated, [[first[0], 1]]);
    },
  },
  {
    name: "zstd",
    seeds: [Bun.zstdCompressSync(Buffer.alloc(5000, "a")), Bun.zstdCompressSync(Buffer.from(lines.join("\n")))],
    refusals: [BadFrame, BadBatch],
    run: (bytes) => {
      readFrame(bytes);
      inflateBatch(bytes);
    },
  },
  {
    name: "topic",
    seeds: [
      "picket/v1/lab/d/pi/events",
      "picket/v1/lab/feed/want",
      "picket/v1/mesh/lab/up",
      topic("cmd", "lab", "pi"),
      "#",
      "+/+",
      "$SYS/#",
    ].map((text) => Buffer.from(text)),
    run: (bytes) => {
      const wire = Buffer.from(bytes).toString("utf8");
      const parsed = parseTopic(wire);
      for (const peer of peers) {
        const may = mayPublish(peer, { topic: wire, retain: false, payloadBytes: 1 });
        // Whatever the text, nobody writes or reads under another's name.
        if (may && peer.role === "device" && parsed?.device !== "pi") throw new TypeError(`pi may publish to ${wire}`);
        if (maySubscribe(peer, wire) && peer.role === "device" && /[#+]/.test(wire)) throw new TypeError(`pi may subscribe to ${wire}`);
      }
    },
  },
  schema("status", DeviceStatus, [heartbeat, { v: 1, state: "offline", epoch: EPOCH }]),
  schema("event", SensorEvent, events),
  schema("feed want", Want, [
    { kind: "hello", credits: 1, lane: 1 },
    { kind: "more", session: "a", credits: 1 },
    { kind: "scan", session: "a", pack: "p" },
  ]),
  schema("feed commit", Commit, [
    {
      ...{ session: "a", next: 1, alerts: [], read: 1, refused: 0, aside: ["pi"], canaries: [{ device: "pi", receivedMs: 1 }] },
      seen: [{ device: "pi", kind: "pair", key: "a", count: 1 }],
      sightings: [{ device: "pi", sha256: "a".repeat(64), path: "/tmp/x", ran: true }],
    },
  ]),
  schema("mesh", MeshMessage, [
    { kind: "hello", v: 1, log: BOOT, received: { log: BOOT, pos: 1 }, grant: 1 },
    { kind: "items", items: [{ pos: 1, hops: ["other"], jws: "a.b.c" }] },
    { kind: "ack", pos: 1, grant: 1 },
  ]),
  schema("pack", Pack, [
    { kind: "time", timeMs: 1 },
    { kind: "keys", jws: "a.b.c" },
    { kind: "signed", jws: "a.b.c" },
  ]),
  schema("sample want", SampleWant, [{ sha256: "a".repeat(64), offset: 0 }]),
  {
    name: "feed data",
    seeds: [
      encodeData({ kind: "batch", session: "a", offset: 1, receivedMs: 1 }, batch),
      encodePiece({ kind: "sample", session: "a", sha256: "a".repeat(64), size: 4, offset: 0 }, Buffer.from("abcd")),
    ],
    refusals: [Error],
    run: (bytes) => void decodeData(bytes),
  },
  {
    name: "sample",
    seeds: [encodeSample({ kind: "chunk", sha256: "a".repeat(64), size: 4, offset: 0 }, Buffer.from("abcd"))],
    refusals: [Error],
    run: (bytes) => void decodeSample(bytes),
  },
  {
    name: "recorded",
    seeds: events.map((event) => jsonBytes(event)),
    make: (random) => jsonBytes(mutateJson(random, pick(random, events))),
    refusals: [Error],
    run: (bytes) => void parseRecorded(Buffer.from(bytes).toString("utf8"), 1),
  },
  {
    name: "token",
    seeds: [
      `picket1.${Buffer.from('{"v":1,"site":"lab"}').toString("base64url")}`,
      `picketmesh1.${Buffer.from('{"v":1}').toString("base64url")}`,
    ].map((text) => Buffer.from(text)),
    refusals: [Error],
    run: (bytes) => {
      const text = Buffer.from(bytes).toString("utf8");
      try {
        parseToken(text);
      } catch (error) {
        if (!(error instanceof Error) || error.constructor !== Error) throw error;
      }
      parseInvite(text);
    },
  },
  {
    name: "mqtt lengths",
    seeds: [Buffer.from([0x30, 4, 0, 1, 0x61, 0x62, 0xc0, 0]), Buffer.from([0x32, 0xff, 0xff, 0xff, 0x7f])],
    run: (bytes) => {
      for (const make of [() => packetGuard(1000), () => takeOf(new PacketLimit(1000, "device", () => 0))]) {
        const whole = make()(bytes);
        const inPieces = make();
        let verdict: number | string | undefined;
        for (let at = 0; at < bytes.length && verdict === undefined; at++) verdict = inPieces(bytes.subarray(at, at + 1));
        if (whole !== verdict) throw new TypeError(`${whole} at once, ${verdict} in pieces`);
      }
    },
  },
];
