import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { pathOp, pathRecord, resultRecord } from "../bpf/layout.gen.ts";
import { AT_FDCWD } from "../processes.ts";
import { decodePath, fileCollector } from "./file.ts";
import { contextOf, recordOf } from "./testing/records.ts";

const watch = { read: ["/etc/shadow", "/srv/keys/"], write: ["/etc/cron.d/", "/tmp/"] };
const O_WRONLY = 1;
const O_RDWR = 2;
const O_CREAT = 0o100;
const O_EXCL = 0o200;

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "pksens-file-"));
});
afterAll(() => rmSync(dir, { recursive: true }));

type Call = { op?: number; path: string; to?: string; flags?: number; dirFd?: number; result?: number; laterMs?: number };

const pathOf = ({ op = pathOp.open, path, to, flags = 0, dirFd = AT_FDCWD, laterMs = 0 }: Call) =>
  recordOf(pathRecord.size, { pid: 4, bootNs: BigInt(Date.now() - 1_000 + laterMs) * 1_000_000n }, (view, bytes) => {
    const first = Buffer.from(`${path}\0`);
    const second = to === undefined ? Buffer.alloc(0) : Buffer.from(`${to}\0`);
    view.setUint32(pathRecord.op, op, true);
    view.setInt32(pathRecord.dirFd, dirFd, true);
    view.setUint32(pathRecord.flags, flags, true);
    view.setUint32(pathRecord.pathLen, first.length, true);
    view.setUint32(pathRecord.toLen, second.length, true);
    bytes.set(first, pathRecord.text);
    bytes.set(second, pathRecord.text + first.length);
  });
const resultOf = (value: number) =>
  recordOf(resultRecord.size, { pid: 4 }, (view) => view.setBigInt64(resultRecord.value, BigInt(value), true));

function run(calls: readonly Call[], processes = {}) {
  const context = contextOf(processes);
  const files = fileCollector(watch);
  for (const call of calls) {
    files.onPath(pathOf(call), context);
    files.onResult(resultOf(call.result ?? 3), context);
  }
  return context.drafts.map(({ type, body }) => [type, "file" in body ? body.file : undefined]);
}

test("two paths in one record", () => {
  expect(decodePath(pathOf({ op: pathOp.rename, path: "/a", to: "/b/c" }))).toMatchObject({ path: "/a", to: "/b/c" });
});

test("reading a watched file is an open", () => {
  expect(run([{ path: "/etc/shadow" }])).toEqual([["file.open", { path: "/etc/shadow", flags: 0 }]]);
});

test("a call that failed makes no event", () => {
  expect(run([{ path: "/etc/shadow", result: -13 }])).toEqual([]);
});

test("what the kernel let through without need makes no event", () => {
  expect(run([{ path: "/usr/share/shadow" }, { path: "/home/x", flags: O_WRONLY | O_CREAT | O_EXCL }])).toEqual([]);
});

test("a result without its call makes no event", () => {
  const context = contextOf({});
  fileCollector(watch).onResult(resultOf(3), context);
  expect(context.drafts).toEqual([]);
});

test("O_EXCL creates", () => {
  expect(run([{ path: "/tmp/new", flags: O_WRONLY | O_CREAT | O_EXCL }])).toEqual([["file.create", { path: "/tmp/new" }]]);
});

test("O_CREAT on a file born before the call modifies; one born with it was created", () => {
  const path = join(dir, "x");
  writeFileSync(path, "");
  const flags = O_WRONLY | O_CREAT;
  expect(run([{ path, flags }])).toEqual([["file.create", { path }]]);
  expect(run([{ path, flags, laterMs: 1_000 }])).toEqual([["file.modify", { path }]]);
  expect(
    run([
      { path, flags },
      { path, flags },
    ]),
  ).toEqual([
    ["file.create", { path }],
    ["file.modify", { path }],
  ]);
  expect(run([{ path: "/etc/cron.d/../cron.d/none", flags: O_WRONLY }], { resolve: () => "/etc/cron.d/none" })).toEqual([
    ["file.modify", { path: "/etc/cron.d/none" }],
  ]);
});

test("opening a secret for reading and writing is reading it, too", () => {
  expect(run([{ path: "/etc/shadow", flags: O_RDWR }])).toEqual([["file.open", { path: "/etc/shadow", flags: O_RDWR }]]);
  expect(run([{ path: "/etc/shadow", flags: O_WRONLY }])).toEqual([]);
});

test("opening a watched directory to read it is reported under its own name", () => {
  const O_DIRECTORY = process.arch === "arm64" ? 0o40000 : 0o200000;
  expect(run([{ path: "/srv/keys", flags: O_DIRECTORY }], { openedDirectory: () => {} })).toEqual([
    ["file.open", { path: "/srv/keys", flags: O_DIRECTORY }],
  ]);
});

test("a relative path whose directory is not known any more is reported as given, when it ends like a watched file", () => {
  expect(run([{ path: "shadow", dirFd: 5 }])).toEqual([["file.open", { path: "shadow", flags: 0 }]]);
  expect(run([{ path: "other", dirFd: 5 }])).toEqual([]);
});

test("renames in or out of a watched prefix; deletes; links", () => {
  expect(
    run([
      { op: pathOp.rename, path: "/tmp/a", to: "/home/a" },
      { op: pathOp.rename, path: "/home/a", to: "/etc/cron.d/a" },
      { op: pathOp.rename, path: "/home/a", to: "/home/b" },
      { op: pathOp.delete, path: "/tmp/a" },
      { op: pathOp.link, path: "/etc/cron.d/l" },
    ]),
  ).toEqual([
    ["file.rename", { path: "/tmp/a", to: "/home/a" }],
    ["file.rename", { path: "/home/a", to: "/etc/cron.d/a" }],
    ["file.delete", { path: "/tmp/a" }],
    ["file.create", { path: "/etc/cron.d/l" }],
  ]);
});

test("chdir moves the process, wherever that is", () => {
  const moves: (string | undefined)[] = [];
  run(
    [
      { op: pathOp.chdir, path: "/etc", result: 0 },
      { op: pathOp.chdir, path: "/gone", result: -2 },
      { op: pathOp.fchdir, path: "", dirFd: 9, result: 0 },
    ],
    {
      movedTo: (_: unknown, path: string | undefined) => moves.push(path),
    },
  );
  expect(moves).toEqual(["/etc", undefined]);
});
