// What a stolen device can send: refused with a reason, counted, and at bounded cost.
import { expect, test } from "vitest";
import { hostileBatches } from "../testing/hostile.ts";

/** Over twenty of each: inflating, and what the collector has not taken back yet. */
const MAX_GROWN_BYTES = 96 << 20;

test("each hostile batch is refused with its reason, and none costs memory beyond a bound", async () => {
  const child = Bun.spawn(["bun", new URL("../testing/hostile-child.ts", import.meta.url).pathname], { stdout: "pipe", stderr: "inherit" });
  const lines = (await new Response(child.stdout).text()).trim().split("\n");
  expect(await child.exited).toBe(0);
  const results = lines.map((line) => JSON.parse(line) as { name: string; reason: string; grownBytes: number });
  expect(results.map(({ name }) => name)).toEqual(Object.keys(hostileBatches("gw-1")));
  const reasons = Object.fromEntries(results.map(({ name, reason }) => [name, reason]));
  expect(reasons).toEqual({
    "a bomb that says what it is": expect.stringContaining("unfolds into 268435456 bytes"),
    "a bomb that says it is small": expect.stringContaining("body: "),
    "a bomb that says 2^62": expect.stringContaining("unfolds into 4611686018427388000 bytes"),
    "many frames": expect.stringContaining("more or less than one zstd frame"),
    "skippable frames": expect.stringContaining("not a zstd frame"),
    "four megabytes of nothing": expect.stringContaining("line 1 has 4194304 bytes"),
    "arrays two million deep": expect.stringContaining("line 1 nests deeper than 32"),
    "objects deep within a megabyte": expect.stringContaining("line 1 nests deeper than 32"),
    "more lines than announced": expect.stringContaining("1 events announced, 1000001 lines found"),
    "a million runs": expect.stringContaining("no header line in the first 8192 bytes"),
    "a header of a megabyte": expect.stringContaining("no header line in the first 8192 bytes"),
    "a header without an end": expect.stringContaining("no header line in the first 8192 bytes"),
    "a version from the future": expect.stringContaining("header"),
    "numbers beyond counting": expect.stringContaining("beyond what can be counted"),
    "more events than a batch has": expect.stringContaining("more than 500 events"),
    "a name that is none": expect.stringContaining("header"),
    garbage: expect.stringMatching(/header/),
  });
  expect(Math.max(...results.map(({ grownBytes }) => grownBytes))).toBeLessThan(MAX_GROWN_BYTES);
}, 60_000);
