// Our events as the records Linux' audit daemon would have written of them, so that Sigma rules for `service: auditd` are answered (ausearch(8), audit.rules(7)).
// docs/sigma.md shows this table.
import type { EventType, SensorEvent } from "@picket/protocol/event";
import { MAX_ARGS } from "@picket/protocol/limits";
import type { Getter, Value } from "./fields.ts";

/** A field of a record: one of several fixed values, one of the event's own fields or the last segment of it, or read from the event. */
export type RecordField =
  | { readonly kind: "fixed"; readonly values: readonly string[] }
  /** `link`: another field of the record, which may have it instead. */
  | { readonly kind: "same"; readonly as: string; readonly link?: string }
  | { readonly kind: "segment"; readonly as: string; readonly get: Getter }
  /** `oneOf`: all that it can be. */
  | { readonly kind: "read"; readonly get: Getter; readonly oneOf?: readonly string[] };

/** `text`: where keywords look, besides the fixed values. */
export type AuditRecord = { readonly type: string; readonly fields: ReadonlyMap<string, RecordField>; readonly text: readonly string[] };

/** Texts name a field of the event; lists are fixed values. */
type Column =
  | string
  | readonly string[]
  | Getter
  | { readonly oneOf: readonly string[]; readonly get: Getter }
  | { readonly as: string; readonly link: string }
  | { readonly segmentOf: string; readonly get: Getter };
type Row = { readonly type: string; readonly text: readonly string[]; readonly fields: Readonly<Record<string, Column>> };
type Rows = { readonly [T in EventType]?: readonly Row[] };

/** What the common rule sets watch with `-w PROGRAM -p x -k susp_activity` (the rule that asks for the key lists them). */
const suspicious: ReadonlySet<string> = new Set(
  "wget curl base64 nc netcat ncat ss netstat ssh scp sftp ftp socat wireshark tshark rawshark rdesktop wlfreerdp xfreerdp nmap".split(" "),
);
const programFolder = /^\/(usr\/(local\/)?)?s?bin\//;
/** Programs that are links to kmod where modules are handled by it; audit writes what a link leads to. */
const kmod = /^\/(usr\/)?s?bin\/(insmod|rmmod|modprobe|modinfo|lsmod|depmod)$/;

const nameOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);
// Not the one of protocol/event.ts, with which a device would keep the schemas of all events in memory.
const processOf = ({ body }: SensorEvent) => ("process" in body ? body.process : undefined);
const exeOf = (event: SensorEvent) => processOf(event)?.exe;

/** The kernel's short name of a program is cut at 15 bytes (TASK_COMM_LEN). */
const comm = (event: SensorEvent): Value => {
  const path = exeOf(event);
  return path === undefined ? undefined : nameOf(path).slice(0, 15);
};
const kmodPath = "/usr/bin/kmod";
const linkTarget = (event: SensorEvent): Value => (kmod.test(exeOf(event) ?? "") ? kmodPath : undefined);

const who = {
  exe: { as: "Image", link: "exe of link" },
  "exe of link": { oneOf: [kmodPath], get: linkTarget },
  comm: { segmentOf: "Image", get: comm },
  ...{ pid: "ProcessId", ppid: "ParentProcessId" },
  ...{ uid: "UserId", euid: "UserId", suid: "UserId", fsuid: "UserId", UID: "User", EUID: "User", SUID: "User", FSUID: "User" },
} as const;

/** A SYSCALL record. Which of several calls it was is not known; any of them fits. */
const call = (names: readonly string[], more: Row["fields"] = {}): Row => ({
  type: "SYSCALL",
  text: ["Image"],
  fields: { SYSCALL: names, syscall: names, ...who, ...more },
});
const path = (nametype: string, name = "TargetFilename"): Row => ({
  type: "PATH",
  text: [name],
  fields: { name, nametype: [nametype], objtype: [nametype] },
});
const opens = ["openat", "open", "openat2"];
const networkKey = { oneOf: ["network_connect_4", "network_connect_6"] };
const isIpv6 = (event: SensorEvent) => event.type === "net.connect" && event.body.net.dstIp.includes(":");
const socket = (address: string, port: string): Row => ({
  type: "SOCKADDR",
  text: [address, port],
  fields: { laddr: address, lport: port, SADDR: address },
});
const answered = ({ body }: SensorEvent) => ("ok" in body ? (body.ok ? "success" : "failed") : undefined);
const login = (type: string): Row => ({
  type,
  text: ["Message"],
  fields: { acct: "User", addr: "SourceIp", hostname: "SourceIp", res: answered },
});

const argumentFields: Row["fields"] = Object.fromEntries(
  Array.from({ length: MAX_ARGS }, (_, at) => [`a${at}`, (event: SensorEvent) => processOf(event)?.argv[at]]),
);
const argc = (event: SensorEvent): Value => {
  const process = processOf(event);
  return process?.argvTruncated ? undefined : process?.argv.length;
};

const rows: Rows = {
  "process.exec": [
    call(["execve", "execveat"], {
      success: ["yes"],
      key: {
        oneOf: ["susp_activity"],
        get: (event) => {
          const path = exeOf(event) ?? "";
          return suspicious.has(nameOf(path)) && programFolder.test(path) ? "susp_activity" : undefined;
        },
      },
    }),
    {
      type: "EXECVE",
      text: ["CommandLine"],
      fields: { argc, ...argumentFields },
    },
    path("NORMAL", "Image"),
    { type: "CWD", text: ["CurrentDirectory"], fields: { cwd: "CurrentDirectory" } },
    { type: "PROCTITLE", text: ["CommandLine"], fields: { proctitle: "CommandLine" } },
  ],
  "process.ptrace": [call(["ptrace"])],
  "process.memfd": [call(["memfd_create"])],
  "process.io_uring": [call(["io_uring_setup", "io_uring_enter"])],
  "process.setuid": [call(["setuid", "setreuid", "setresuid"])],
  "file.open": [call(opens), path("NORMAL")],
  "file.create": [call([...opens, "creat"]), path("CREATE")],
  "file.modify": [call(opens), path("NORMAL")],
  "file.rename": [call(["rename", "renameat", "renameat2"]), path("DELETE", "SourceFilename"), path("CREATE")],
  "file.delete": [call(["unlink", "unlinkat"]), path("DELETE")],
  "file.chmod": [call(["chmod", "fchmod", "fchmodat"]), path("NORMAL")],
  "net.connect": [
    call(["connect"], {
      key: {
        ...networkKey,
        get: (event) => networkKey.oneOf[isIpv6(event) ? 1 : 0],
      },
    }),
    socket("DestinationIp", "DestinationPort"),
  ],
  "net.accept": [call(["accept", "accept4"]), socket("SourceIp", "SourcePort")],
  "net.listen": [call(["listen"])],
  "kernel.module": [call(["init_module", "finit_module"]), { type: "KERN_MODULE", text: ["ImageLoaded"], fields: { name: "ImageLoaded" } }],
  "kernel.bpf": [call(["bpf"])],
  "kernel.mount": [call(["mount"]), path("NORMAL", "Target")],
  "auth.login": [login("USER_LOGIN"), login("USER_AUTH")],
  "auth.sudo": [
    { type: "USER_CMD", text: ["Message"], fields: { cmd: "CommandLine", acct: "User", exe: ["/usr/bin/sudo"], res: answered } },
  ],
};

function recordOf(row: Row): AuditRecord {
  const field = (column: Column): RecordField => {
    if (typeof column === "string") return { kind: "same", as: column };
    if (typeof column === "function") return { kind: "read", get: column };
    if ("as" in column) return { kind: "same", ...column };
    if ("segmentOf" in column) return { kind: "segment", as: column.segmentOf, get: column.get };
    if ("get" in column) return { kind: "read", ...column };
    return { kind: "fixed", values: column };
  };
  const fields = Object.entries({ type: [row.type], ...row.fields }).map(([name, column]): [string, RecordField] => [name, field(column)]);
  return { type: row.type, fields: new Map(fields), text: row.text };
}

const records = new Map<EventType, readonly AuditRecord[]>(
  Object.entries(rows).map(([type, list]) => [type as EventType, list.map(recordOf)]),
);

/** The events that audit would have written records of. */
export const auditEvents: readonly EventType[] = [...records.keys()];

/** The records of one type of event; none for what audit would not have seen. */
export const auditRecordsOf = (type: EventType): readonly AuditRecord[] => records.get(type) ?? [];

/** Types of records there are, for messages. */
export const auditTypes: readonly string[] = [...new Set([...records.values()].flat().map(({ type }) => type))];

/** Name under which the compiled rules know a field that only a record has. No event's own field has a dot. */
export const recordFieldName = (record: AuditRecord, field: string) => `${record.type}.${field}`;

const readFields = new Map<EventType, ReadonlyMap<string, Getter>>(
  [...records].map(([type, list]) => [
    type,
    new Map(
      list.flatMap((record) =>
        [...record.fields].flatMap(([name, field]): [string, Getter][] => {
          if (field.kind === "same") return [];
          return [[recordFieldName(record, name), field.kind === "fixed" ? () => field.values : field.get]];
        }),
      ),
    ),
  ]),
);

/** Fields that only records of this type of event have, by `recordFieldName`. */
export const recordFieldsOf = (type: EventType): ReadonlyMap<string, Getter> => readFields.get(type) ?? new Map();
