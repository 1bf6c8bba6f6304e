// What Sigma calls the things our events hold. docs/rules.md shows this table (rules/gen.ts writes it).
import type { EventOf, EventType, Process, SensorEvent } from "@picket/protocol/event";

export type Value = string | number | boolean | readonly string[] | undefined;
export type Getter = (event: SensorEvent) => Value;
type Fields<E> = Record<string, (event: E) => Value>;

/**
 * Of a command line, in UTF-16 units: twice what the kernel side copies. A forged event may hold 128 KiB, on which one rule pack
 * spends a tenth of a second, and five hundred such events fit into 400 bytes on the wire.
 */
const MAX_LINE = 8192;

const line = (argv: readonly string[] | undefined): string | undefined => argv?.join(" ").slice(0, MAX_LINE);

/** Names of the Sigma taxonomy (process_creation), then our own. */
const processFields: Fields<Process> = {
  Image: (process) => process.exe,
  CommandLine: (process) => line(process.argv),
  ParentImage: (process) => process.parent?.exe,
  ParentCommandLine: (process) => line(process.parent?.argv),
  // Without a name for it, uid 0 is root on every Linux.
  User: (process) => process.user ?? (process.uid === 0 ? "root" : undefined),
  CurrentDirectory: (process) => process.cwd,
  ProcessId: (process) => process.pid,
  ParentProcessId: (process) => process.ppid,
  Hashes: (process) => (process.sha256 ? `SHA256=${process.sha256}` : undefined),
  sha256: (process) => process.sha256,
  UserId: (process) => (process.uid >= 0 ? process.uid : undefined),
  Argv: (process) => process.argv,
  ArgvTruncated: (process) => process.argvTruncated ?? false,
  AncestorImage: (process) => process.ancestors?.map((ancestor) => ancestor.exe),
  ContainerId: (process) => process.container?.id,
};

/** Fields of an event that is about a process, plus its own. */
function ofProcess<T extends EventType>(own: Fields<EventOf<T>>): Fields<EventOf<T>> {
  const fields: Fields<EventOf<T>> = {};
  for (const [name, get] of Object.entries(processFields)) {
    fields[name] = (event) => {
      const process = "process" in event.body ? event.body.process : undefined;
      return process && get(process);
    };
  }
  return { ...fields, ...own };
}

const access = ["read", "write", "read-write"];

/** Octal digits, as chmod(1) takes them. */
const octal = (mode: number | undefined) => (mode === undefined ? undefined : (mode & 0o7777).toString(8));

/** By the type in st_mode (inode(7)). */
const kindOf = (mode: number | undefined) => (mode === undefined ? undefined : (kinds.get(mode & 0o170000) ?? "other"));
const kinds = new Map([
  [0o100000, "file"],
  [0o040000, "folder"],
  [0o120000, "link"],
]);

// Exhaustive on purpose: a new event type must say what rules may ask of it before it compiles.
const table: { readonly [T in EventType]: Fields<EventOf<T>> } = {
  "process.exec": ofProcess<"process.exec">({}),
  "process.exit": ofProcess<"process.exit">({
    ExitCode: ({ body }) => body.exitCode,
    Signal: ({ body }) => body.signal,
    DurationMs: ({ body }) => body.durationMs,
  }),
  "process.ptrace": ofProcess<"process.ptrace">({ TargetProcessId: ({ body }) => body.targetPid, Request: ({ body }) => body.request }),
  "process.memfd": ofProcess<"process.memfd">({ Name: ({ body }) => body.name }),
  "process.io_uring": ofProcess<"process.io_uring">({ Operation: ({ body }) => body.op }),
  "process.setuid": ofProcess<"process.setuid">({ FromUserId: ({ body }) => body.from, ToUserId: ({ body }) => body.to }),
  "file.open": ofProcess<"file.open">({
    TargetFilename: ({ body }) => body.file.path,
    // O_RDONLY, O_WRONLY, O_RDWR (open(2)).
    Access: ({ body }) => access[body.file.flags & 3],
  }),
  "file.create": ofProcess<"file.create">({ TargetFilename: ({ body }) => body.file.path }),
  "file.modify": ofProcess<"file.modify">({ TargetFilename: ({ body }) => body.file.path }),
  "file.rename": ofProcess<"file.rename">({ TargetFilename: ({ body }) => body.file.to, SourceFilename: ({ body }) => body.file.path }),
  "file.delete": ofProcess<"file.delete">({ TargetFilename: ({ body }) => body.file.path }),
  "file.chmod": ofProcess<"file.chmod">({
    TargetFilename: ({ body }) => body.file.path,
    // Octal digits, as chmod(1) takes them.
    Mode: ({ body }) => (body.file.mode & 0o7777).toString(8),
  }),
  "file.hash": ofProcess<"file.hash">({
    TargetFilename: ({ body }) => body.file.path,
    Hashes: ({ body }) => `SHA256=${body.file.sha256}`,
    sha256: ({ body }) => body.file.sha256,
    Size: ({ body }) => body.file.size,
  }),
  "file.integrity": ofProcess<"file.integrity">({
    TargetFilename: ({ body }) => body.file.path,
    Change: ({ body }) => body.change,
    sha256: ({ body }) => body.after?.sha256,
    PreviousSha256: ({ body }) => body.before?.sha256,
    Mode: ({ body }) => octal(body.after?.mode),
    FileType: ({ body }) => kindOf(body.after?.mode),
    PreviousMode: ({ body }) => octal(body.before?.mode),
    OwnerId: ({ body }) => body.after?.uid,
    PreviousOwnerId: ({ body }) => body.before?.uid,
    Size: ({ body }) => body.after?.size,
  }),
  "net.connect": ofProcess<"net.connect">({
    Initiated: () => true,
    Protocol: ({ body }) => body.net.proto,
    DestinationIp: ({ body }) => body.net.dstIp,
    DestinationPort: ({ body }) => body.net.dstPort,
    DestinationIsIpv6: ({ body }) => body.net.dstIp.includes(":"),
  }),
  "net.accept": ofProcess<"net.accept">({
    Initiated: () => false,
    Protocol: ({ body }) => body.net.proto,
    SourceIp: ({ body }) => body.net.srcIp,
    SourcePort: ({ body }) => body.net.srcPort,
    DestinationIp: ({ body }) => body.net.ip,
    DestinationPort: ({ body }) => body.net.port,
    DestinationIsIpv6: ({ body }) => body.net.ip.includes(":"),
  }),
  "net.listen": ofProcess<"net.listen">({
    Protocol: ({ body }) => body.net.proto,
    ListenIp: ({ body }) => body.net.ip,
    ListenPort: ({ body }) => body.net.port,
  }),
  "net.dns": ofProcess<"net.dns">({
    QueryName: ({ body }) => body.net.query,
    // As rules for network_connection ask for it (logsource.ts).
    DestinationHostname: ({ body }) => body.net.query,
    Initiated: () => true,
  }),
  "kernel.module": ofProcess<"kernel.module">({ ImageLoaded: ({ body }) => body.name }),
  "kernel.bpf": ofProcess<"kernel.bpf">({ Command: ({ body }) => body.cmd }),
  "kernel.mount": ofProcess<"kernel.mount">({
    Source: ({ body }) => body.source,
    Target: ({ body }) => body.target,
    FilesystemType: ({ body }) => body.fsType,
  }),
  "device.usb": { Vendor: ({ body }) => body.vendor, Product: ({ body }) => body.product, Action: ({ body }) => body.action },
  "auth.login": {
    User: ({ body }) => body.user,
    SourceIp: ({ body }) => body.remoteIp,
    Method: ({ body }) => body.method,
    Success: ({ body }) => body.ok,
    Source: ({ body }) => own(loginSources, body.method) ?? "sshd",
    // What sshd writes; the line itself is not kept.
    Message: ({ body }) =>
      `${body.ok ? "Accepted" : "Failed"} ${body.method} for ${body.user}${body.remoteIp === undefined ? "" : ` from ${body.remoteIp}`}`,
  },
  "auth.sudo": {
    User: ({ body }) => body.user,
    CommandLine: ({ body }) => body.command,
    Success: ({ body }) => body.ok,
    Source: () => "sudo",
    Message: ({ body }) => `${body.user} : ${body.ok ? "" : "command not allowed ; "}COMMAND=${body.command}`,
  },
  "log.line": { Source: ({ body }) => logSource(body.source), Message: ({ body }) => body.message },
  "host.metrics": {
    CpuBusy: ({ body }) => body.cpu.busy,
    Load1: ({ body }) => body.cpu.load1,
    MemoryAvailableBytes: ({ body }) => body.memory.availableBytes,
  },
  "host.inventory": {
    Table: ({ body }) => body.table,
    Operation: ({ body }) => body.op,
    Row: ({ body }) => Object.entries(body.row).map(([key, value]) => `${key}=${value ?? ""}`),
  },
  "agent.start": { Version: ({ body }) => body.version, Arch: ({ body }) => body.arch, Kernel: ({ body }) => body.kernel },
  "agent.stop": { Why: ({ body }) => body.why },
  "sensor.state": { Collector: ({ body }) => body.collector, Level: ({ body }) => body.level, Why: ({ body }) => body.why },
  "sensor.lost": { Collector: ({ body }) => body.collector, Count: ({ body }) => body.count, Where: ({ body }) => body.where },
  "response.result": {
    Action: ({ body }) => body.act,
    Success: ({ body }) => body.ok,
    Code: ({ body }) => body.code,
    Message: ({ body }) => body.message,
  },
};

/** Who writes of a login, by its method (docs/sensors.md). */
const loginSources: Record<string, string> = { su: "su", console: "login", session: "systemd-logind" };
const own = <T>(table: Record<string, T>, key: string): T | undefined => (Object.hasOwn(table, key) ? table[key] : undefined);

/** `/var/log/auth.log`, `sshd.service` and `sshd` as the service name Sigma uses. */
const logSource = (source: string) => source.slice(source.lastIndexOf("/") + 1).replace(/\.(log|service)$/, "");

/** As Sysmon writes it. */
const utcTime = ({ timeMs }: SensorEvent): Value => {
  const date = new Date(timeMs);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString().slice(0, -1).replace("T", " ");
};

/** Whether keywords look into a field: not into those that say nothing of what happened. */
export const isSearched = (field: string): boolean => field !== "Computer" && field !== "UtcTime";

const maps = new Map<EventType, ReadonlyMap<string, Getter>>(
  Object.entries(table).map(([type, fields]) => [
    type as EventType,
    // A Map: rule files choose the names, and `fields["constructor"]` on an object would be a function.
    new Map([
      ...Object.entries(fields as Fields<SensorEvent>),
      ["Computer", (event: SensorEvent): Value => event.device],
      ["UtcTime", utcTime],
    ]),
  ]),
);

/** Every type of event. Told here too, because the schemas of protocol/event.ts are much to keep in memory. */
export const eventTypes: readonly EventType[] = [...maps.keys()];

/** The fields that every event about a process has. */
export const processFieldNames: readonly string[] = Object.keys(processFields);

/** Every field that rules may ask of this type of event. */
export const fieldsOf = (type: EventType): ReadonlyMap<string, Getter> => maps.get(type)!;
