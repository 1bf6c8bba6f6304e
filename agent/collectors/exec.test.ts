import type { Process } from "@picket/protocol/event";
import { expect, test } from "vitest";
import { argsRecord, execRecord, interpreterRecord } from "../bpf/layout.gen.ts";
import type { Executed } from "../processes.ts";
import { decodeArgs, decodeExec, execCollector } from "./exec.ts";
import { contextOf, recordOf } from "./testing/records.ts";

const argsOf = (tid: number, args: Uint8Array | string, flags: { truncated?: boolean; faulted?: boolean } = {}) =>
  recordOf(argsRecord.size, { tid }, (view, bytes) => {
    const raw = Buffer.from(args);
    bytes.set(raw, argsRecord.args);
    view.setUint32(argsRecord.argsLen, raw.length, true);
    view.setUint8(argsRecord.truncated, flags.truncated ? 1 : 0);
    view.setUint8(argsRecord.faulted, flags.faulted ? 1 : 0);
  });

const execOf = (path: Uint8Array | string, of: { pid?: number; oldTid: number; bootNs?: bigint }) =>
  recordOf(execRecord.size, of, (view, bytes) => {
    const raw = Buffer.from(path);
    bytes.set(raw, execRecord.path);
    view.setUint32(execRecord.pathLen, raw.length, true);
    view.setUint32(execRecord.oldTid, of.oldTid, true);
  });

test.each([
  { name: "no arguments", args: "", argv: [] },
  { name: "two arguments", args: "wget\0-q\0", argv: ["wget", "-q"] },
  { name: "an empty argument in the middle", args: "sh\0\0-c\0", argv: ["sh", "", "-c"] },
  { name: "an empty argument at the end", args: "sh\0\0", argv: ["sh", ""] },
  { name: "cut inside the last argument", args: "curl\0http://198.51", argv: ["curl", "http://198.51"] },
  { name: "invalid UTF-8", args: new Uint8Array([0x61, 0xff, 0]), argv: ["a\uFFFD"] },
  { name: "a BOM is kept", args: "\uFEFFsh\0", argv: ["\uFEFFsh"] },
])("argv: $name", ({ args, argv }) => {
  expect(decodeArgs(argsOf(1, args)).argv).toEqual(argv);
});

test("a length beyond the record does not read past it", () => {
  const record = argsOf(1, "sh\0");
  record.setUint32(argsRecord.argsLen, 0xffffffff, true);
  expect(decodeArgs(record).argv[0]).toBe("sh");
});

test("the path ends at its NUL", () => {
  expect(decodeExec(execOf("/bin/sh\0old", { oldTid: 1 })).path).toBe("/bin/sh");
});

function run(records: (collector: ReturnType<typeof execCollector>, context: ReturnType<typeof contextOf>) => void) {
  const seen: Executed[] = [];
  const context = contextOf({
    executed: (head, executed): Process => {
      seen.push(executed);
      return { pid: head.pid, startTicks: 7, ppid: 1, uid: head.uid, exe: executed.path, argv: [...(executed.argv ?? [])] };
    },
  });
  records(
    execCollector(() => undefined),
    context,
  );
  return { seen, drafts: context.drafts };
}

test("arguments are joined by the thread that called, which may not be the leader", () => {
  const { seen, drafts } = run((exec, context) => {
    exec.onArgs(argsOf(77, "sh\0-c\0id\0"), context);
    exec.onArgs(argsOf(78, "other\0"), context);
    exec.onExec(execOf("/bin/sh\0", { pid: 70, oldTid: 77, bootNs: 5_000_000n }), context);
  });
  expect(seen).toEqual([{ path: "/bin/sh", interpreter: undefined, argv: ["sh", "-c", "id"], truncated: false }]);
  expect(drafts).toMatchObject([{ type: "process.exec", timeMs: 1_005, body: { process: { pid: 70 } } }]);
});

test("arguments of a call that failed are replaced by those of the next", () => {
  const { seen } = run((exec, context) => {
    exec.onArgs(argsOf(5, "first\0"), context);
    exec.onArgs(argsOf(5, "second\0", { truncated: true }), context);
    exec.onExec(execOf("/bin/x\0", { oldTid: 5 }), context);
    exec.onExec(execOf("/bin/y\0", { oldTid: 5 }), context);
  });
  expect(seen[0]).toMatchObject({ argv: ["second"], truncated: true });
  expect(seen[1]).toMatchObject({ argv: undefined });
});

test("arguments the kernel could not read to the end are asked of /proc, and used when it knows none", () => {
  const { seen, drafts } = run((exec, context) => {
    exec.onArgs(argsOf(5, "half\0", { faulted: true }), context);
    exec.onExec(execOf("/bin/x\0", { oldTid: 5 }), context);
  });
  expect(seen[0]!.argv).toBeUndefined();
  expect(drafts).toMatchObject([{ body: { process: { argv: ["half"] } } }]);
});

test("the interpreter the kernel named belongs to one exec only", () => {
  const interpreter = recordOf(interpreterRecord.size, { tid: 5 }, (view, bytes) => {
    bytes.set(Buffer.from("/bin/sh\0"), interpreterRecord.path);
    view.setUint32(interpreterRecord.pathLen, 8, true);
  });
  const { seen } = run((exec, context) => {
    exec.onInterpreter(interpreter, context);
    exec.onExec(execOf("/opt/script\0", { oldTid: 5 }), context);
    exec.onExec(execOf("/bin/y\0", { oldTid: 5 }), context);
  });
  expect(seen.map(({ interpreter }) => interpreter)).toEqual(["/bin/sh", undefined]);
});
