// The memory of real processes, read while they run.
import { mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { addressOf, readTable } from "@picket/protocol/memory";
import { afterEach, beforeEach, expect, test } from "vitest";
import { hostProc } from "../enrich/proc.ts";
import { dumpMemory } from "./dump.ts";
import { filledRuns, regionsOf } from "./regions.ts";
import { createMemoryScan, type MemoryPorts, type MemoryScan } from "./scan.ts";

type Reported = Parameters<MemoryPorts["found"]>[0];
let dir: string;
let open: AsyncDisposableStack;
let reported: Reported[];
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "pkmem-"));
  open = new AsyncDisposableStack();
  reported = [];
});
afterEach(async () => {
  await open.disposeAsync();
  rmSync(dir, { recursive: true, force: true });
});

const root = process.getuid?.() === 0;
const sha = (bytes: Uint8Array) => new Bun.CryptoHasher("sha256").update(bytes).digest("hex");

function memoryScan(of: Partial<MemoryPorts> = {}): MemoryScan {
  const scan = createMemoryScan({
    dir: join(dir, "memory"),
    ownPid: process.pid,
    describe: (pid) => {
      const stat = hostProc.stat(pid);
      if (!stat || stat.dead) return undefined;
      const exe = hostProc.link(pid, "exe") ?? stat.comm;
      return { kernelThread: stat.kernelThread, process: { pid, startTicks: stat.startTicks, ppid: stat.ppid, uid: 0, exe, argv: [] } };
    },
    found: (one) => void reported.push(one),
    nowMs: Date.now,
    ...of,
  });
  return open.adopt(scan, (one) => one[Symbol.asyncDispose]());
}

/** A program that holds a text which it puts together from halves, so that no file has it. */
async function holder(first: string, second: string) {
  const program = `m=$(printf '%s%s' ${first} ${second}); echo ready; read -r wait; echo "$m"`;
  const child = Bun.spawn(["bash", "-c", program], { stdin: "pipe", stdout: "pipe" });
  open.defer(async () => {
    child.kill();
    await child.exited;
  });
  const reader = child.stdout.getReader();
  await reader.read();
  return { pid: child.pid, child, reader };
}

async function whole(scan: MemoryScan, sha256: string): Promise<Buffer> {
  using file = await scan.open(sha256);
  const pieces: Buffer[] = [];
  for (let at = 0; at < file!.size; at += pieces.at(-1)!.length) pieces.push((await file!.read(at, 1 << 20))!);
  return Buffer.concat(pieces);
}

const skip = root ? "" : " (needs root)";

test.skipIf(!root)(`what only lies in memory is in the sample, and its place there leads to its address${skip}`, async () => {
  const { pid, child, reader } = await holder("first-half-", "second-half");
  const scan = memoryScan();
  const result = await scan.scan({ pid, startTicks: hostProc.stat(pid)!.startTicks });
  expect(result.ok, result.message).toBe(true);
  expect(result.message).toMatch(/^read [\d.]+ MiB in \d+ places of .*bash \(pid \d+\)$/);
  const { sample } = result as { sample: string };
  expect(reported).toMatchObject([{ path: `/proc/${pid}/mem`, sha256: sample, process: { pid } }]);
  const bytes = await whole(scan, sample);
  expect([sha(bytes), bytes.length]).toEqual([sample, reported[0]!.size]);
  const at = bytes.indexOf("first-half-second-half");
  expect(at).toBeGreaterThan(-1);
  const place = addressOf(readTable(bytes)!, at)!;
  expect(place).toMatch(/^0x[0-9a-f]+ \(rw- (\[heap\]|anonymous|\[stack\])\)$/);
  const mem = await import("node:fs/promises").then((fs) => fs.open(`/proc/${pid}/mem`));
  const there = Buffer.alloc(11);
  await mem.read(there, 0, 11, Number.parseInt(place.slice(2), 16));
  await mem.close();
  expect(there.toString()).toBe("first-half-");
  // It was not stopped.
  child.stdin.write("go\n");
  child.stdin.end();
  expect(new TextDecoder().decode((await reader.read()).value)).toBe("first-half-second-half\n");
});

test.skipIf(!root)(`a dump is private, and at most two are kept, none after the end${skip}`, async () => {
  const { pid } = await holder("a", "b");
  const scan = memoryScan();
  for (let round = 0; round < 3; round++) expect((await scan.scan({ pid })).ok).toBe(true);
  const memory = join(dir, "memory");
  expect(statSync(memory).mode & 0o777).toBe(0o700);
  const files = readdirSync(memory);
  expect(files.length).toBeLessThanOrEqual(2);
  for (const file of files) expect(statSync(join(memory, file)).mode & 0o777).toBe(0o600);
  await scan[Symbol.asyncDispose]();
  expect(readdirSync(memory)).toEqual([]);
});

test.skipIf(!root)(`more memory than fits is left out, and that is said${skip}`, async () => {
  const { pid } = await holder("a", "b");
  const dump = await dumpMemory(pid, join(dir, "dump"), 64 << 10);
  expect(dump).toMatchObject({ bytes: 64 << 10, leftOut: true });
  expect(statSync(join(dir, "dump")).size).toBe(dump!.size);
});

const anyThread = root ? hostProc.pids().find((pid) => hostProc.stat(pid)?.kernelThread) : undefined;

test.each([
  ["the agent itself", { pid: process.pid }, /this is the agent itself/],
  ["no process", { pid: 0x7fff_fffe }, /there is no process 2147483646 here/],
  ["a process that took the number over", { pid: 1, startTicks: 987_654_321 }, /process 1 is another one now: .*, not 987654321/],
  ...(anyThread === undefined ? [] : [["a kernel thread", { pid: anyThread }, /is a thread of the kernel/] as const]),
] as const)("refused: %s", async (_, of, why) => {
  const result = await memoryScan().scan(of);
  expect(result.ok).toBe(false);
  expect(result.message).toMatch(why);
  expect(reported).toEqual([]);
});

test.skipIf(!root)(`a number that goes to another process while its memory is read leaves nothing behind${skip}`, async () => {
  const { pid } = await holder("a", "b");
  let asked = 0;
  const describe: MemoryPorts["describe"] = (of) => ({
    kernelThread: false,
    process: { pid: of, startTicks: ++asked, ppid: 1, uid: 0, exe: "/bin/x", argv: [] },
  });
  const result = await memoryScan({ describe }).scan({ pid });
  expect(result).toEqual({ ok: false, message: `process ${pid} ended while its memory was read` });
  expect(readdirSync(join(dir, "memory"))).toEqual([]);
});

const maps = `55e0-55f0 r-xp 00000000 fe:00 12   /usr/bin/x
5600-5700 rw-p 00000000 00:00 0   [heap]
5700-5800 rwxp 00001000 fe:00 12   /usr/bin/patched
5800-5900 ---p 00000000 00:00 0
6000-6100 r--s 00000000 00:01 9    /memfd:payload (deleted)
6200-6300 rwxp 00000000 00:00 0
6300-6400 rw-s 00000000 00:05 77   /dev/dri/card0
6400-6500 r-xp 00000000 fe:00 33   /tmp/gone (deleted)
6500-6600 r-xp 00000000 00:00 0    [vdso]
not a line`;

test("executable memory without a file comes first, then files only in memory, then the rest; programs as they lie on disk and devices are left out", () => {
  expect(regionsOf(maps).map(({ what }) => what)).toEqual([
    "rwx /usr/bin/patched",
    "rwx anonymous",
    "r-x /tmp/gone (deleted)",
    "r-- /memfd:payload (deleted)",
    "rw- [heap]",
  ]);
});

test("pages that are there or swapped out make runs", () => {
  const [there, swapped] = [1n << 63n, 1n << 62n];
  expect(filledRuns(new BigUint64Array([0n, there, swapped, 0n, there | 5n]))).toEqual([
    { from: 1, to: 3 },
    { from: 4, to: 5 },
  ]);
});
