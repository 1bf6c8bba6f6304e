import type { SampleMatch, SampleVerdict, Sighting } from "@picket/protocol/feed";
import { expect, test } from "vitest";
import { encodeCommit } from "./feed/commit.ts";
import { type FileScanner, Files } from "./files.ts";
import { createPipeline } from "./pipeline.ts";
import { BOOT, event, exec, noRules, proc, T0 } from "./testing/events.ts";
import { packed, TestSite } from "./testing/site.ts";

const sha = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex");
const BAD = "this one is bad";
const GOOD = "this one is fine";

const match = (rule: string): SampleMatch => ({
  rule,
  title: `Rule ${rule}`,
  severity: "high",
  score: 55,
  attack: { tactics: ["execution"], techniques: ["T1204.002"] },
  why: '$a is "bad" at 12',
});

/** Calls bad what says so; counts what it was given. */
function scannerOf(pack = "pack-1", rules = ["r1", "r2"]): FileScanner & { scans: string[] } {
  const scans: string[] = [];
  return {
    pack,
    scans,
    scan: async (sha256, bytes): Promise<SampleVerdict> => {
      scans.push(sha256);
      const text = Buffer.from(bytes).toString();
      expect(sha(text)).toBe(sha256);
      return { sha256, pack, matches: text.includes("bad") ? rules.map(match) : [] };
    },
  };
}

const hashed = (device: string, text: string, path: string, more = {}) =>
  event("file.hash", 5, { process: proc(7, "/usr/bin/cp"), file: { path, sha256: sha(text), size: text.length } }, { device, ...more });

/** Two devices write the bad file, one runs it; one also has a good one. */
function site(): TestSite {
  const made = new TestSite();
  for (const text of [BAD, GOOD]) made.samples.set(sha(text), Buffer.from(text));
  made.log.push(...log);
  return made;
}

const log = [
  packed(1, T0, BOOT, [hashed("gw-1", BAD, "/tmp/x"), hashed("gw-1", GOOD, "/tmp/y"), hashed("gw-1", BAD, "/tmp/again")]),
  packed(2, T0 + 10, BOOT, [exec(20, proc(9, "/opt/z", { sha256: sha(BAD) }), { device: "gw-2" })]),
];

const fresh = () => createPipeline({ site: "lab", ...noRules });
const always = () => true;
const alertsOf = (of: TestSite) =>
  [...of.alerts.values()].map(({ detection }) => `${detection.device} ${detection.rule.id} ${detection.revision}`).sort();
const four = ["gw-1 r1 0", "gw-1 r2 0", "gw-2 r1 0", "gw-2 r2 0"];

test("a bad file alerts once for each device and rule, and is scanned once", async () => {
  const of = site();
  const scanner = scannerOf();
  expect(await of.run(fresh(), always, [], scanner)).toBe(true);
  expect(alertsOf(of)).toEqual(four);
  expect(scanner.scans.sort()).toEqual([sha(BAD), sha(GOOD)].sort());
  const { detection } = [...of.alerts.values()].find(({ detection: { device } }) => device === "gw-2")!;
  expect(detection).toMatchObject({
    rule: { engine: "yara", title: "Rule r1" },
    severity: "high",
    attack: { techniques: ["T1204.002"] },
    process: { exe: "/opt/z", sha256: sha(BAD) },
    timeMs: T0 + 20,
  });
  expect(detection.summary).toBe(`/opt/z matches Rule r1: $a is "bad" at 12. SHA-256 ${sha(BAD)}, run as z (pid 9).`);
  expect(detection.events).toEqual([of.sightings.get(`gw-2 ${sha(BAD)}`)?.event]);
});

test("killed at any one step, each alert is there exactly once, as if nothing had happened", async () => {
  const whole = site();
  let steps = 0;
  expect(await whole.run(fresh(), () => ++steps > 0, [], scannerOf())).toBe(true);
  expect(steps).toBeGreaterThan(10);
  for (let at = 1; at <= steps; at++) {
    const of = site();
    let left = at;
    expect(await of.run(fresh(), () => --left > 0, [], scannerOf())).toBe(false);
    expect(await of.run(fresh(), always, [], scannerOf())).toBe(true);
    expect(of.outcome(), `killed at step ${at}`).toEqual(whole.outcome());
    expect(alertsOf(of)).toEqual(four);
  }
});

test("a new pack: files are scanned again; what it calls as before makes no second alert, what is new alerts", async () => {
  const of = site();
  await of.run(fresh(), always, [], scannerOf());
  const again = scannerOf("pack-2", ["r2", "r3"]);
  expect(await of.run(fresh(), always, [], again)).toBe(true);
  expect(again.scans).toHaveLength(2);
  expect(alertsOf(of)).toEqual([...four, "gw-1 r3 0", "gw-2 r3 0"].sort());
});

function alone(scanner = scannerOf()) {
  const files = new Files({ site: "lab", decided: () => {} });
  files.use(scanner);
  return { files };
}

const sighting = (device: string): Sighting => ({
  device,
  sha256: sha(BAD),
  path: "/tmp/\u001b[8mx",
  executed: false,
  event: `${device}:abcdefgh:1`,
  timeMs: T0,
});

test("what is read again silently, an empty file and what is no hash are no sightings; nor the same file again", () => {
  const { files } = alone();
  const see = (of: Parameters<Files["see"]>[0], silent = false) => files.see(of, { id: "e", silent });
  see(hashed("gw-1", BAD, "/tmp/x"), true);
  see(hashed("gw-1", "", "/tmp/empty"));
  see(exec(1, proc(3, "/bin/x", { sha256: "Z".repeat(64) })));
  see(exec(1, proc(3, "/bin/x")));
  expect(files.pending.sightings).toBe(0);
  see(hashed("gw-1", GOOD, "/tmp/x"));
  see(hashed("gw-1", GOOD, "/tmp/x"));
  see(hashed("gw-1", BAD, "/tmp/x"));
  expect(files.take().sightings.map(({ sha256 }) => sha256)).toEqual([sha(GOOD)]);
});

test("pieces that leave something out or come from nowhere end the session", () => {
  const { files } = alone();
  const piece = (offset: number, size = 4) => ({ kind: "sample" as const, session: "s", sha256: sha(BAD), size, offset });
  expect(() => files.piece(piece(2), Buffer.from("ab"))).toThrow("follow");
  files.piece(piece(0), Buffer.from("ab"));
  expect(() => files.piece(piece(3), Buffer.from("b"))).toThrow("follow");
  files.piece(piece(0), Buffer.from("ab"));
  expect(() => files.piece(piece(2), Buffer.from("abc"))).toThrow("follow");
  const deaf = new Files({ site: "lab", decided: () => {} });
  expect(() => deaf.piece(piece(0), Buffer.from("ab"))).toThrow("not asked for");
});

test("more alerts than a commit should hold go in several", () => {
  const { files } = alone();
  const verdict = { sha256: sha(BAD), pack: "p", matches: Array.from({ length: 64 }, (_, at) => match(`r${at}`)) };
  files.news({ kind: "verdict", session: "s", verdict, sightings: ["gw-1", "gw-2", "gw-3"].map(sighting) });
  const takes = Array.from({ length: 4 }, () => files.take());
  expect(takes.map(({ alerts, judged }) => [alerts.length, judged.length])).toEqual([
    [64, 1],
    [64, 1],
    [64, 1],
    [0, 0],
  ]);
  expect(takes[0]!.alerts[0]!.detection.summary).toContain("/tmp/\uFFFD[8mx matches");
});

test("a device that reports nothing but new files fills many commits, none beyond its bounds", async () => {
  const of = new TestSite();
  const all = Array.from({ length: 6000 }, (_, n) => hashed("gw-1", `file ${n}`, `/tmp/${n}`));
  for (let n = 0; n < 12; n++) of.log.push(packed(n + 1, T0 + n, BOOT, all.slice(n * 500, n * 500 + 500)));
  expect(await of.run(fresh(), always)).toBe(true);
  expect(of.sightings.size).toBe(6000);
});

test("sightings lose their process before a commit becomes too large for its message", () => {
  const process = proc(1, `/${"x".repeat(1000)}`, { argv: ["y".repeat(900)] });
  const sightings = Array.from({ length: 2000 }, (_, n) => ({ ...sighting("gw-1"), sha256: sha(String(n)), process }));
  const commit = { session: "s", next: 1, alerts: [], seen: [], read: 0, refused: 0, sightings };
  expect(JSON.parse(encodeCommit(commit)).sightings[1999].process).toEqual(process);
  const text = encodeCommit(commit, 1 << 20);
  expect(text.length).toBeLessThan(1 << 20);
  expect(JSON.parse(text).sightings).toEqual(sightings.map(({ process: _, ...rest }) => rest));
});
