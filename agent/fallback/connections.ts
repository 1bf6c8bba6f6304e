// net.connect, net.accept and net.listen from the kernel's tables of sockets, looked at again and again. What lasts less than the time between two looks is missed.
import { readdirSync } from "node:fs";
import type { EventDraft } from "@picket/protocol/event";
import type { Head, Processes } from "../processes.ts";

type Address = { readonly ip: string; readonly port: number };
export type Socket = { readonly local: Address; readonly remote: Address; readonly state: number; readonly inode: string };
export type Sockets = { readonly tcp: readonly Socket[]; readonly udp: readonly Socket[] };

export type ConnectionOptions = {
  /** The tables as they are now. */
  readonly read: () => Sockets;
  readonly pids: () => number[];
  readonly link: (pid: number, name: string) => string | undefined;
  readonly ignorePid: number;
  readonly processes: Pick<Processes, "describe">;
  readonly head: (pid: number) => Head;
  readonly now: () => number;
  readonly emit: (draft: EventDraft) => void;
};

export type Connections = { look(): void };

// include/net/tcp_states.h; a datagram socket is "established" when it is connected.
const ESTABLISHED = 1;
const SYN_SENT = 2;
const CLOSE_WAIT = 8;
const LISTEN = 10;
const CONNECTED: readonly number[] = [ESTABLISHED, SYN_SENT, CLOSE_WAIT];

/** Ports above are the kernel's own choice for sockets that were not bound (ip_local_port_range), with its default. */
const FIRST_EPHEMERAL = 32768;
/** Links of /proc read to find owners in one look: about 20 ms. */
const MAX_LINKS = 5000;
/** Looks in which an owner is searched for. */
const TRIES = 3;

type Kind = "listen" | "accept" | "connect";
type New = { readonly key: string; readonly kind: Kind; readonly proto: "tcp" | "udp"; readonly socket: Socket };

/** Remembers which sockets there were; those of the first look are no events. */
export function createConnections(options: ConnectionOptions): Connections {
  const owners = new Owners(options);
  const tries = new Map<string, number>();
  let known = new Set(interesting(options.read()).map(({ key }) => key));
  return {
    look() {
      const now = interesting(options.read());
      const fresh = now.filter(({ key }) => !known.has(key));
      known = new Set(now.map(({ key }) => key));
      for (const key of tries.keys()) if (!known.has(key)) tries.delete(key);
      if (fresh.length === 0) return;
      const found = owners.find(new Set(fresh.map(({ socket }) => socket.inode)));
      for (const one of fresh) {
        const pid = found.get(one.socket.inode);
        if (pid !== undefined) {
          tries.delete(one.key);
          if (pid !== options.ignorePid) tell(one, pid, options);
          continue;
        }
        // Its owner was not found this time: it is new again in the next look.
        const tried = (tries.get(one.key) ?? 0) + 1;
        tries.set(one.key, tried);
        if (tried < TRIES) known.delete(one.key);
        else tell(one, undefined, options);
      }
    },
  };
}

function interesting({ tcp, udp }: Sockets): New[] {
  const listening = new Set(tcp.flatMap(({ state, local }) => (state === LISTEN ? [local.port] : [])));
  const found: New[] = [];
  const add = (kind: Kind, proto: New["proto"], socket: Socket) =>
    // One that nobody owns any more is closing.
    socket.inode !== "0" && found.push({ key: `${socket.inode} ${kind} ${textOf(socket.remote)}`, kind, proto, socket });
  for (const socket of tcp) {
    if (socket.state === LISTEN) add("listen", "tcp", socket);
    else if (CONNECTED.includes(socket.state)) add(listening.has(socket.local.port) ? "accept" : "connect", "tcp", socket);
  }
  for (const socket of udp) {
    if (socket.remote.port !== 0) add("connect", "udp", socket);
    else if (socket.local.port < FIRST_EPHEMERAL) add("listen", "udp", socket);
  }
  return found;
}

const textOf = ({ ip, port }: Address) => `${ip} ${port}`;

/** A connection of which it is only known that it was: as in recorded input whose author did not know more. */
const nobody = { pid: 0, startTicks: 0, ppid: 0, uid: -1, exe: "", argv: [] };

function tell({ kind, proto, socket: { local, remote } }: New, pid: number | undefined, options: ConnectionOptions): void {
  const process = pid === undefined ? nobody : options.processes.describe(options.head(pid));
  const timeMs = options.now();
  if (kind === "connect") {
    options.emit({ type: "net.connect", timeMs, body: { process, net: { proto, dstIp: remote.ip, dstPort: remote.port } } });
  } else if (kind === "listen") {
    options.emit({ type: "net.listen", timeMs, body: { process, net: { proto, ip: local.ip, port: local.port } } });
  } else {
    const net = { proto, ip: local.ip, port: local.port, srcIp: remote.ip, srcPort: remote.port };
    options.emit({ type: "net.accept", timeMs, body: { process, net } });
  }
}

/** Who has a socket open: the links of /proc/PID/fd tell. */
class Owners {
  readonly #options: ConnectionOptions;
  /** Where the search stopped for lack of time. */
  #resumeAfter = 0;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** Owners of these sockets, as far as they are found in the time for one look. Newer processes first: sockets that are new are mostly theirs. */
  find(inodes: Set<string>): Map<string, number> {
    const found = new Map<string, number>();
    let links = 0;
    for (const pid of this.#order()) {
      for (const fd of descriptors(pid)) {
        links++;
        const inode = /^socket:\[(\d+)\]$/.exec(this.#options.link(pid, `fd/${fd}`) ?? "")?.[1];
        if (inode !== undefined && inodes.has(inode) && !found.has(inode)) found.set(inode, pid);
      }
      if (found.size === inodes.size) break;
      if (links >= MAX_LINKS) {
        this.#resumeAfter = pid;
        return found;
      }
    }
    this.#resumeAfter = 0;
    return found;
  }

  #order(): number[] {
    const pids = this.#options.pids().sort((a, b) => b - a);
    const at =
      this.#resumeAfter === 0
        ? 0
        : Math.max(
            0,
            pids.findIndex((pid) => pid < this.#resumeAfter),
          );
    return [...pids.slice(at), ...pids.slice(0, at)];
  }
}

function descriptors(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`);
  } catch {
    return [];
  }
}
