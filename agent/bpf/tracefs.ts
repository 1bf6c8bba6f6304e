// tracefs tells which tracepoints a kernel has, their ids and where their fields lie: what makes kernel BTF unnecessary.
import { existsSync, mkdtempSync, readFileSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Unsupported } from "../unsupported.ts";
import { errorText, mountAt, unmount } from "./libc.ts";

const usual = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];

/**
 * Calls `use` with the root of a tracefs. Where none is mounted (a minimal system, `ip netns exec`), mounts one for the length of the call.
 * `own` tells which. Throws `Unsupported` when that is refused.
 */
export function withTracefs<R>(use: (root: string, own: boolean) => R): R {
  const mounted = usual.find((root) => existsSync(join(root, "events")));
  if (mounted) return use(mounted, false);
  const own = privateFolder();
  const error = mountAt("tracefs", own);
  try {
    if (error !== 0)
      throw new Unsupported(
        `tracefs is not mounted, and mounting it: ${errorText(error)}`,
        "run as root (CAP_SYS_ADMIN), on a kernel with CONFIG_FTRACE",
      );
    return use(own, true);
  } finally {
    if (error === 0) unmount(own);
    rmdirSync(own);
  }
}

function privateFolder(): string {
  // No /run, or not ours to write: then mounting tells why.
  for (const parent of ["/run", tmpdir()]) {
    try {
      return mkdtempSync(join(parent, "picket-tracefs-"));
    } catch {}
  }
  throw new Unsupported("tracefs is not mounted, and making a folder to mount it in is not permitted", "run as root (CAP_SYS_ADMIN)");
}

/** The tracepoint's id for perf_event_open(2), or undefined when this kernel does not have it. `event` is "category/name". */
export function tracepointId(root: string, event: string): number | undefined {
  const text = readOr(join(root, "events", event, "id"));
  return text === undefined ? undefined : Number.parseInt(text, 10);
}

/** Offset in bytes of a field of a tracepoint, or undefined when this kernel's has no such field. */
export function fieldOffset(root: string, event: string, field: string): number | undefined {
  const format = readOr(join(root, "events", event, "format"));
  return format === undefined ? undefined : offsetIn(format, field);
}

/** The offset in the text of a `format` file, e.g. `field:pid_t old_pid;	offset:16;	size:4;	signed:1;`. */
export function offsetIn(format: string, field: string): number | undefined {
  for (const line of format.split("\n")) {
    const match = /^\s*field:[^;]*?(\w+)(?:\[\w*\])?;\s*offset:(\d+);/.exec(line);
    if (match?.[1] === field) return Number(match[2]);
  }
  return undefined;
}

function readOr(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
}
