// file.* and, for the tree, chdir. Kernel side: bpf/file.bpf.h, which lets through what may be of interest; here the path is resolved and judged.
import { statSync } from "node:fs";
import { record as head, pathOp, pathRecord, resultRecord } from "../bpf/layout.gen.ts";
import type { Head } from "../processes.ts";
import type { Context, Handler } from "./collector.ts";
import { decodeHead, text } from "./record.ts";

export type PathCall = {
  readonly op: number;
  readonly dirFd: number;
  readonly toDirFd: number;
  readonly flags: number;
  readonly path: string;
  readonly to: string;
};

export type FileWatch = { readonly read: readonly string[]; readonly write: readonly string[] };

export type FileCollector = { readonly onPath: Handler; readonly onResult: Handler };

const O_ACCMODE = 3;
const O_WRONLY = 1;
const O_CREAT = 0o100;
const O_EXCL = 0o200;
const O_TRUNC = 0o1000;
const O_PATH = 0o10000000;
const O_NONBLOCK = 0o4000;
const O_DIRECTORY = process.arch === "arm64" ? 0o40000 : 0o200000;

const MAX_PENDING = 4096;

/** Reports reading below `watch.read` and changes below `watch.write`. Calls that failed are not reported. */
export function fileCollector(watch: FileWatch): FileCollector {
  const births = new Births();
  const pending = new Map<number, { head: Head; call: PathCall }>();
  return {
    onPath(record) {
      const tid = record.getUint32(head.tid, true);
      pending.delete(tid);
      pending.set(tid, { head: decodeHead(record), call: decodePath(record) });
      if (pending.size > MAX_PENDING) pending.delete(pending.keys().next().value!);
    },
    onResult(record, context) {
      const tid = record.getUint32(head.tid, true);
      const begun = pending.get(tid);
      pending.delete(tid);
      const value = Number(record.getBigInt64(resultRecord.value, true));
      if (begun && value >= 0) finished({ ...begun, value, near: record.getUint32(resultRecord.near, true), watch, births }, context);
    },
  };
}

export function decodePath(record: DataView): PathCall {
  const pathLen = record.getUint32(pathRecord.pathLen, true);
  return {
    op: record.getUint32(pathRecord.op, true),
    dirFd: record.getInt32(pathRecord.dirFd, true),
    toDirFd: record.getInt32(pathRecord.toDirFd, true),
    flags: record.getUint32(pathRecord.flags, true),
    path: text(record, pathRecord.text, pathLen),
    to: text(record, pathRecord.text + pathLen, record.getUint32(pathRecord.toLen, true)),
  };
}

type Finished = {
  readonly head: Head;
  readonly call: PathCall;
  readonly value: number;
  readonly near: number;
  readonly watch: FileWatch;
  readonly births: Births;
};

function finished(done: Finished, context: Context): void {
  const { head: of, call } = done;
  const { processes } = context;
  if (call.op === pathOp.open) opened(done, context);
  else if (call.op === pathOp.delete) changed(done, context, "file.delete");
  else if (call.op === pathOp.link) changed(done, context, "file.create");
  else if (call.op === pathOp.rename) renamed(done, context);
  else if (call.op === pathOp.chmod || call.op === pathOp.fchmod) changedMode(done, context);
  else if (call.op === pathOp.chdir) processes.movedTo(of, processes.resolve(of, call.dirFd, call.path), done.near);
  else if (call.op === pathOp.dup) processes.duplicated(of, call.dirFd, done.value);
  else if (call.op === pathOp.fchdir) processes.movedTo(of, processes.resolve(of, call.dirFd, "."), done.near);
}

const within = (path: string, prefixes: readonly string[]) => prefixes.some((prefix) => path.startsWith(prefix));

function opened({ head: of, call, value: fd, watch, births }: Finished, { processes, wallTime, emit }: Context): void {
  const resolved = processes.resolve(of, call.dirFd, call.path);
  const handle = (call.flags & (O_PATH | O_DIRECTORY)) !== 0;
  const writes = !handle && (call.flags & (O_ACCMODE | O_CREAT | O_TRUNC)) !== 0;
  // tar opens directories without saying so, but does not want to wait.
  const directory = (call.flags & O_DIRECTORY) !== 0 || (!writes && (call.flags & O_NONBLOCK) !== 0);
  if ((handle || directory) && resolved !== undefined) processes.openedDirectory(of, fd, resolved);

  // A name that cannot be resolved any more is reported as it was given: that is less than the truth, but not silence.
  // Only what the kernel matched by name comes here for reading; unresolved writes are left out.
  const path = resolved ?? call.path;
  const timeMs = wallTime(of.bootNs);
  if (writes && resolved !== undefined && within(path, watch.write)) {
    const type = births.isNew(call.flags, path, processes.visible(of, path), timeMs) ? "file.create" : "file.modify";
    emit({ type, timeMs, body: { process: processes.describe(of), file: { path } } });
  }
  const reads = (call.flags & O_ACCMODE) !== O_WRONLY && !(handle && directory && (call.flags & O_PATH) !== 0);
  const sensitive =
    resolved === undefined ? !writes && named(path, watch.read) : within(path, watch.read) || (directory && within(`${path}/`, watch.read));
  if (reads && sensitive) {
    emit({ type: "file.open", timeMs, body: { process: processes.describe(of), file: { path, flags: call.flags } } });
  }
}

/** True when an unresolved path ends like a watched file. */
const named = (path: string, prefixes: readonly string[]) => {
  const last = path.slice(path.lastIndexOf("/") + 1);
  return prefixes.some((prefix) => !prefix.endsWith("/") && prefix.slice(prefix.lastIndexOf("/") + 1) === last);
};

function changed({ head: of, call, watch, births }: Finished, context: Context, type: "file.delete" | "file.create"): void {
  const path = context.processes.resolve(of, call.dirFd, call.path);
  if (path === undefined || !within(path, watch.write)) return;
  births.forget(path);
  context.emit({ type, timeMs: context.wallTime(of.bootNs), body: { process: context.processes.describe(of), file: { path } } });
}

const SETS_ID = 0o6000;

/** Below a watched prefix, and anywhere when the file will run as its owner or group. */
function changedMode({ head: of, call, watch }: Finished, { processes, wallTime, emit }: Context): void {
  const path = call.op === pathOp.fchmod ? processes.opened(of, call.dirFd) : processes.resolve(of, call.dirFd, call.path);
  const mode = call.flags & 0o7777;
  if (path === undefined || !((mode & SETS_ID) !== 0 || within(path, watch.write))) return;
  emit({ type: "file.chmod", timeMs: wallTime(of.bootNs), body: { process: processes.describe(of), file: { path, mode } } });
}

function renamed({ head: of, call, watch, births }: Finished, { processes, wallTime, emit }: Context): void {
  const path = processes.resolve(of, call.dirFd, call.path);
  const to = processes.resolve(of, call.toDirFd, call.to);
  const matters = (path !== undefined && within(path, watch.write)) || (to !== undefined && within(to, watch.write));
  if (!matters) return;
  if (path !== undefined) births.forget(path);
  const file = { path: path ?? call.path, to: to ?? call.to };
  emit({ type: "file.rename", timeMs: wallTime(of.bootNs), body: { process: processes.describe(of), file } });
}

// File systems stamp with the tick before, up to 10 ms early.
const STAMP_SLACK_MS = 25;
const MAX_BIRTHS = 1024;

/** Tells an open that created its file from one that found it: nothing at the call does, but the file's birth does, where the file system keeps it (statx(2)). */
class Births {
  // What was reported as new: the next open comes perhaps within the slack.
  readonly #reported = new Set<string>();

  isNew(flags: number, path: string, visible: string, openedMs: number): boolean {
    if ((flags & O_CREAT) === 0) return false;
    if ((flags & O_EXCL) === 0 && (this.#reported.has(path) || !bornAt(visible, openedMs))) return false;
    this.#reported.add(path);
    if (this.#reported.size > MAX_BIRTHS) this.#reported.delete(this.#reported.keys().next().value!);
    return true;
  }

  forget(path: string): void {
    this.#reported.delete(path);
  }
}

function bornAt(path: string, openedMs: number): boolean {
  try {
    return statSync(path).birthtimeMs >= openedMs - STAMP_SLACK_MS;
  } catch {
    return true; // Gone again: it was a temporary file.
  }
}
