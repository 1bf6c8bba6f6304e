import { mkdtempSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { watchConfigFile } from "./config-file.ts";

test("a file that is made, written, replaced or removed is noticed; one that is touched is not", async () => {
  const dir = mkdtempSync(join(tmpdir(), "picket-config-"));
  const path = join(dir, "agent.toml");
  let changes = 0;
  const seen = (count: number) => expect.poll(() => changes, { timeout: 5000 }).toBe(count);
  {
    using _ = watchConfigFile(path, () => changes++, 20);
    writeFileSync(path, "a = 1\n");
    await seen(1);
    writeFileSync(path, "a = 22\n");
    await seen(2);
    utimesSync(path, 1, 1);
    writeFileSync(join(dir, "new"), "a = 3\n");
    renameSync(join(dir, "new"), path);
    await seen(3);
    rmSync(path);
    await seen(4);
  }
  writeFileSync(path, "a = 5\n");
  await Bun.sleep(100);
  expect(changes).toBe(4);
  rmSync(dir, { recursive: true });
});
