// A million indicators: how long they take to load, what they weigh, what an event costs with them, and how fast the past is searched.

import { IocIndex } from "../detector/engines/ioc/index.ts";
import { look, lookedAt } from "../detector/engines/ioc/look.ts";
import { Segment } from "../detector/engines/ioc/segment.ts";
import { IocsPast } from "../detector/iocs-past.ts";
import { encodeBatch } from "../protocol/batch.ts";
import type { SensorEvent } from "../protocol/event.ts";
import { MAX_ROWS, packIocs, type StoredIoc, unpackIocs } from "../protocol/ioc.ts";
import { median, type Result } from "./result.ts";

const COUNT = 1_000_000;
const ROUNDS = 5;
const EVENTS = 200_000;
const BATCHES = 400;
const BATCH = 500;
const MIB = 1 << 20;

const hex = (of: number) => new Bun.CryptoHasher("sha256").update(String(of)).digest("hex");
/** No address anybody uses: 198.18.0.0/15 is for benchmarks (RFC 2544). */
const address = (of: number) => `198.${18 + ((of >> 16) & 1)}.${(of >> 8) & 255}.${of & 255}`;

/** 400,000 hashes, 400,000 domains (of them 1,000 URLs, 1,000 paths and 1,000 file names instead), 99,990 IPv6 addresses, 100,000 IPv4 addresses and 10 ranges, of 2,000 families. */
function indicator(of: number): StoredIoc {
  const rest = { confidence: 80, expiresS: 2_000_000_000, label: `family ${of % 2000}`, tags: [], added: 1 };
  if (of < 400_000) return { kind: "sha256", value: hex(of), ...rest };
  if (of < 401_000) return { kind: "url", value: `files.example.net/${of}/a.sh`, ...rest };
  if (of < 402_000) return { kind: "path", value: `/var/tmp/.${of}/x`, ...rest };
  if (of < 403_000) return { kind: "name", value: `dropper-${of}`, ...rest };
  if (of < 800_000) return { kind: "domain", value: `c2-${of}.campaign${of % 977}.example`, ...rest };
  if (of < 900_000) return { kind: "address", value: address(of - 800_000), ...rest };
  if (of < 999_990) return { kind: "address", value: `2001:db8:${(of >> 16).toString(16)}:${(of & 0xffff).toString(16)}::1`, ...rest };
  return { kind: "address", value: `203.0.113.0/${16 + (of % 10)}`, ...rest };
}

const process_ = (argv: readonly string[]) => ({ pid: 9, startTicks: 9, ppid: 1, uid: 0, exe: "/usr/bin/curl", argv: [...argv] });

/** Of ten events three start programs, three connect, two ask for names, and two write files; nothing of them is listed. */
function event(of: number): SensorEvent {
  const head = { v: 1 as const, device: "bench", epoch: "benchioc", seq: of, timeMs: 1_700_000_000_000 + of };
  const process = process_([
    "curl",
    "-fsS",
    "-o",
    `/tmp/out-${of}.json`,
    `https://mirror${of % 50}.example.org/pool/main/p/package-${of}.deb`,
  ]);
  const file = { path: `/var/lib/app/data/part-${of}.tmp` };
  switch (of % 10) {
    case 0:
    case 1:
    case 2:
      return { ...head, type: "process.exec", body: { process: { ...process, sha256: hex(of + COUNT) } } };
    case 3:
    case 4:
    case 5:
      return { ...head, type: "net.connect", body: { process, net: { proto: "tcp", dstIp: `192.0.2.${of & 255}`, dstPort: 443 } } };
    case 6:
    case 7:
      return { ...head, type: "net.dns", body: { process, net: { query: `host${of}.cdn.service.example.org` } } };
    default:
      return { ...head, type: "file.create", body: { process, file } };
  }
}

const cpuMs = (since: NodeJS.CpuUsage) => {
  const { user, system } = process.cpuUsage(since);
  return (user + system) / 1000;
};

export default async function* ioc(): AsyncIterable<Result> {
  const chunks: Buffer[] = [];
  for (let at = 0; at < COUNT; at += MAX_ROWS) chunks.push(packIocs(Array.from({ length: MAX_ROWS }, (_, n) => indicator(at + n))));
  yield {
    metric: "stored_bytes_per_indicator",
    value: Number((chunks.reduce((sum, { length }) => sum + length, 0) / COUNT).toFixed(1)),
    unit: "B",
  };

  Bun.gc(true);
  const before = process.memoryUsage().rss;
  const index = new IocIndex();
  let since = process.cpuUsage();
  const segment = new Segment({ generation: 1, source: "bench", indicators: COUNT });
  for (const chunk of chunks) for (const one of unpackIocs(chunk)) segment.add(one);
  segment.seal();
  index.use([segment]);
  yield { metric: "load_cpu_ms", value: Math.round(cpuMs(since)), unit: "ms" };
  yield { metric: "indicators", value: index.size, unit: "indicators" };
  yield { metric: "memory", value: Number((index.bytes / MIB).toFixed(1)), unit: "MiB" };
  Bun.gc(true);
  yield { metric: "rss_grown", value: Number(((process.memoryUsage().rss - before) / MIB).toFixed(1)), unit: "MiB" };

  const events = Array.from({ length: EVENTS }, (_, at) => event(at));
  const asked = { receivedS: 1_700_000_000 };
  const perEvent = (of: readonly SensorEvent[], lists: IocIndex) => {
    const rounds: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      since = process.cpuUsage();
      for (const one of of)
        if (lookedAt.has(one.type) && look(lists, one, asked)) throw new Error("ioc: something was found that is not listed");
      rounds.push((cpuMs(since) * 1e6) / of.length);
    }
    return Math.round(median(rounds));
  };
  yield { metric: "ns_per_event", value: perEvent(events, index), unit: "ns" };
  for (const type of ["process.exec", "net.connect", "net.dns", "file.create"] as const)
    yield {
      metric: `ns_per_${type}`,
      value: perEvent(
        events.filter((one) => one.type === type),
        index,
      ),
      unit: "ns",
    };
  yield { metric: "ns_per_event_without_lists", value: perEvent(events, new IocIndex()), unit: "ns" };
  yield await searchRate(index, events);
}

/** Pages of the log as the broker sends them, from their bytes to what is found; of CPU time, since it rests half of the time. */
async function searchRate(index: IocIndex, events: readonly SensorEvent[]): Promise<Result> {
  const batches = Array.from({ length: BATCHES }, (_, at) =>
    encodeBatch({ boot: "11111111-1111-4111-8111-111111111111", oldest: at * BATCH, events: events.slice(at * BATCH, (at + 1) * BATCH) }),
  );
  const done = Promise.withResolvers<void>();
  const past = new IocsPast({ index, site: "bench", decided: () => done.resolve() });
  past.begin({ excepted: () => false, busy: () => false });
  const since = process.cpuUsage();
  for (const batch of batches) past.receive({ kind: "past", session: "s", job: 1, generations: [1], receivedMs: 1_700_000_000_000 }, batch);
  past.receive({ kind: "past-page", session: "s", job: 1, next: BATCHES }, new Uint8Array());
  await done.promise;
  return { metric: "searched_events_per_cpu_s", value: Math.round((past.take()!.events / cpuMs(since)) * 1000), unit: "events/s" };
}
