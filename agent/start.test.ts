// What is loaded at the start stays in memory for as long as the agent runs.
import { expect, test } from "vitest";

const root = new URL("..", import.meta.url).pathname;

/** Files that loading `entry` loads too. Types, and what is imported when it is needed, are not among them. */
async function loadedBy(entry: string): Promise<Set<string>> {
  const { metafile } = await Bun.build({ entrypoints: [root + entry], root, target: "bun", metafile: true });
  const loaded = new Set([entry]);
  for (const file of loaded)
    for (const { path, kind } of metafile?.inputs[file]?.imports ?? []) if (kind !== "dynamic-import") loaded.add(path);
  return loaded;
}

test("a running agent does not load what only reads events, enrols or renews", async () => {
  const loaded = await loadedBy("agent/run.ts");
  expect(loaded).toContain("protocol/batch-encode.ts");
  expect(loaded, "schemas of every event: 5 MB").not.toContain("protocol/event.ts");
  expect(loaded, "schemas of the API").not.toContain("protocol/rest.ts");
  expect(loaded, "the YAML parser: 35 MB").not.toContain("rules/sigma/parse.ts");
  expect(
    [...loaded].filter((file) => file.includes("@peculiar")),
    "an X.509 library",
  ).toEqual([]);
});
