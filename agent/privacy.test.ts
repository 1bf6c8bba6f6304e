import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SensorEvent } from "@picket/protocol/event";
import { expect, test } from "vitest";
import { AgentConfig } from "./config.ts";
import { maskOf } from "./privacy.ts";

const told = (mask: (event: SensorEvent) => SensorEvent) => {
  const { body } = mask({ type: "process.exec", body: { process: { argv: ["app", "--password=hunter2"] } } } as unknown as SensorEvent);
  return "process" in body ? body.process!.argv[1] : undefined;
};

test("marks stay the same over restarts, differ between devices, and the key is nobody else's to read", () => {
  const [first, second] = [1, 2].map(() => mkdtempSync(join(tmpdir(), "picket-privacy-"))) as [string, string];
  const config = AgentConfig.parse({});
  const mark = told(maskOf(config, first));
  expect(mark).toMatch(/^--password=<masked:[0-9a-f]{8}>$/);
  expect(told(maskOf(config, first))).toBe(mark);
  expect(told(maskOf(config, second))).not.toBe(mark);
  expect(told(maskOf(config))).not.toBe(mark);
  expect(statSync(join(first, "mask.key")).mode & 0o777).toBe(0o600);
  // A torn file is no key.
  writeFileSync(join(first, "mask.key"), "short");
  expect(told(maskOf(config, first))).toMatch(/<masked:/);
  expect(statSync(join(first, "mask.key")).size).toBe(32);
  for (const dir of [first, second]) rmSync(dir, { recursive: true });
});

test("it can be switched off; a pattern that is none is an error of the configuration", () => {
  expect(told(maskOf(AgentConfig.parse({ privacy: { mask: false } })))).toBe("--password=hunter2");
  expect(AgentConfig.safeParse({ privacy: { patterns: ["("] } }).error?.message).toContain("regular expression");
});
