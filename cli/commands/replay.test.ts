import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Alert } from "@picket/protocol/alert";
import { afterAll, expect, test } from "vitest";

const dir = mkdtempSync(join(tmpdir(), "picket-replay-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const bash = {
  pid: 412,
  startTicks: 1,
  ppid: 300,
  exe: "/usr/bin/bash",
  argv: ["bash", "-c", "x"],
  parent: { pid: 300, startTicks: 1, exe: "/usr/bin/python3" },
};
const sh = { pid: 413, startTicks: 2, ppid: 412, exe: "/usr/bin/sh", argv: ["sh", "-i\u001B[8m"] };
const line = (type: string, timeMs: number, body: object, id: string) => JSON.stringify({ id, type, timeMs, device: "gw-1", body });
const shell = [
  line("process.exec", 1000, { process: bash }, "one"),
  line("net.connect", 2000, { process: bash, net: { proto: "tcp", dstIp: "198.51.100.7", dstPort: 4444 } }, "two"),
  line("process.exec", 3000, { process: sh }, "three"),
];

async function picket(lines: readonly string[], ...args: string[]) {
  const file = join(dir, "events.ndjson");
  writeFileSync(file, lines.join("\n"));
  const child = Bun.spawn(["bun", new URL("../main.ts", import.meta.url).pathname, "replay", file, ...args], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  return { code: await child.exited, stdout, stderr };
}

test("--json prints alerts, a line each, and nothing else", async () => {
  const { code, stdout, stderr } = await picket(shell, "--json", "--no-builtin");
  const alerts = stdout
    .trimEnd()
    .split("\n")
    .map((text) => Alert.parse(JSON.parse(text)));
  expect(alerts.map(({ rule, events }) => [rule.id, events.toSorted()])).toEqual([["picket-chain-reverse-shell", ["one", "three", "two"]]]);
  expect(stderr).toContain("3 events, 1 alert,");
  expect(code).toBe(0);
});

test("a bad line is named, and the rest is still judged", async () => {
  const { code, stdout, stderr } = await picket(
    [shell[0]!, "nonsense", '{"type":"process.exec"}', shell[1]!, shell[2]!],
    "--json",
    "--no-builtin",
  );
  expect(stdout.trimEnd().split("\n")).toHaveLength(1);
  expect(stderr).toMatch(/events\.ndjson:2: error: .*\n.*events\.ndjson:3: error: /);
  expect(code).toBe(1);
});

test("what a recording holds does not steer the terminal", async () => {
  const { stdout } = await picket(shell, "--no-builtin");
  expect(stdout).toContain("Reverse shell");
  expect(stdout).not.toMatch(/(?!\n)\p{Control}/u);
});

test.each([
  [[], 2],
  [["--rules", "/nonexistent"], 1],
] as const)("options %j end with %i", async (args, expected) => {
  if (expected === 2) {
    const child = Bun.spawn(["bun", new URL("../main.ts", import.meta.url).pathname, "replay"], { stdout: "ignore", stderr: "ignore" });
    expect(await child.exited).toBe(2);
  } else expect((await picket(shell, ...args)).code).toBe(expected);
});
