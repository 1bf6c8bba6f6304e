// Perf buffers on the kernel this runs on: order, loss, CPUs that come later, and what an older kernel would make of the object.
import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { expect, test } from "vitest";
import { cannotRun, run } from "../collectors/testing/rig.ts";
import { checkHost } from "../sensor.ts";
import { elfSections } from "./gen/elf.ts";
import { wayAfter } from "./kernel.ts";
import { forkRecord, record as head, loss, recordKind } from "./layout.gen.ts";
import { bootNowNs } from "./libc.ts";
import { load } from "./load.ts";
import { objectBytes } from "./object.ts";
import { readPerCpu, type Tended, tended } from "./tended.ts";
import { withTracefs } from "./tracefs.ts";

/** The real programs of this object, and their perf buffers. */
function opened({ object = objectBytes("perf"), bytes = 1 << 22, cpus }: { object?: Uint8Array; bytes?: number; cpus?: number[] } = {}) {
  let buffers: Tended | undefined;
  const loaded = withTracefs((tracefs) =>
    load({
      object,
      way: "perf",
      tracefs,
      ringBytes: bytes,
      ignorePid: 0,
      without: [],
      prepare: (before) => {
        buffers = tended(before, bytes, cpus);
      },
    }),
  );
  const records: { kind: number; pid: number; child: number; ns: bigint }[] = [];
  const take = (record: DataView) => {
    const kind = record.getUint32(head.kind, true);
    const child = kind === recordKind.fork ? record.getUint32(forkRecord.child, true) : 0;
    records.push({ kind, pid: record.getUint32(head.pid, true), child, ns: record.getBigUint64(head.bootNs, true) });
  };
  const lostBy = (what: number) => Number(readPerCpu(loaded, loaded.mapFd("lost"), what).reduce((sum, count) => sum + count, 0n));
  return {
    loaded,
    records,
    buffers: buffers!,
    drain: (max = 1_000_000) => buffers!.drain(take, max),
    lostBy,
    allLost: () => Array.from({ length: loss.cpu }, (_, what) => lostBy(what)).reduce((sum, count) => sum + count),
    [Symbol.dispose]() {
      buffers![Symbol.dispose]();
      loaded[Symbol.dispose]();
    },
  };
}

test("only a kernel that does not know what a ring buffer is gets perf buffers", () => {
  const [EPERM, EINVAL, ENOMEM] = [1, 22, 12];
  expect(wayAfter(-EINVAL)).toBe("perf");
  for (const answer of [7, -EPERM, -ENOMEM]) expect(wayAfter(answer)).toBe("ring");
});

/** BPF instructions of the object, as [opcode, source register, immediate]. */
function instructions(object: Uint8Array): [code: number, source: number, immediate: number][] {
  const code = [...elfSections(object)].filter(([name, bytes]) => (name.startsWith("tracepoint/") || name === ".text") && bytes.length > 0);
  expect(code.length).toBeGreaterThan(50);
  return code.flatMap(([, bytes]) => {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return Array.from({ length: bytes.length / 8 }, (_, at) => [bytes[at * 8]!, bytes[at * 8 + 1]! >> 4, view.getInt32(at * 8 + 4, true)]);
  });
}
const CALL = 0x85;
const XADD = [0xc3, 0xdb];
const JUMP_32 = 6;
/** Of <linux/bpf.h>: the last that Linux 5.4 has. */
const LAST_OF_5_4 = 111;
/** bpf_probe_read_user, _kernel, and _str of both, of Linux 5.5: libbpf puts bpf_probe_read and bpf_probe_read_str in their place where the kernel lacks them. */
const REPLACED: Readonly<Record<number, number>> = { 112: 4, 113: 4, 114: 45, 115: 45 };

test("the object asks nothing of the kernel that Linux 5.4 does not have", () => {
  const code = instructions(objectBytes("perf"));
  const helpers = new Set(code.filter(([opcode, source]) => opcode === CALL && source === 0).map(([, , helper]) => helper));
  expect(helpers.size).toBeGreaterThan(5);
  expect([...helpers].filter((helper) => helper > LAST_OF_5_4 && !(helper in REPLACED))).toEqual([]);
  // Atomic operations that return something are of 5.12, calls of the kernel's own functions of 5.13.
  expect(code.filter(([opcode, , immediate]) => XADD.includes(opcode) && immediate !== 0)).toEqual([]);
  expect(code.filter(([opcode, source]) => opcode === CALL && source > 1)).toEqual([]);
  expect(code.filter(([opcode]) => (opcode & 7) === JUMP_32)).toEqual([]);
  expect(
    instructions(objectBytes("ring")).some(([opcode, , helper]) => opcode === CALL && helper > LAST_OF_5_4 && !(helper in REPLACED)),
  ).toBe(true);
});

/** What the verifier took at most for a program that this process holds; 0 where the kernel (before 5.16) does not tell. */
function longestCheck(): number {
  const told = readdirSync("/proc/self/fdinfo").map((fd) => {
    try {
      return Number(/^verified_insns:\s*(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))?.[1] ?? 0);
    } catch {
      return 0; // closed since
    }
  });
  return Math.max(...told);
}

/** As libbpf hands the object to a kernel before 5.5. */
function withOldHelpers(): Uint8Array {
  const object = objectBytes("perf").slice();
  for (const [name, bytes] of elfSections(object)) {
    if (!name.startsWith("tracepoint/") && name !== ".text") continue;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < bytes.length; at += 8) {
      const old = REPLACED[view.getInt32(at + 4, true)];
      if (bytes[at] === CALL && bytes[at + 1]! >> 4 === 0 && old !== undefined) view.setInt32(at + 4, old, true);
    }
  }
  expect(instructions(object).some(([opcode, source, helper]) => opcode === CALL && source === 0 && helper in REPLACED)).toBe(false);
  return object;
}

test.skipIf(cannotRun !== "")(`with the helpers of Linux 5.4 every program loads and a program's start is told${cannotRun}`, async () => {
  using it = opened({ object: withOldHelpers() });
  expect([...it.loaded.failures].filter(([, why]) => why.startsWith("refused"))).toEqual([]);
  // Of the 1,000,000 that Linux 5.4 allows, too: it may need more for the same.
  expect(longestCheck()).toBeLessThan(500_000);
  const { pid } = await run(["/bin/true"]);
  it.drain();
  const own = it.records.filter((record) => record.pid === pid).map(({ kind }) => kind);
  expect(own).toEqual(expect.arrayContaining([recordKind.args, recordKind.exec, recordKind.exit]));
});

test.skipIf(cannotRun !== "")(`what led to something comes before it, whatever CPU it was on${cannotRun}`, async () => {
  using it = opened();
  const parents = Array.from({ length: 4 }, () => run(["/bin/sh", "-c", "i=0; while [ $i -lt 150 ]; do /bin/true; i=$((i+1)); done"]));
  const beforeNs = bootNowNs();
  let running = true;
  void Promise.all(parents).then(() => {
    running = false;
  });
  while (running) {
    // Few at once, so that looks fall between records of every kind.
    it.drain(7);
    await Bun.sleep(0);
  }
  while (it.drain() > 0);
  expect(it.allLost()).toBe(0);
  const births = new Set(it.records.filter(({ kind }) => kind === recordKind.fork).map(({ child }) => child));
  const born = new Set<number>();
  let execs = 0;
  for (const { kind, pid, child } of it.records) {
    if (kind === recordKind.fork) born.add(child);
    if (kind !== recordKind.exec || !births.has(pid)) continue; // others may have been born before we looked
    execs++;
    expect(born.has(pid), `the start of ${pid} is told before its birth`).toBe(true);
  }
  expect(execs).toBeGreaterThanOrEqual(600);
  expect(it.records.at(-1)!.ns).toBeGreaterThan(beforeNs);
  expect(it.records.at(-1)!.ns).toBeLessThan(bootNowNs());
});

test.skipIf(cannotRun !== "")(`what does not fit is told by the kernel and counted by the programs alike${cannotRun}`, async () => {
  using it = opened({ bytes: 1 });
  await run(["/bin/sh", "-c", "i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done"]);
  it.drain();
  // The kernel tells of a loss when there is room again.
  while (it.buffers.lost < it.allLost()) {
    await run(["/bin/true"]);
    it.drain();
  }
  expect(it.allLost()).toBeGreaterThan(0);
  expect(it.buffers.lost).toBe(it.allLost());
  expect(it.lostBy(loss.cpu)).toBe(0);
});

const alone = cannotRun || (availableParallelism() > 1 ? "" : " (skipped: needs two CPUs)");
test.skipIf(alone !== "")(`a CPU that comes later: what it does is counted as lost, and heard from then on${alone}`, async () => {
  using it = opened({ cpus: [0] });
  const onSecond = () => run(["taskset", "-c", "1", "/bin/true"]);
  await onSecond();
  expect(it.lostBy(loss.cpu)).toBeGreaterThan(0);
  for (;;) {
    const { pid } = await onSecond();
    it.drain();
    if (it.records.some((record) => record.pid === pid && record.kind === recordKind.exit)) break;
    await Bun.sleep(20);
  }
  const before = it.lostBy(loss.cpu);
  await onSecond();
  expect(it.lostBy(loss.cpu)).toBe(before);
});

test.skipIf(cannotRun !== "")(`check says which way it is, and what is different${cannotRun}`, () => {
  const found = checkHost("perf");
  expect(found.find(({ name }) => name === "sensor.bpf")).toMatchObject({
    level: "live",
    why: expect.stringMatching(/perf buffers \(the kernel has no ring buffer\).*one for each CPU.*change places/),
  });
  expect(found.filter(({ level }) => level !== "live")).toEqual([]);
  expect(found.find(({ name }) => name === "sensor.exec")?.why).toContain("perf buffers");
});
