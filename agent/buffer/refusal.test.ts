// Disks that take nothing: full and read-only, really, on a small file system that is mounted for the test.
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { EventBuffer } from "./buffer.ts";
import { boot, hit, plain, result } from "./testing/events.ts";

const needsRoot = { skip: process.getuid?.() !== 0 ? "only root may mount" : false };
const EPOCH = "aaaaaaaa";
const all = { events: 500, bytes: 1 << 20 };

function smallDisk(): { readonly dir: string; fill(): void; free(): void; remount(how: "ro" | "rw"): void } {
  const dir = mkdtempSync(join(tmpdir(), "pkagt-refusal-"));
  execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "none", dir]);
  onTestFinished(() => {
    execFileSync("umount", ["-l", dir]);
    rmSync(dir, { recursive: true });
  });
  const filler = join(dir, "filler");
  return {
    dir,
    fill: () => {
      expect(() => writeFileSync(filler, Buffer.alloc(2 << 20))).toThrow(/ENOSPC/);
    },
    free: () => {
      truncateSync(filler);
      rmSync(filler);
    },
    remount: (how) => void execFileSync("mount", ["-o", `remount,${how}`, dir]),
  };
}

function open(dir: string, epoch = EPOCH, durability: "balanced" | "strict" = "balanced") {
  const troubles: (string | undefined)[] = [];
  const buffer = new EventBuffer({
    path: join(dir, "buffer.db"),
    maxEvents: 1e5,
    maxBytes: 1e8,
    durability,
    epoch: { epoch, boot, device: "pi" },
    onTrouble: (why) => troubles.push(why),
  });
  onTestFinished(() => buffer[Symbol.dispose]());
  return { buffer, troubles };
}
const seqs = (buffer: EventBuffer) => buffer.lease(all)?.events.map(({ seq }) => seq);

test.skipIf(needsRoot.skip)(
  "a full disk: events stay in memory and are sent from there, hits first; when there is room again all is well by itself",
  async () => {
    const disk = smallDisk();
    const { buffer, troubles } = open(disk.dir);
    buffer.append(plain(EPOCH, 0));
    buffer.flush();
    disk.fill();
    for (let seq = 1; seq < 400; seq++)
      buffer.append(seq === 200 ? hit(EPOCH, seq) : seq === 300 ? result(EPOCH, seq) : plain(EPOCH, seq, "x".repeat(900)));
    buffer.flush();
    expect(troubles).toEqual([expect.stringMatching(/full/)]);
    expect(buffer.size().events).toBe(400);
    await Promise.resolve();
    const urgent = buffer.lease(all)!;
    expect(urgent.events.map(({ seq }) => seq)).toEqual([200, 300]);
    buffer.ack(urgent);
    expect(seqs(buffer)?.slice(0, 3)).toEqual([0, 1, 2]);
    disk.free();
    await vi.waitFor(() => expect(troubles.at(-1)).toBeUndefined(), { timeout: 20_000 });
    expect(buffer.size().events).toBe(398);
    expect(buffer.takeLost()).toEqual([]);
  },
);

test.skipIf(needsRoot.skip)("strict: what a full disk does not take is not sent, and nothing of it is lost", async () => {
  const disk = smallDisk();
  const { buffer, troubles } = open(disk.dir, EPOCH, "strict");
  buffer.append(hit(EPOCH, 0));
  await Promise.resolve();
  disk.fill();
  for (let seq = 1; seq < 400; seq++) buffer.append(plain(EPOCH, seq, "x".repeat(900)));
  buffer.flush();
  expect(seqs(buffer)).toEqual([0]);
  expect(buffer.lease(all)).toBeUndefined();
  disk.free();
  await vi.waitFor(() => expect(troubles.at(-1)).toBeUndefined(), { timeout: 20_000 });
  expect(seqs(buffer)).toEqual(Array.from({ length: 399 }, (_, at) => at + 1));
});

test.skipIf(needsRoot.skip)("beyond what memory may hold the least valuable go, and are counted by class", async () => {
  const disk = smallDisk();
  const { buffer } = open(disk.dir);
  disk.fill();
  for (let seq = 0; seq < 21_000; seq++) {
    buffer.append(seq % 1000 === 0 ? hit(EPOCH, seq) : plain(EPOCH, seq));
    if (seq % 500 === 0) await Promise.resolve();
  }
  buffer.flush();
  await Promise.resolve();
  const [lost] = buffer.takeLost();
  expect(lost).toMatchObject({ epoch: EPOCH, by: { hit: 0, result: 0 } });
  expect(buffer.size().events).toBe(21_000 - lost!.count);
  expect(buffer.size().events).toBeLessThanOrEqual(20_500);
  expect(buffer.waiting().urgent).toBe(21);
  expect(buffer.lostByEpoch()).toEqual([[EPOCH, lost!.count, 0]]);
});

test.skipIf(needsRoot.skip)("a disk that becomes read-only and writable again, while events come and go", async () => {
  const disk = smallDisk();
  const { buffer, troubles } = open(disk.dir);
  for (let seq = 0; seq < 10; seq++) buffer.append(plain(EPOCH, seq));
  buffer.flush();
  const onDisk = buffer.lease({ ...all, events: 5 })!;
  // A real disk is remounted under open files after an error; this kernel does so only when none is open for writing.
  buffer[Symbol.dispose]();
  disk.remount("ro");
  const second = open(disk.dir, "bbbbbbbb");
  expect(second.troubles).toEqual([expect.stringMatching(/readonly|read-only|EROFS/)]);
  second.buffer.append(hit("bbbbbbbb", 0));
  second.buffer.append(plain("bbbbbbbb", 1));
  await Promise.resolve();
  expect(second.buffer.lease(all)).toMatchObject({ epoch: "bbbbbbbb", events: [{ seq: 0 }] });
  expect(second.buffer.lease(all)).toMatchObject({ epoch: "bbbbbbbb", events: [{ seq: 1 }] });
  expect(second.buffer.epochs()).toEqual([["bbbbbbbb", 0, 2]]);
  disk.remount("rw");
  await vi.waitFor(() => expect(second.troubles.at(-1)).toBeUndefined(), { timeout: 20_000 });
  expect(second.buffer.lease(all)).toMatchObject({ epoch: EPOCH, events: Array.from({ length: 10 }, (_, seq) => ({ seq })) });
  expect([onDisk.events.length, troubles]).toEqual([5, []]);
});
