// A log of everything at once: trouble, intrusions over hours, and a rule that matches nearly everything for a while; with what operators and lists add to it.
import { decodeBatch, encodeBatch } from "@picket/protocol/batch";
import type { HeldException } from "@picket/protocol/exception";
import type { StoredIoc } from "@picket/protocol/ioc";
import { compileRules, parseRules } from "@picket/rules/engine";
import { shipped } from "@picket/rules/load";
import { iocEngine } from "../engines/ioc/engine.ts";
import { IocIndex } from "../engines/ioc/index.ts";
import { Segment } from "../engines/ioc/segment.ts";
import type { Engine } from "../finding.ts";
import { child, exec, proc, T0 } from "./events.ts";
import { intrusionLog } from "./intrusions.ts";
import { randomLog } from "./random.ts";
import { packed, type Stored } from "./site.ts";

const MINUTE = 60_000;
const [BOOT, EPOCH] = ["44444444-4444-4444-8444-444444444444", "noisynoi"];

/** Rules of ours beside all shipped ones, and correlations that remember an hour. */
export function mixedRules() {
  const rule = (level: string, name: string, programs: string) =>
    `title: ${name}\nid: ${name}-id\nname: ${name}\nlogsource: { product: linux, category: process_creation }\ndetection: { s: { Image|endswith: [${programs}] }, condition: s }\nlevel: ${level}\n`;
  const correlation = (name: string, body: string) => `title: ${name}\nid: ${name}\nname: ${name}\nlevel: high\ncorrelation: ${body}\n`;
  const text = [
    rule("low", "low", "/low, /meh"),
    rule("medium", "medium", "/medium"),
    rule("informational", "cat", "/cat"),
    rule("medium", "noisy", "/noisy"),
    correlation("hour", "{ type: event_count, rules: [low, medium], group-by: [Computer], timespan: 1h, condition: { gte: 25 } }"),
    correlation("few", "{ type: event_count, rules: [medium], group-by: [Computer, ParentImage], timespan: 1h, condition: { lt: 3 } }"),
    correlation("seq", "{ type: temporal_ordered, rules: [low, medium], group-by: [User, Computer], timespan: 1h }"),
  ].join("---\n");
  const known = shipped();
  const parsed = parseRules([{ file: "mixed.yml", text }], known);
  if (parsed.errors.length > 0) throw new Error(JSON.stringify(parsed.errors));
  const rules = [...known.rules, ...parsed.rules];
  return { rules, correlations: [...known.correlations, ...parsed.correlations], matcher: compileRules(rules) };
}

const base = { where: {}, devices: [], expiresMs: T0 + 1e12, end: null };
/** They begin, end and expire while the log goes on. */
export const mixedExceptions = (end: number): HeldException[] => [
  { ...base, id: 1, rule: "local-a", where: { "Image|endswith": ["/bash", "/server"] }, from: 10, end: Math.floor(end / 2) },
  { ...base, id: 2, rule: "medium-id", devices: ["gw-0"], from: Math.floor(end / 3) },
  { ...base, id: 3, rule: "picket-chain-dropper", devices: ["gw-1"], from: Math.floor(end / 4), end: Math.floor((end * 3) / 4) },
  { ...base, id: 4, rule: "picket-process-score", devices: ["gw-1"], from: 5 },
  { ...base, id: 5, rule: "seq", devices: ["gw-2"], from: Math.floor(end / 2) },
  { ...base, id: 6, rule: "local-login", devices: ["gw-0", "gw-1"], from: 0, expiresMs: T0 + 60 * MINUTE },
];

/** A list that names where intruders call. */
export function mixedEngine(): Engine {
  const iocs = ["203.0.113.8", "198.51.100.9"].map(
    (value): StoredIoc => ({ kind: "address", value, confidence: 80, expiresS: 0, label: "", tags: [], added: 1 }),
  );
  const segment = new Segment({ generation: 1, source: "lab", indicators: iocs.length });
  for (const one of iocs) segment.add(one);
  segment.seal();
  const index = new IocIndex();
  index.use([segment]);
  return iocEngine(index);
}

/** Two intervals of noise, a break, and noise again. */
function noise(): Stored[] {
  const log: Stored[] = [];
  const parent = proc(50, "/usr/sbin/cron");
  let seq = 0;
  for (const startMinute of [11, 16, 41])
    for (let batch = 0; batch < 4; batch++) {
      const atMs = startMinute * MINUTE + batch * 20_000;
      const events = Array.from({ length: 35 }, (_, at) =>
        exec(atMs - 100 + at, child(50_000 + seq, `/opt/${at % 15}/noisy`, parent), { device: "gw-0", epoch: EPOCH, seq: seq++ }),
      );
      log.push(packed(0, T0 + atMs, BOOT, events));
    }
  return log;
}

/** Of three devices, over some hours. */
export function mixedLog(seed: number): Stored[] {
  // Another epoch of the same devices: their numbers begin anew.
  const trouble = randomLog(seed, 130).map(({ batch, ...row }): Stored => {
    const { header, events } = decodeBatch(batch);
    return {
      ...row,
      batch: encodeBatch({ boot: header.boot, oldest: header.oldest, events: events.map((one) => ({ ...one, epoch: "troubled" })) }),
    };
  });
  const all = [...trouble, ...intrusionLog(seed, 12), ...noise()];
  return all.sort((a, b) => a.receivedMs - b.receivedMs).map((row, at) => ({ ...row, offset: at + 1 }));
}
