import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { compileRules } from "./engine.ts";
import { loadRules } from "./load.ts";

const rule = (id: string) =>
  `title: ${id}\nid: ${id}\nlevel: low\nlogsource: { category: process_creation }\ndetection: { s: { Image: x }, condition: s }\n`;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "picket-rules-"));
  await mkdir(join(folder, "deep/er"), { recursive: true });
  await Bun.write(join(folder, "b.yml"), rule("b"));
  await Bun.write(join(folder, "a.yaml"), rule("a"));
  await Bun.write(join(folder, "deep/er/c.yml"), rule("c"));
  await Bun.write(join(folder, "bad.yml"), "title: x\n");
  await Bun.write(join(folder, "notes.md"), "no rule");
  await Bun.write(join(folder, "y.yar"), "rule y { condition: true }");
  await symlink(folder, join(folder, "deep/loop"));
});
afterAll(() => rm(folder, { recursive: true }));

test("a folder is read to its ends, in order, without following links", async () => {
  const { files, documents, rules, errors, warnings, yara } = await loadRules([folder]);
  expect({ files, documents, ids: rules.map(({ id }) => id) }).toEqual({ files: 4, documents: 4, ids: ["a", "b", "c"] });
  expect(errors).toMatchObject([{ file: join(folder, "bad.yml"), line: 1, message: "the rule has no logsource" }]);
  expect({ warnings, yara }).toEqual({ warnings: [], yara: [join(folder, "y.yar")] });
});

test("a path given twice is read once; a missing one is an error and stops nothing", async () => {
  const one = join(folder, "a.yaml");
  const { rules, errors } = await loadRules([one, one, join(folder, "none"), "/dev/null"]);
  expect(rules).toHaveLength(1);
  expect(errors).toMatchObject([
    { file: join(folder, "none"), message: expect.stringContaining("cannot be read") },
    { file: "/dev/null", message: expect.stringContaining("not a file or folder") },
  ]);
});

const shared = new URL("../../shared/data/sigma-linux/", import.meta.url).pathname;
const present = await Bun.file(`${shared}COUNTS.md`).exists();

test.skipIf(!present)(
  "all of SigmaHQ's active Linux rules parse, and agree with another evaluator (skipped without shared/data)",
  async () => {
    const { documents, errors, rules } = await loadRules(
      ["rules", "rules-emerging-threats", "rules-threat-hunting"].map((name) => shared + name),
    );
    expect({ documents, errors }).toEqual({ documents: 248, errors: [] });
    expect(rules.length).toBeGreaterThanOrEqual(240);
    // What the other evaluator knows; rules for auditd see programs start, too.
    const matcher = compileRules(rules.filter(({ logsource }) => logsource.category === "process_creation"));
    const lines = (await Bun.file(`${shared}process-creation-oracle.dev.ndjson`).text()).trim().split("\n");
    const wrong = lines.filter((line) => {
      const { event, expect } = JSON.parse(line) as { event: Record<string, string>; expect: string[] };
      const process = {
        ...{ pid: 1, startTicks: 0, ppid: 0, uid: -1, exe: event.Image!, argv: event.CommandLine!.split(" ") },
        ...(event.ParentImage && { parent: { pid: 0, exe: event.ParentImage } }),
      };
      const seen = matcher.match({ v: 1, device: "d", epoch: "recorded", seq: 0, timeMs: 0, type: "process.exec", body: { process } });
      return (
        seen
          .map(({ id }) => id)
          .sort()
          .join() !== expect.toSorted().join()
      );
    });
    expect(lines.length).toBeGreaterThan(5000);
    expect(wrong).toEqual([]);
  },
);
