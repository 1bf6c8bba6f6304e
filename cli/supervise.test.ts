import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Supervised, supervise } from "./supervise.ts";

const quick = { restartMs: 5, restartMaxMs: 20, settledMs: 60_000, stopMs: 300, hungMs: 400 };
const script = (text: string) => ["bash", "-c", text];

function collect() {
  const lines: string[] = [];
  const waiting: { pattern: RegExp; resolve: (line: string) => void }[] = [];
  return {
    lines,
    onLine: (_: string, line: string) => {
      lines.push(line);
      for (const { pattern, resolve } of waiting) if (pattern.test(line)) resolve(line);
    },
    seen: (pattern: RegExp) => {
      const before = lines.find((line) => pattern.test(line));
      return before !== undefined ? Promise.resolve(before) : new Promise<string>((resolve) => waiting.push({ pattern, resolve }));
    },
  };
}

const alive = (pid: number) => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

test("a program that was killed runs again, and stop ends it", async () => {
  const log = collect();
  const supervised = supervise({ name: "x", argv: script('echo "pid $$"; exec sleep 60') }, log.onLine);
  const first = Number((await log.seen(/^pid/)).slice(4));
  log.lines.length = 0;
  process.kill(first, "SIGKILL");
  await log.seen(/starting it again/);
  const second = Number((await log.seen(/^pid (?!$)/)).slice(4));
  expect(second).not.toBe(first);
  await supervised.stop();
  expect(alive(second)).toBe(false);
});

test("a program that ignores SIGTERM is killed in the end", async () => {
  const log = collect();
  const supervised = supervise({ name: "x", argv: script('trap "" TERM; echo "pid $$"; while :; do sleep 0.2; done') }, log.onLine, quick);
  const pid = Number((await log.seen(/^pid/)).slice(4));
  await supervised.stop();
  expect(alive(pid)).toBe(false);
});

test("a program that said it lives and says nothing any more is killed and runs again; one that never said it is left alone", async () => {
  const log = collect();
  const says = `const timer = setInterval(() => process.send("alive"), 20); console.log("pid " + process.pid); setTimeout(() => { for (;;); }, 200);`;
  const hangs = supervise({ name: "x", argv: [process.execPath, "-e", says] }, log.onLine, quick);
  const first = Number((await log.seen(/^pid/)).slice(4));
  await log.seen(/program hangs, ending it/);
  await log.seen(/starting it again.*SIGKILL/);
  log.lines.length = 0;
  expect(Number((await log.seen(/^pid/)).slice(4))).not.toBe(first);
  await hangs.stop();

  const other = collect();
  const silent = supervise({ name: "x", argv: script('echo "pid $$"; sleep 2; echo done; exec sleep 60') }, other.onLine, quick);
  await other.seen(/^done/);
  expect(other.lines.filter((line) => line.includes("hangs"))).toEqual([]);
  await silent.stop();
}, 30_000);

test("a program that only dies is reported with its last words", async () => {
  const supervised: Supervised = supervise({ name: "x", argv: script("echo cannot open the store >&2; exit 1") }, () => undefined, quick);
  expect(await supervised.failed).toBe("cannot open the store");
  await supervised.stop();
});

test("no program outlives a supervisor that was killed", async () => {
  const folder = mkdtempSync(join(tmpdir(), "picket-supervise-"));
  try {
    const file = new URL("supervise.ts", import.meta.url).pathname;
    const code = `import { supervise } from ${JSON.stringify(file)}; supervise({ name: "x", argv: ["bash", "-c", "echo $$ > ${folder}/pid; echo ready; exec sleep 60"] }, () => console.log("ready"));`;
    const supervisor = Bun.spawn(["bun", "-e", code], { stdout: "pipe" });
    await supervisor.stdout.getReader().read();
    const pid = Number(readFileSync(`${folder}/pid`, "utf8"));
    expect(alive(pid)).toBe(true);
    supervisor.kill("SIGKILL");
    await supervisor.exited;
    while (alive(pid)) await new Promise((resolve) => setTimeout(resolve, 10));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
