import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { eventually, type Program, start } from "../test/e2e/program.ts";

const module = new URL("foreground.ts", import.meta.url).href;
const code = `
import { runInForeground } from ${JSON.stringify(module)};
const stopMs = Number(process.argv[1] ?? 0);
await runInForeground(async (check) => {
  if (check) return void console.log("looks at the configuration");
  console.log("starts");
  return { [Symbol.asyncDispose]: async () => { console.log("stops"); await Bun.sleep(stopMs); console.log("stopped"); } };
}, () => undefined, process.argv[2] ?? "/nonexistent/site.toml");
console.log("done");
`;
let program: Program;

async function begin(stopMs = 0, file: string[] = []): Promise<void> {
  program = start(["bun", "-e", code, String(stopMs), ...file]);
  await program.line(/^starts/);
}

/** Signals that are all there before the program sees the first, as when its terminal is closed and its parent dies of it. */
function atOnce(...signals: NodeJS.Signals[]): void {
  for (const signal of ["SIGSTOP", ...signals, "SIGCONT"] as const) process.kill(program.pid, signal);
}

afterEach(() => program?.[Symbol.asyncDispose]());

test("SIGHUP looks first, then starts again; SIGTERM ends", async () => {
  await begin();
  atOnce("SIGHUP");
  await eventually("it starts again", () => program.lines.filter((line) => line === "starts").length === 2);
  expect(await program.kill("SIGTERM")).toBe(0);
  expect(program.lines).toEqual(["starts", "looks at the configuration", "stops", "stopped", "starts", "stops", "stopped", "done"]);
});

test.each([[["SIGHUP", "SIGTERM"]], [["SIGTERM", "SIGHUP"]], [["SIGINT", "SIGHUP"]]] as const)(
  "%s at once: the end is not lost in a reload",
  async (signals) => {
    await begin();
    atOnce(...signals);
    await program.line(/^done/);
    expect(program.lines.filter((line) => line === "stops").length).toBe(program.lines.filter((line) => line === "starts").length);
  },
);

test("a second Ctrl-C ends what does not end cleanly", async () => {
  await begin(600_000);
  atOnce("SIGINT");
  await program.line(/^stops/);
  expect(await program.kill("SIGINT")).not.toBe(0);
  expect(program.lines).not.toContain("stopped");
});

test("a changed file is a SIGHUP", async () => {
  const dir = mkdtempSync(join(tmpdir(), "picket-foreground-"));
  const file = join(dir, "site.toml");
  await begin(0, [file]);
  writeFileSync(file, "");
  await eventually("it starts again", () => program.lines.filter((line) => line === "starts").length === 2);
  expect(await program.kill("SIGTERM")).toBe(0);
  rmSync(dir, { recursive: true });
});
