// Everything `./install.sh --test` runs: checks, build, tests. Ends with `N passed, N failed, N skipped` alone on a line.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

type Assertion = { readonly status: string; readonly fullName: string; readonly failureMessages: readonly string[] };
type Report = {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message: string;
    readonly assertionResults: readonly Assertion[];
  }[];
};

const folder = mkdtempSync(join(tmpdir(), "picket-test-"));
const counts = { passed: 0, failed: 0, skipped: 0 };

try {
  for (const step of ["check", "build"]) {
    const { exitCode } = Bun.spawnSync([process.execPath, "run", step], { stdout: "inherit", stderr: "inherit" });
    counts[exitCode === 0 ? "passed" : "failed"]++;
  }
  const output = join(folder, "report.json");
  const { exitCode } = Bun.spawnSync(
    [process.execPath, "x", "--bun", "vitest", "run", "--reporter=dot", "--reporter=json", `--outputFile.json=${output}`],
    {
      stdout: "inherit",
      stderr: "inherit",
    },
  );
  const report: Report = await Bun.file(output).json();
  for (const file of report.testResults) {
    if (file.assertionResults.length === 0 && file.status === "failed") {
      counts.failed++;
      console.log(`FAILED ${file.name}: ${file.message}`);
    }
    for (const { status, fullName } of file.assertionResults) {
      if (status === "passed") counts.passed++;
      else if (status === "failed") counts.failed++;
      else {
        counts.skipped++;
        console.log(`skipped: ${fullName}`);
      }
    }
  }
  // An error outside any test (an unhandled rejection) fails the run though every test passed.
  if (exitCode !== 0 && counts.failed === 0) counts.failed++;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exit(counts.failed === 0 && counts.passed > 0 ? 0 : 1);
