// Everything `./install.sh --test` runs: checks, build, tests. Ends with `N passed, N failed, N skipped` alone on a line.
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

type Assertion = { readonly status: string; readonly fullName: string };
type TestFile = {
  readonly name: string;
  readonly status: string;
  readonly message: string;
  readonly startTime: number;
  readonly endTime: number;
  readonly assertionResults: readonly Assertion[];
};
type Report = { readonly testResults: readonly TestFile[] };

/** How long what the tests started may take to end after them, milliseconds. */
const GRACE_MS = 5_000;
const SLOWEST = 5;

const root = join(import.meta.dir, "..");
/** Every temporary file of the tests lies in here, and the variable marks the processes they start. */
const folder = mkdtempSync(join(tmpdir(), "picket-test-"));
// Some tests run a program as another user.
chmodSync(folder, 0o711);
const counts = { passed: 0, failed: 0, skipped: 0 };

// Ctrl-C ends what runs at the moment and starts nothing more; tidying up and counting still happen.
let running: Bun.Subprocess | undefined;
let stopped: string | undefined;
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    stopped = signal;
    running?.kill(signal);
  });
}

async function bun(...argv: string[]): Promise<boolean> {
  if (stopped) throw new Error(`stopped by ${stopped}`);
  running = Bun.spawn([process.execPath, ...argv], {
    cwd: root,
    env: { ...process.env, TMPDIR: folder },
    stdio: ["ignore", "inherit", "inherit"],
  });
  return (await running.exited) === 0;
}

function fail(what: string): void {
  counts.failed++;
  console.log(`FAILED ${what}`);
}

async function step(name: string): Promise<void> {
  // --bun: some tools need a newer Node.js than Debian has.
  if (await bun("run", "--bun", name)) counts.passed++;
  else fail(`bun run ${name}`);
}

async function tests(): Promise<void> {
  const output = join(folder, "report.json");
  // Not bunx --bun: it puts a folder of the temporary one first in PATH, and our own sensor would take what runs there for an intruder.
  const ok = await bun("node_modules/vitest/vitest.mjs", "run", "--reporter=dot", "--reporter=json", `--outputFile.json=${output}`);
  const report: Report | undefined = await Bun.file(output)
    .json()
    .catch(() => undefined);
  if (!report) return fail("vitest ended without a report");
  const failedBefore = counts.failed;
  report.testResults.forEach(count);
  // An error outside any test (an unhandled rejection) fails the run though every test passed.
  if (!ok && counts.failed === failedBefore) fail("an error outside the tests, see above");
  saySlowest(report);
}

function count(file: TestFile): void {
  const of = (status: string) => file.assertionResults.filter((one) => one.status === status);
  counts.passed += of("passed").length;
  for (const { fullName } of of("failed")) fail(`${file.name}: ${fullName}`);
  const broken = file.status === "failed" && of("failed").length === 0;
  if (broken) fail(`${file.name}: ${file.message.trim() || "a hook outside its tests, see above"}`);
  for (const { status, fullName } of file.assertionResults) {
    if (status === "passed" || status === "failed") continue;
    counts.skipped++;
    // A test that skips says why in its name; one whose file broke has another reason.
    console.log(`skipped: ${fullName}${broken ? " (because its file failed)" : ""}`);
  }
}

function saySlowest({ testResults }: Report): void {
  const seconds = (file: TestFile) => (file.endTime - file.startTime) / 1000;
  const slowest = testResults.toSorted((a, b) => seconds(b) - seconds(a)).slice(0, SLOWEST);
  console.log(`slowest: ${slowest.map((file) => `${file.name.replace(`${root}/`, "")} ${seconds(file).toFixed(0)} s`).join(", ")}`);
}

/** Processes that the tests started and that still run: pid -> command line. */
function left(): Map<number, string> {
  const found = new Map<number, string>();
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    try {
      if (!readFileSync(`/proc/${pid}/environ`, "latin1").split("\0").includes(`TMPDIR=${folder}`)) continue;
      found.set(Number(pid), readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ").trim());
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}

const namespaces = () => Bun.spawnSync(["ip", "netns", "list"]).stdout.toString().split("\n").filter(Boolean);

async function nothingLeft(before: readonly string[]): Promise<void> {
  for (const until = performance.now() + GRACE_MS; left().size > 0 && performance.now() < until; ) await sleep(100);
  const failedBefore = counts.failed;
  for (const [pid, command] of left()) {
    fail(`a test left a process running: ${command}`);
    process.kill(pid, "SIGKILL");
  }
  for (const line of namespaces().filter((line) => !before.includes(line))) fail(`a test left a network namespace: ${line}`);
  if (counts.failed === failedBefore) counts.passed++;
}

try {
  const before = namespaces();
  await step("check");
  await step("build");
  await tests();
  await nothingLeft(before);
} catch (error) {
  fail(`the test run itself: ${error instanceof Error ? error.stack : error}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
process.exit(counts.failed === 0 && counts.passed > 0 ? 0 : 1);
