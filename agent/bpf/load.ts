// Loads the object and attaches its programs one by one: what this kernel lacks costs a collector, not the sensor.
import { type Pointer, ptr } from "bun:ffi";
import { Unsupported } from "../unsupported.ts";
import { config as layout } from "./layout.gen.ts";
import { type Libbpf, openLibbpf } from "./libbpf.ts";
import { asleepNs, closeFd, cstr, errno, errorText, openTracepoint } from "./libc.ts";
import type { Way } from "./object.ts";
import { fields, NO_SUCH_CALL } from "./programs.ts";
import { numberOf } from "./syscalls.ts";
import { fieldOffset, tracepointId } from "./tracefs.ts";

export type LoadOptions = {
  readonly object: Uint8Array;
  /** The way out that this object was compiled for. */
  readonly way: Way;
  readonly tracefs: string;
  readonly ringBytes: number;
  readonly ignorePid: number;
  /** Programs, keys of `config`, and groups of tracepoints ("syscalls/") to go without as if this kernel lacked them. */
  readonly without: readonly string[];
  /** Called when the maps exist and no program runs yet. */
  readonly prepare: (loaded: Loaded) => void;
};

/** A loaded object. `failures`: programs that do not run, and why. `raw`: system calls are told apart by number, for they have no tracepoints of their own. */
export type Loaded = Disposable & {
  readonly lib: Libbpf;
  readonly failures: ReadonlyMap<string, string>;
  readonly raw: boolean;
  /** What the programs were told at the start. */
  readonly config: Buffer;
  mapFd(name: string): number;
};

const LOG_BYTES = 1 << 16;

/** Loads and attaches what can be. Throws `Unsupported` when nothing can. */
export function load(options: LoadOptions): Loaded {
  const lib = openLibbpf();
  const failures = new Map(options.without.map((name) => [name, "switched off"]));
  // The kernel's log is asked for only after it has refused something.
  for (let explain = false; ; explain = true) {
    const object = open(lib, options.object);
    const list = programsOf(lib, object);
    const config = configFor(options, list, failures);
    const raw = list.filter(({ name, event }) => !failures.has(name) && isRaw(options, event));
    if (raw.length === 0) for (const name of ["raw_enter", "raw_exit"]) failures.set(name, "not needed");
    for (const { name, pointer } of list) if (failures.has(name)) lib.bpf_program__set_autoload(pointer, false);
    setUp(lib, object, options, config);

    const logs = new Map(explain ? list.map(({ name }) => [name, Buffer.alloc(LOG_BYTES)]) : []);
    for (const { name, pointer } of list) {
      const log = logs.get(name);
      if (log) lib.bpf_program__set_log_buf(pointer, ptr(log), BigInt(LOG_BYTES));
    }
    const error = lib.bpf_object__load(object);
    if (error === 0) {
      const loaded = new LoadedObject(lib, object, failures, raw.length > 0, config);
      try {
        options.prepare(loaded);
        handOver(loaded, raw, failures);
        attach(
          loaded,
          list.filter((program) => !raw.includes(program)),
          options,
          failures,
        );
        return loaded;
      } catch (error) {
        loaded[Symbol.dispose]();
        throw error;
      }
    }

    lib.bpf_object__close(object);
    if (!explain) continue;
    // The kernel explained itself for the program it refused. Without an explanation the object as a whole was refused.
    const refused = [...logs].find(([name, log]) => log[0] !== 0 && !failures.has(name));
    if (!refused) throw notAllowed(error);
    failures.set(refused[0], `refused by the kernel: ${lastLines(refused[1])}`);
  }
}

type Program = { readonly name: string; readonly event: string; readonly pointer: Pointer };

function open(lib: Libbpf, bytes: Uint8Array): Pointer {
  const object = lib.bpf_object__open_mem(bytes, BigInt(bytes.length), null);
  if (!object) throw new Error(`libbpf cannot read the BPF object: ${errorText(errno())}`);
  return object as Pointer;
}

function programsOf(lib: Libbpf, object: Pointer): Program[] {
  const list: Program[] = [];
  for (let pointer = lib.bpf_object__next_program(object, null); pointer; pointer = lib.bpf_object__next_program(object, pointer)) {
    const event = `${lib.bpf_program__section_name(pointer)}`.replace(/^tracepoint\//, "");
    list.push({ name: `${lib.bpf_program__name(pointer)}`, event, pointer: pointer as Pointer });
  }
  return list;
}

/** Names and tracepoints of all programs of an object, without loading it. */
export function listPrograms(bytes: Uint8Array): { name: string; event: string }[] {
  const lib = openLibbpf();
  const object = open(lib, bytes);
  try {
    return programsOf(lib, object).map(({ name, event }) => ({ name, event }));
  } finally {
    lib.bpf_object__close(object);
  }
}

function configFor(options: LoadOptions, list: readonly Program[], failures: Map<string, string>): Buffer {
  const values = Buffer.alloc(layout.size);
  values.writeUInt32LE(options.ignorePid, layout.ignorePid);
  values.writeBigUInt64LE(asleepNs(), layout.asleepNs);
  values.writeUInt32LE(process.arch === "arm64" ? 0o40000 : 0o200000, layout.oDirectory);
  for (const { name, event } of list) {
    if (idOf(options, event) === undefined && !isRaw(options, event)) failures.set(name, missing(options, event));
    for (const [key, field, required] of fields[name] ?? []) {
      if (options.without.includes(key)) continue;
      const offset = fieldOffset(options.tracefs, event, field);
      if (offset !== undefined) values.writeUInt32LE(offset, layout[key as keyof typeof layout]);
      else if (required && !failures.has(name)) failures.set(name, `${event} has no field ${field}`);
    }
  }
  return values;
}

type Host = Pick<LoadOptions, "tracefs" | "without">;

const idOf = ({ tracefs, without }: Host, event: string): number | undefined =>
  without.some((group) => group.endsWith("/") && event.startsWith(group)) ? undefined : tracepointId(tracefs, event);

const ANY_CALL = "syscalls/sys_enter_execve";

/** Whether a system call is only seen among all others. */
const isRaw = (host: Host, event: string): boolean =>
  numberOf(event) !== undefined && idOf(host, ANY_CALL) === undefined && idOf(host, "raw_syscalls/sys_enter") !== undefined;

/** A kernel that traces system calls, but not this one, does not have it: nothing is missed then. */
function missing(host: Host, event: string): string {
  const call = event.startsWith("io_uring/") ? "syscalls/sys_enter_io_uring_setup" : event;
  const traced = call.startsWith("syscalls/") && idOf(host, ANY_CALL) !== undefined && idOf(host, call) === undefined;
  return traced ? `${NO_SUCH_CALL} ${event.replace(/^.*sys_(?:enter|exit)_/, "")}` : `this kernel has no tracepoint ${event}`;
}

/** Where `config` lies. */
export const configMap: Readonly<Record<Way, string>> = { ring: ".rodata", perf: ".data" };

function setUp(lib: Libbpf, object: Pointer, options: LoadOptions, config: Buffer): void {
  const values = lib.bpf_object__find_map_by_name(object, cstr(configMap[options.way]));
  const ring = lib.bpf_object__find_map_by_name(object, cstr("ring"));
  if (!values || !ring) throw new Error(`the BPF object lacks ${configMap[options.way]} or the ring: run \`bun run gen\``);
  const error =
    lib.bpf_map__set_initial_value(values, config, BigInt(config.length)) ||
    // With perf buffers it is a table of CPUs, which libbpf makes as large as there may be some.
    (options.way === "ring" ? lib.bpf_map__set_max_entries(ring, options.ringBytes) : 0);
  if (error) throw new Error(`configuring the BPF object: ${errorText(error)}`);
}

/** Enters the programs of system calls into the tables by which the raw tracepoints find them. */
function handOver(loaded: LoadedObject, programs: readonly Program[], failures: Map<string, string>): void {
  const [key, value] = [Buffer.alloc(4), Buffer.alloc(4)];
  for (const { name, event, pointer } of programs) {
    key.writeUInt32LE(numberOf(event)!);
    value.writeInt32LE(loaded.lib.bpf_program__fd(pointer));
    const table = loaded.mapFd(event.includes("sys_enter_") ? "enter_calls" : "exit_calls");
    const error = loaded.lib.bpf_map_update_elem(table, key, value, 0n);
    if (error !== 0) failures.set(name, `handing ${event} over: ${errorText(error)}`);
  }
}

function attach(loaded: LoadedObject, list: readonly Program[], host: Host, failures: Map<string, string>): void {
  for (const { name, event, pointer } of list) {
    if (failures.has(name)) continue;
    // Not bpf_program__attach: it looks for tracefs in two fixed places.
    const fd = openTracepoint(idOf(host, event) ?? -1);
    if (fd < 0) {
      failures.set(name, `perf event for ${event}: ${errorText(fd)}`);
      continue;
    }
    const link = loaded.lib.bpf_program__attach_perf_event(pointer, fd);
    if (link) loaded.links.push(link as Pointer);
    else {
      failures.set(name, `attaching to ${event}: ${errorText(errno())}`);
      closeFd(fd);
    }
  }
}

class LoadedObject implements Loaded {
  readonly lib: Libbpf;
  readonly failures: ReadonlyMap<string, string>;
  readonly raw: boolean;
  readonly config: Buffer;
  readonly links: Pointer[] = [];
  #object: Pointer | undefined;

  constructor(lib: Libbpf, object: Pointer, failures: ReadonlyMap<string, string>, raw: boolean, config: Buffer) {
    this.lib = lib;
    this.failures = failures;
    this.raw = raw;
    this.config = config;
    this.#object = object;
  }

  mapFd(name: string): number {
    const map = this.#object && this.lib.bpf_object__find_map_by_name(this.#object, cstr(name));
    if (!map) throw new Error(`the BPF object has no map ${name}: run \`bun run gen\``);
    return this.lib.bpf_map__fd(map as Pointer);
  }

  [Symbol.dispose](): void {
    if (!this.#object) return;
    for (const link of this.links.splice(0)) this.lib.bpf_link__destroy(link);
    this.lib.bpf_object__close(this.#object);
    this.#object = undefined;
  }
}

const EPERM = 1;

function notAllowed(error: number): Unsupported {
  const todo =
    Math.abs(error) === EPERM
      ? "run as root, or with CAP_BPF, CAP_PERFMON and CAP_SYS_RESOURCE"
      : "Linux 5.3 or newer with CONFIG_BPF_SYSCALL is needed";
  return new Unsupported(`bpf(2) refused the sensor: ${errorText(error)}`, todo);
}

function lastLines(log: Buffer): string {
  const end = log.indexOf(0);
  return log.toString("utf8", 0, end).trim().split("\n").slice(-3).join(" ").slice(-300);
}
