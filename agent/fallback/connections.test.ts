import type { EventDraft } from "@picket/protocol/event";
import { expect, test } from "vitest";
import { createConnections, type Socket, type Sockets } from "./connections.ts";

const LISTEN = 10;
const ESTABLISHED = 1;
const TIME_WAIT = 6;
const socket = (inode: string, state: number, local: number, remote = 0): Socket => ({
  local: { ip: "10.0.0.1", port: local },
  remote: { ip: remote === 0 ? "0.0.0.0" : "10.0.0.2", port: remote },
  state,
  inode,
});

/** The tables as the test says they are; all sockets belong to this process, unless `link` says otherwise. */
function looking(tables: { tcp?: Socket[]; udp?: Socket[] }, link: (pid: number, name: string) => string | undefined, ignorePid = 0) {
  const sockets: { tcp: Socket[]; udp: Socket[] } = { tcp: [], udp: [], ...tables };
  const drafts: EventDraft[] = [];
  const connections = createConnections({
    read: (): Sockets => sockets,
    pids: () => [process.pid],
    link,
    ignorePid,
    processes: { describe: ({ pid }) => ({ pid, startTicks: 1, ppid: 1, uid: 0, exe: "/bin/x", argv: [] }) },
    head: (pid) => ({ bootNs: 0n, cgroup: 0n, pid, tid: pid, uid: 0, comm: "" }),
    now: () => 1,
    emit: (draft) => void drafts.push(draft),
  });
  const look = () => {
    connections.look();
    return drafts.splice(0).map(({ type, body }) => [type, "process" in body && body.process?.pid, "net" in body && body.net]);
  };
  return { sockets, look };
}

const owned = (inode: string) => () => `socket:[${inode}]`;

test("what is there at the start is no event; each that comes is one", () => {
  const { sockets, look } = looking({ tcp: [socket("1", LISTEN, 22)] }, owned("5"));
  expect(look()).toEqual([]);
  sockets.tcp.push(socket("5", ESTABLISHED, 50000, 443));
  expect(look()).toEqual([["net.connect", process.pid, { proto: "tcp", dstIp: "10.0.0.2", dstPort: 443 }]]);
  expect(look()).toEqual([]);
});

test("a connection to a port that is listened on was accepted", () => {
  const { sockets, look } = looking({ tcp: [socket("1", LISTEN, 22)] }, owned("5"));
  sockets.tcp.push(socket("5", ESTABLISHED, 22, 50001));
  expect(look()).toEqual([["net.accept", process.pid, { proto: "tcp", ip: "10.0.0.1", port: 22, srcIp: "10.0.0.2", srcPort: 50001 }]]);
});

test("an owner that is not found is looked for three times; then the connection is told without", () => {
  const { sockets, look } = looking({}, () => undefined);
  sockets.tcp.push(socket("5", ESTABLISHED, 50000, 443));
  expect([look(), look()]).toEqual([[], []]);
  expect(look()).toEqual([["net.connect", 0, { proto: "tcp", dstIp: "10.0.0.2", dstPort: 443 }]]);
  expect(look()).toEqual([]);
});

test("datagrams: a port of its own serves, one that the kernel picked does not, and who is connected has a far end", () => {
  const { sockets, look } = looking({}, owned("5"));
  sockets.udp.push(socket("5", 7, 53));
  expect(look()).toEqual([["net.listen", process.pid, { proto: "udp", ip: "10.0.0.1", port: 53 }]]);
  sockets.udp[0] = socket("5", 7, 40000);
  expect(look()).toEqual([]);
  sockets.udp[0] = socket("5", ESTABLISHED, 40000, 53);
  expect(look()).toEqual([["net.connect", process.pid, { proto: "udp", dstIp: "10.0.0.2", dstPort: 53 }]]);
});

test("what closes, and the agent's own, is no event", () => {
  const { sockets, look } = looking({}, owned("5"), process.pid);
  sockets.tcp.push(socket("0", TIME_WAIT, 50000, 443), socket("0", ESTABLISHED, 50002, 443), socket("5", ESTABLISHED, 50001, 443));
  expect(look()).toEqual([]);
});
