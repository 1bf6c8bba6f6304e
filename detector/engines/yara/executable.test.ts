// The engine and its thread are part of the executable: nothing of this checkout is needed to scan.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { compile, executables } from "../../../compile.ts";

const eicar = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$EICAR-", "STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"].join("");

test("the executable scans with its own rules and with given ones", { timeout: 120_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), "picket-yara-executable-"));
  try {
    const picket = join(dir, "picket");
    compile({ ...executables.picket, out: picket });
    writeFileSync(join(dir, "file"), eicar);
    writeFileSync(join(dir, "mine.yar"), 'rule mine { strings: $a = "EICAR" condition: $a }');
    const { stdout, exitCode } = Bun.spawnSync([picket, "rules", "scan", "file", "--rules", "mine.yar", "--json"], {
      cwd: dir,
      stderr: "pipe",
    });
    expect(exitCode).toBe(0);
    const { matches } = JSON.parse(stdout.toString()) as { matches: { rule: string; file: string }[] };
    expect(matches.map(({ rule, file }) => ({ rule, file }))).toEqual([
      { rule: "eicar_test_file", file: "builtin/eicar.yar" },
      { rule: "mine", file: "mine.yar" },
    ]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
