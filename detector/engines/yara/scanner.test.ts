import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { checkYara } from "./check.ts";
import { createScanner, factsOf, type ScannerOptions } from "./scanner.ts";

const eicar = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].join("");
const bytes = (text: string) => new TextEncoder().encode(text);
const rule = (name: string, pattern: string) => `rule ${name} { strings: $a = "${pattern}" condition: $a }`;
/** Counts to more than any machine gets done, whatever the file holds. */
const endless =
  'rule endless { strings: $a = "for ever" condition: $a and for all i in (0..1000000000) : (for all j in (0..1000) : (uint8(j % 4) < 300 + i)) }';
let dir: string;
// Compiling a thousand rules takes three seconds of CPU, and a busy machine gives it slowly.
vi.setConfig({ testTimeout: 120_000 });

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-yara-"));
});
afterAll(() => rmSync(dir, { recursive: true }));

let made = 0;
function pack(text: string): string {
  const path = join(dir, `pack-${made++}.yar`);
  writeFileSync(path, text);
  return path;
}
const scannerOf = (texts: readonly string[], limits: ScannerOptions["limits"] = {}) =>
  createScanner({ builtin: false, packs: texts.map(pack), limits });

test("EICAR fires, with what an alert needs", async () => {
  await using scanner = await createScanner({});
  expect(scanner.problems).toEqual([]);
  const { matches, error } = await scanner.scan(bytes(eicar));
  expect(error).toBeUndefined();
  expect(matches.map(({ rule, file }) => ({ rule, file }))).toEqual([{ rule: "eicar_test_file", file: "builtin/eicar.yar" }]);
  expect(factsOf(matches[0]!)).toEqual({
    id: "yara:eicar_test_file",
    title: "EICAR test file",
    level: "medium",
    author: "Picket",
    attack: { tactics: ["execution"], techniques: ["T1204.002"] },
    score: 35,
    alerts: true,
  });
  expect(matches[0]!.strings.map(({ identifier, offsets, count }) => ({ identifier, offsets, count }))).toEqual([
    { identifier: "$start", offsets: [0], count: 1 },
    { identifier: "$end", offsets: [34], count: 1 },
  ]);
});

test("a match tells where and what, within bounds and printable", async () => {
  await using scanner = await scannerOf([
    `rule many : one two { meta: title = "Many" strings: $a = /a\\x1b.{3}/ $none = "absent" $p = "z" private condition: ($a or $none) and $p }
     private rule unseen { condition: true }`,
  ]);
  const { matches } = await scanner.scan(bytes(`z${"a\u001bbcd".repeat(10_000)}`));
  expect(matches).toHaveLength(1);
  expect(matches[0]).toMatchObject({ rule: "many", tags: ["one", "two"], meta: { title: "Many", severity: "high" } });
  const [{ excerpt, offsets, count, identifier } = {}, ...others] = matches[0]!.strings;
  expect({ excerpt, offsets, identifier }).toEqual({ excerpt: "a.bcd", offsets: [1, 6, 11, 16], identifier: "$a" });
  expect(count).toBeLessThanOrEqual(5000);
  expect(others).toEqual([]);
});

test("what cannot be compiled is named by file and line, and stops nothing else", async () => {
  const texts = [
    `${rule("good", "good")}\nrule bad {\n  condition:\n    $missing\n}\nrule needs_bad { condition: bad }\n${rule("after", "after")}`,
    `include "/etc/passwd"\nimport "nothing"\n${rule("beside", "beside")}`,
    "this is no YARA at all",
    rule("good", "the same name elsewhere"),
    "",
  ];
  const packs = texts.map(pack);
  await using scanner = await createScanner({ builtin: false, packs: [...packs, join(dir, "absent.yar")] });
  const problems = scanner.problems.map(({ file, line, message }) => [packs.indexOf(file), line, message] as const);
  expect(problems).toEqual([
    [-1, 1, expect.stringContaining("cannot be read")],
    [0, 4, expect.stringContaining("$missing")],
    [0, 6, expect.stringContaining("bad")],
    [1, 1, expect.stringContaining("include is not allowed")],
    [1, 2, expect.stringContaining("nothing")],
    [2, 1, expect.stringContaining("syntax error")],
  ]);
  expect(scanner.rules).toBe(4);
  const { matches } = await scanner.scan(bytes("good after beside the same name elsewhere"));
  expect(matches.map(({ rule, file }) => [rule, packs.indexOf(file)])).toEqual([
    ["good", 0],
    ["after", 0],
    ["beside", 1],
    ["good", 3],
  ]);

  const checked = await checkYara(packs);
  expect({ files: checked.files, rules: checked.rules, loaded: checked.loaded }).toEqual({ files: 5, rules: 6, loaded: 4 });
  expect(checked.errors.map(({ file, line }) => [packs.indexOf(file), line])).toEqual(
    problems.slice(1).map(([file, line]) => [file, line]),
  );
  expect(checked.warnings).toContainEqual({ file: packs[4], line: 1, message: "the file holds no rule" });
});

test("a file that ends the compiler is left out and named", async () => {
  const deep = `rule deep { condition: ${"(".repeat(100_000)}true${")".repeat(100_000)} }`;
  const packs = [rule("first", "one"), deep, rule("last", "one")].map(pack);
  await using scanner = await createScanner({ builtin: false, packs });
  expect(scanner.problems).toEqual([{ file: packs[1], line: 1, message: expect.stringContaining("the compiler ended at this file") }]);
  expect((await scanner.scan(bytes("one"))).matches.map(({ rule }) => rule)).toEqual(["first", "last"]);
  expect(await checkYara(packs)).toMatchObject({ files: 3, loaded: 2, errors: [{ file: packs[1] }] });
});

test("a scan that does not end is given up, the caller's thread goes on meanwhile, and so does the next file", async () => {
  await using scanner = await scannerOf([rule("found", "needle"), endless], { timeoutMs: 400 });
  let turns = 0;
  const ticking = setInterval(() => turns++, 10);
  const [hung, next] = await Promise.all([scanner.scan(bytes("for ever")), scanner.scan(bytes("needle"))]);
  clearInterval(ticking);
  expect(hung).toEqual({ matches: [], error: "timeout" });
  expect(next.matches.map(({ rule }) => rule)).toEqual(["found"]);
  expect(turns).toBeGreaterThan(5);
});

test("a file over the limit is not scanned", async () => {
  await using scanner = await scannerOf([rule("found", "needle")], { maxBytes: 1000 });
  expect(await scanner.scan(new Uint8Array(1001))).toEqual({ matches: [], error: "too big" });
  expect(await scanner.scan(new Uint8Array(1000))).toEqual({ matches: [] });
});

test("a thread is replaced after its share of scans or of memory, and when there was no work", async () => {
  for (const limits of [{ scans: 2 }, { heldBytes: 1 }, { idleMs: 1 }]) {
    await using scanner = await scannerOf([rule("found", "needle")], limits);
    for (let at = 0; at < 3; at++) {
      expect((await scanner.scan(bytes(`${at} needle`))).matches).toHaveLength(1);
      expect((await scanner.scan(bytes("hay"))).matches).toEqual([]);
    }
  }
});

test("the same file gets the same verdict however many came before, and memory stays within bounds", async () => {
  await using scanner = await createScanner({});
  const files = [bytes(eicar), bytes("#!/bin/sh\necho hello\n"), new Uint8Array(200_000).fill(65)];
  const expected = await Promise.all(files.map((file) => scanner.scan(file)));
  const rounds = async (count: number) => {
    for (let round = 0; round < count; round++)
      for (const [at, file] of files.entries()) expect(await scanner.scan(file)).toEqual(expected[at]);
  };
  await rounds(50);
  Bun.gc(true);
  const before = process.memoryUsage.rss();
  await rounds(100);
  Bun.gc(true);
  // Without reuse.ts and with `rules.scan` this grows by more than half a megabyte a scan.
  expect(process.memoryUsage.rss() - before).toBeLessThan(150 << 20);
});

test("a scan whose turn has not come can be called off; a disposed scanner says so", async () => {
  const scanner = await scannerOf([rule("found", "needle")]);
  const abort = new AbortController();
  const first = scanner.scan(bytes("needle"));
  const second = scanner.scan(bytes("needle"), abort.signal);
  abort.abort(new Error("called off"));
  expect((await first).matches).toHaveLength(1);
  await expect(second).rejects.toThrow("called off");
  await scanner[Symbol.asyncDispose]();
  await expect(scanner.scan(bytes("needle"))).rejects.toThrow("disposed");
});

test("the pack's name changes with the rules and with nothing else", async () => {
  const one = pack(rule("one", "1"));
  const names: string[] = [];
  for (const packs of [[one], [one], [one, pack(rule("two", "2"))]]) {
    await using scanner = await createScanner({ builtin: false, packs });
    names.push(scanner.pack);
  }
  expect(names[0]).toMatch(/^[0-9a-f]{64}$/);
  expect(names[1]).toBe(names[0]);
  expect(names[2]).not.toBe(names[0]);
});

const shared = new URL("../../../../shared/data/yara/", import.meta.url).pathname;
const present = await Bun.file(`${shared}README.md`).exists();

test.skipIf(!present)("public packs load, all but rules that need external variables (skipped without shared/data)", async () => {
  await using scanner = await createScanner({ builtin: false, packs: [shared] });
  expect(scanner.rules).toBeGreaterThan(1300);
  const files = new Set(scanner.problems.map(({ file }) => file.split("/").pop()));
  expect([...files].sort()).toEqual(["configured_vulns_ext_vars.yar", "yara_mixed_ext_vars.yar"]);
  const { matches } = await scanner.scan(bytes(eicar));
  expect(matches.map(({ rule }) => rule)).toContain("Multi_EICAR_ac8f42d6");
});

const system = ["/usr/bin", "/usr/sbin", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"].flatMap((folder) => {
  try {
    return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [join(folder, entry.name)] : []));
  } catch {
    return [];
  }
});

test.skipIf(system.length === 0)(
  "no shipped rule fires on programs, libraries and scripts of this machine (skipped without any)",
  async () => {
    await using scanner = await createScanner({});
    const step = Math.max(1, Math.floor(system.length / 150));
    let scanned = 0;
    for (const path of system.filter((_, at) => at % step === 0)) {
      if (statSync(path).size > 2 << 20) continue;
      const { matches } = await scanner.scan(readFileSync(path));
      expect({ path, rules: matches.map(({ rule }) => rule) }).toEqual({ path, rules: [] });
      scanned++;
    }
    expect(scanned).toBeGreaterThan(10);
  },
);
