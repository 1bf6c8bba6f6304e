// The only definition of what a sensor event is. Agent, broker, detector and console all read it from here.
import * as z from "zod";
import { MAX_ARGS, MAX_TEXT } from "./limits.ts";
import { deviceId, epochId, sha256 } from "./names.ts";

export { MAX_ARGS, MAX_TEXT };

const text = z.string().max(MAX_TEXT);
const path = text;
const port = z.int().min(0).max(65535);
const ip = z.string().max(45);
const proto = z.enum(["tcp", "udp"]);

/** A process seen only through its child: enough to tell the story, nothing more. `startTicks` is absent when it was not known. */
export const Ancestor = z.object({
  pid: z.int(),
  startTicks: z.int().nonnegative().optional(),
  exe: path,
  argv: z.array(text).max(MAX_ARGS).optional(),
});
export type Ancestor = z.infer<typeof Ancestor>;

/**
 * (boot id, pid, startTicks) names a process; a pid alone comes back, and the wall clock of a Pi jumps.
 * In recorded input whose author did not know them, pid, ppid and startTicks are 0 and uid is -1.
 */
export const Process = z.object({
  pid: z.int(),
  startTicks: z.int().nonnegative(),
  ppid: z.int(),
  uid: z.int(),
  user: z.string().max(64).optional(),
  /** The path the kernel really ran, never argv[0]. */
  exe: path,
  argv: z.array(text).max(MAX_ARGS),
  /** Rules that read argv must know when the kernel copied only the start of it. */
  argvTruncated: z.boolean().optional(),
  cwd: path.optional(),
  sha256: z.string().length(64).optional(),
  container: z.object({ id: z.string().max(64), runtime: z.string().max(32).optional() }).optional(),
  parent: Ancestor.optional(),
  /** From the grandparent up, nearest first; sent with process.exec only. */
  ancestors: z.array(Ancestor).max(16).optional(),
});
export type Process = z.infer<typeof Process>;

/** A rule that already matched on the device. It is a fact for the detector even when its own pack differs. */
export const Hit = z.object({ rule: z.string().max(128), version: z.string().max(64) });
export type Hit = z.infer<typeof Hit>;

/** A file as file integrity compares it. `mode` is all of st_mode (inode(7)); a folder, and what could not be read, has no `sha256`. */
const FileState = z.object({
  sha256: sha256.optional(),
  uid: z.int(),
  gid: z.int(),
  mode: z.int().nonnegative(),
  size: z.int().nonnegative(),
});

/**
 * New event type: add one `define` and list it in `SensorEvent`. The golden test then fails
 * until testdata/<type>.json exists.
 */
function define<T extends string, B extends z.ZodRawShape>(type: T, body: B) {
  return z.object({
    v: z.literal(1),
    device: deviceId,
    // New at every agent start, so that a killed agent can never use a number twice.
    epoch: epochId,
    // Per epoch, no holes. A hole seen by the broker is loss after the buffer;
    // loss before it is reported by the agent as `sensor.lost`.
    seq: z.int().nonnegative(),
    timeMs: z.int().nonnegative(),
    type: z.literal(type),
    body: z.object(body),
    hits: z.array(Hit).max(64).optional(),
    // Added by the broker: a Pi has no clock when it boots.
    receivedMs: z.int().nonnegative().optional(),
  });
}

const process = Process;
const row = z.record(z.string().max(64), z.union([text, z.number(), z.boolean(), z.null()]));

export const SensorEvent = z.discriminatedUnion("type", [
  define("process.exec", {
    process,
    /** The entry of the environment that makes the program load a library before its own: LD_PRELOAD=... or LD_AUDIT=... */
    preload: text.optional(),
    /** Which of standard input, output and error are one TCP connection, and its far end: how a shell looks that somebody steers from elsewhere. */
    stdio: z.object({ fds: z.array(z.int().min(0).max(2)).min(1).max(3), ip, port }).optional(),
  }),
  define("process.exit", { process, exitCode: z.int(), signal: z.int(), durationMs: z.int().nonnegative() }),
  define("process.ptrace", { process, targetPid: z.int(), request: z.string().max(64) }),
  define("process.memfd", { process, name: text }),
  // A ring of requests that are no system calls: "setup", then what it is asked for ("openat", "connect"), each once a minute. Which file or address is not known.
  define("process.io_uring", { process, op: z.string().max(64) }),
  define("process.setuid", { process, from: z.int(), to: z.int() }),
  define("file.open", { process, file: z.object({ path, flags: z.int() }) }),
  define("file.create", { process, file: z.object({ path }) }),
  define("file.modify", { process, file: z.object({ path }) }),
  define("file.rename", { process, file: z.object({ path, to: path }) }),
  define("file.delete", { process, file: z.object({ path }) }),
  define("file.chmod", { process, file: z.object({ path, mode: z.int().nonnegative() }) }),
  // Apart from the event that made it known: a hash is ready only after that event has left. Once for each file.
  define("file.hash", { process: process.optional(), file: z.object({ path, sha256, size: z.int().nonnegative() }) }),
  // What is at a critical path against what was; without a process where the change was found and not seen. Links: of their target's text.
  define("file.integrity", {
    process: process.optional(),
    file: z.object({ path }),
    change: z.enum(["added", "changed", "removed"]),
    before: FileState.optional(),
    after: FileState.optional(),
  }),
  define("net.connect", { process, net: z.object({ proto, dstIp: ip, dstPort: port }) }),
  define("net.listen", { process, net: z.object({ proto, ip, port }) }),
  define("net.accept", { process, net: z.object({ proto, ip, port, srcIp: ip, srcPort: port }) }),
  define("net.dns", { process, net: z.object({ query: z.string().max(255) }) }),
  define("kernel.module", { process: process.optional(), name: text }),
  define("kernel.bpf", { process, cmd: z.string().max(64) }),
  define("kernel.mount", { process, source: text, target: path, fsType: z.string().max(64) }),
  define("device.usb", { vendor: z.string().max(64), product: z.string().max(128), action: z.enum(["add", "remove"]) }),
  define("auth.login", { user: z.string().max(64), remoteIp: ip.optional(), method: z.string().max(64), ok: z.boolean() }),
  define("auth.sudo", { user: z.string().max(64), command: text, ok: z.boolean() }),
  define("log.line", { source: z.string().max(128), message: text }),
  define("host.metrics", {
    cpu: z.object({ busy: z.number().min(0).max(1), load1: z.number() }),
    memory: z.object({ totalBytes: z.number(), availableBytes: z.number() }),
    disks: z.array(z.object({ mount: path, totalBytes: z.number(), freeBytes: z.number() })).max(64),
    interfaces: z.array(z.object({ name: z.string().max(64), rxBytes: z.number(), txBytes: z.number() })).max(64),
    /** Those that used most since the last time; `cpu` is the share of one core. */
    topProcesses: z.array(z.object({ pid: z.int(), exe: path, cpu: z.number(), rssBytes: z.number() })).max(32),
    uptimeS: z.int().nonnegative().optional(),
    temperatures: z
      .array(z.object({ name: z.string().max(64), celsius: z.number() }))
      .max(8)
      .optional(),
    /** What slows a Raspberry Pi down now, and, as "was ...", what did since its boot. */
    throttled: z.array(z.string().max(64)).max(8).optional(),
  }),
  define("host.inventory", { table: z.string().max(64), op: z.enum(["added", "removed"]), row }),
  define("agent.start", { version: z.string().max(32), bootId: z.string().max(36), arch: z.string().max(16), kernel: z.string().max(128) }),
  define("agent.stop", { why: z.string().max(128) }),
  define("sensor.state", { collector: z.string().max(64), level: z.enum(["live", "degraded", "off"]), why: z.string().max(512) }),
  define("sensor.lost", {
    collector: z.string().max(64),
    count: z.int().positive(),
    where: z.enum(["kernel", "shed", "buffer"]),
    // Of the buffer: by worth; the earlier run whose events they were; and that `count` is a bound, after a loss of power.
    by: z.object({ plain: z.int().nonnegative(), hit: z.int().nonnegative(), result: z.int().nonnegative() }).optional(),
    epoch: epochId.optional(),
    atMost: z.literal(true).optional(),
  }),
  define("response.result", {
    jti: z.string().max(64),
    act: z.string().max(32),
    ok: z.boolean(),
    code: z.string().max(64),
    message: z.string().max(512),
  }),
]);
export type SensorEvent = z.infer<typeof SensorEvent>;
export type EventType = SensorEvent["type"];
export type EventOf<T extends EventType> = Extract<SensorEvent, { type: T }>;

export const eventTypes = SensorEvent.options.map((option) => option.shape.type.value) as readonly EventType[];

/** Derived, never sent: it costs no bytes and cannot disagree with the event. Opaque to everyone else. */
export const eventId = (event: { device: string; epoch: string; seq: number }) => `${event.device}:${event.epoch}:${event.seq}`;

/** What a collector knows. The pipeline adds the device, the epoch and the sequence number. */
export type EventDraft<T extends EventType = EventType> = T extends EventType ? Pick<EventOf<T>, "type" | "timeMs" | "body"> : never;

/** The process an event is about, where it is about one. */
export function processOf(event: Pick<SensorEvent, "body">): Process | undefined {
  return "process" in event.body ? event.body.process : undefined;
}
