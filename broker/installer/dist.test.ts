import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openDist } from "./dist.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-dist-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test("a folder that is not there, or half made, is a site without a release", () => {
  expect(openDist(join(dir, "absent")).release()).toBeUndefined();
  mkdirSync(join(dir, "linux-x64/picket-agent"), { recursive: true });
  writeFileSync(join(dir, "device.sh"), "");
  const dist = openDist(dir);
  expect([dist.release(), dist.file("linux-x64/picket-agent"), dist.file("device.sh"), dist.file("first-boot.sh")]).toEqual(
    Array(4).fill(undefined),
  );
});

test("what is put there is served from the next call on", () => {
  const dist = openDist(dir);
  writeFileSync(join(dir, "release.jws"), "a.b.c\n");
  writeFileSync(join(dir, "device.sh"), "12345");
  expect(dist.release()).toBe("a.b.c");
  expect(dist.file("device.sh")).toEqual({ path: join(dir, "device.sh"), sizeBytes: 5 });
});

test("a release that is larger than any we make is none", () => {
  writeFileSync(join(dir, "release.jws"), "x".repeat(17 * 1024));
  expect(openDist(dir).release()).toBeUndefined();
});
