// Which events can be links of a chain or of a story, and as what.
import type { EventOf, Process, SensorEvent } from "@picket/protocol/event";
import type { Arrival } from "../finding.ts";
import { baseName } from "../text.ts";
import { type DeedKind, type ProcessNode, parentOf, type Step, type StepKind } from "./node.ts";
import { type Place, placeOf } from "./places.ts";
import { isCredentialRead, isExternal, isNoisyTool, isShell, runsOneCommand } from "./programs.ts";

/** What a step is about, besides who did it. */
type What = {
  readonly object: string;
  readonly path?: string;
  readonly from?: string;
  readonly place?: Place | undefined;
  readonly ip?: string;
  readonly port?: number;
  readonly count?: number;
  readonly sinceMs?: number;
};

/** Words for what a process did, before what it did it to. */
export const verbs: { readonly [K in StepKind]: string } = {
  shell: "ran",
  exec: "ran",
  connect: "connected to",
  read: "read",
  write: "wrote",
  rename: "renamed",
  delete: "removed",
  chmod: "made executable",
  listen: "listened on",
  accept: "accepted a connection from",
  setuid: "became",
  memfd: "made the anonymous file",
  mount: "mounted",
  module: "loaded the kernel module",
  ptrace: "traced",
  beacon: "keeps calling",
  scan: "tried",
  mass: "renamed",
  busy: "uses",
};

/** One bit a kind. */
export const kindBit = Object.fromEntries(Object.keys(verbs).map((kind, at) => [kind, 1 << at])) as { readonly [K in StepKind]: number };

const deeds: ReadonlySet<StepKind> = new Set<DeedKind>([
  "write",
  "rename",
  "delete",
  "chmod",
  "listen",
  "accept",
  "setuid",
  "memfd",
  "mount",
  "module",
  "ptrace",
]);
export const isDeed = (kind: StepKind): boolean => deeds.has(kind);
export const isStart = (kind: StepKind): boolean => kind === "exec" || kind === "shell";

/** Most of a command line that a step keeps. Whoever shows one shows less. */
const MAX_LINE = 1000;

/** Arguments as one text; a longer one is told from others by its hash. A copy: a part of a text keeps all of it in memory, and a device may send 128 KB. */
function lineOf(argv: readonly string[]): string {
  const line = argv.join(" ");
  if (line.length <= MAX_LINE) return line;
  return `${Buffer.from(line.slice(0, MAX_LINE)).toString()}… ${Bun.hash.xxHash32(line).toString(16)}`;
}

/** The step an event is, or undefined for most. */
export function stepOf(event: SensorEvent, node: ProcessNode, arrival: Arrival): Step | undefined {
  switch (event.type) {
    case "process.exec": {
      const { exe, argv } = event.body.process;
      const parent = parentOf(node, arrival.receivedMs);
      // `sh -c` by a package tool is its work, not somebody's shell.
      const own = isShell(exe) && !(runsOneCommand(argv) && parent !== undefined && isNoisyTool(parent.exe, parent.argv));
      return step(own ? "shell" : "exec", event, node, arrival, {
        object: argv.length > 0 ? lineOf(argv) : exe,
        path: exe,
        place: placeOf(exe),
      });
    }
    case "net.connect": {
      const { proto, dstIp, dstPort } = event.body.net;
      if (!isExternal(proto, dstIp, dstPort)) return undefined;
      return step("connect", event, node, arrival, { object: ended(dstIp, dstPort), ip: dstIp, port: dstPort });
    }
    case "file.open": {
      const { path, flags } = event.body.file;
      if (isCredentialRead(path, flags, event.body.process.exe, event.body.process.argv))
        return step("read", event, node, arrival, { object: path, path });
      return placeOf(path) === "host" ? step("write", event, node, arrival, { object: path, path, place: "host" }) : undefined;
    }
    case "file.create":
    case "file.modify":
      return ofFile("write", event, node, arrival);
    case "file.delete":
      return ofFile("delete", event, node, arrival);
    case "file.rename":
      return renamed(event, node, arrival);
    case "file.chmod":
      // S_IXUSR, S_IXGRP, S_IXOTH and the set-id bits.
      return (event.body.file.mode & 0o6111) === 0 ? undefined : ofFile("chmod", event, node, arrival);
    default:
      return otherDeed(event, node, arrival);
  }
}

function otherDeed(event: SensorEvent, node: ProcessNode, arrival: Arrival): Step | undefined {
  switch (event.type) {
    case "net.listen": {
      const { proto, ip, port } = event.body.net;
      return isExternal("tcp", ip, port) || isAny(ip)
        ? step("listen", event, node, arrival, { object: `${proto} ${ended(ip, port)}`, ip, port })
        : undefined;
    }
    case "net.accept": {
      const { srcIp, srcPort, port, proto } = event.body.net;
      return isExternal(proto, srcIp, port)
        ? step("accept", event, node, arrival, { object: ended(srcIp, srcPort), ip: srcIp, port })
        : undefined;
    }
    case "process.setuid":
      return event.body.to === 0 && event.body.from !== 0
        ? step("setuid", event, node, arrival, { object: `root, was user ${event.body.from}` })
        : undefined;
    case "process.memfd":
      return step("memfd", event, node, arrival, { object: event.body.name });
    case "process.ptrace":
      return step("ptrace", event, node, arrival, { object: `pid ${event.body.targetPid}` });
    case "kernel.mount": {
      const { source, target } = event.body;
      return step("mount", event, node, arrival, { object: `${source} on ${target}`, path: source, place: placeOf(target) });
    }
    case "kernel.module":
      return event.body.process ? step("module", event, node, arrival, { object: event.body.name }) : undefined;
    default:
      return undefined;
  }
}

type FileEvent = EventOf<"file.create" | "file.modify" | "file.delete" | "file.chmod">;

/** Of a file that lies where it matters, or is the program of its own process: `rm $0`. */
function ofFile(kind: DeedKind, event: FileEvent, node: ProcessNode, arrival: Arrival): Step | undefined {
  const { path } = event.body.file;
  const place = placeOf(path);
  const counts = place !== undefined || (kind === "delete" && path === node.exe);
  return counts ? step(kind, event, node, arrival, { object: path, path, place }) : undefined;
}

/** To a place that matters, it is a file written there; from a log, one removed; else, where it can be one of many, a rename. */
function renamed(event: EventOf<"file.rename">, node: ProcessNode, arrival: Arrival): Step | undefined {
  const { path, to } = event.body.file;
  const [from, place] = [placeOf(path), placeOf(to)];
  if (from === "log" && place !== "log") return step("delete", event, node, arrival, { object: path, path, place: from });
  if (place === undefined && from === undefined) return undefined;
  return step("rename", event, node, arrival, { object: `${path} to ${to}`, path: to, from: path, place });
}

const isAny = (ip: string): boolean => ip === "0.0.0.0" || ip === "::";
const ended = (ip: string, port: number): string => (ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`);

/** A step as this event tells it. */
export function step(kind: StepKind, event: SensorEvent, node: ProcessNode, arrival: Arrival, what: What): Step {
  // As stated by the event: what is remembered may be what the process was before.
  const stated: Process | undefined = "process" in event.body ? event.body.process : undefined;
  const exe = stated?.exe ?? node.exe;
  const argv = stated && stated.exe !== node.exe ? stated.argv.slice(0, 2) : node.argv;
  return {
    kind,
    node,
    parent: parentOf(node, arrival.receivedMs),
    pair: event.type === "process.exec" ? node.pair : undefined,
    program: baseName(exe),
    exe,
    argv,
    contained: stated?.container !== undefined,
    noisy: isNoisyTool(exe, argv),
    ip: what.ip ?? "",
    port: what.port ?? 0,
    far: kind === "connect" || kind === "beacon" ? node.far : undefined,
    path: what.path ?? "",
    from: what.from ?? "",
    place: what.place,
    object: what.object,
    count: what.count ?? 1,
    sinceMs: what.sinceMs ?? arrival.receivedMs,
    timeMs: event.timeMs,
    seq: event.seq,
    receivedMs: arrival.receivedMs,
    eventId: arrival.id,
  };
}
