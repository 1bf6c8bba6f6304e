import { expect, test } from "vitest";
import { acceptRecord } from "../bpf/layout.gen.ts";
import { acceptCollector, type Ends } from "./net.ts";
import { contextOf, recordOf } from "./testing/records.ts";

const accepted = (of: { fd?: number; newFd: number; peer?: number[]; port?: number; atNs?: bigint }) =>
  recordOf(acceptRecord.size, { pid: 4, bootNs: of.atNs ?? 0n }, (view, bytes) => {
    view.setInt32(acceptRecord.fd, of.fd ?? 3, true);
    view.setInt32(acceptRecord.newFd, of.newFd, true);
    view.setUint32(acceptRecord.family, of.peer ? 2 : 0, true);
    view.setUint32(acceptRecord.port, of.port ?? 0, true);
    bytes.set(of.peer ?? [], acceptRecord.addr);
  });

function run(records: readonly DataView[], ends: Ends) {
  const context = contextOf({});
  let looked = 0;
  const handle = acceptCollector((pid, fd) => {
    looked++;
    return ends(pid, fd);
  });
  for (const record of records) handle(record, context);
  return { looked, nets: context.drafts.map(({ body }) => "net" in body && body.net) };
}

const local = { ip: "0.0.0.0", port: 22 };
const found: Ends = (_, fd) => ({ local, remote: { ip: "192.0.2.9", port: 4000 + fd } });

test("a listener is looked up once, a peer that the program asked for never", () => {
  const { looked, nets } = run(
    [7, 8].map((newFd) => accepted({ newFd, peer: [192, 0, 2, 1], port: newFd })),
    found,
  );
  expect(looked).toBe(1);
  expect(nets).toEqual([7, 8].map((srcPort) => ({ proto: "tcp", ip: "0.0.0.0", port: 22, srcIp: "192.0.2.1", srcPort })));
});

test("a program that does not ask: the peer is looked up, at most 20 times a second, and told as unknown past that", () => {
  const { looked, nets } = run(
    Array.from({ length: 25 }, (_, newFd) => accepted({ newFd })),
    found,
  );
  // One of them for the listener.
  expect(looked).toBe(20);
  expect(nets).toHaveLength(25);
  expect(nets[18]).toMatchObject({ port: 22, srcIp: "192.0.2.9", srcPort: 4018 });
  expect(nets[24]).toEqual({ proto: "tcp", ip: "0.0.0.0", port: 22, srcIp: "", srcPort: 0 });
});

test("a UNIX socket makes no event, and is asked about once a minute", () => {
  const { looked, nets } = run(
    [0n, 1n, 61_000_000_000n].map((atNs) => accepted({ newFd: 7, atNs })),
    () => undefined,
  );
  expect({ looked, nets }).toEqual({ looked: 2, nets: [] });
});

test("a connection that was gone before it could be looked up has its peer all the same", () => {
  const { nets } = run([accepted({ newFd: 7, peer: [192, 0, 2, 1], port: 9 })], () => undefined);
  expect(nets).toEqual([{ proto: "tcp", ip: "", port: 0, srcIp: "192.0.2.1", srcPort: 9 }]);
});

test("a connection closed before anybody could look is told without its peer, and so are those after it", () => {
  const listening: Ends = (_, fd) => (fd === 3 ? { local, remote: { ip: "0.0.0.0", port: 0 } } : undefined);
  const { nets } = run([accepted({ newFd: 7 }), accepted({ newFd: 7, atNs: 1n })], listening);
  expect(nets).toEqual([1, 2].map(() => ({ proto: "tcp", ip: "0.0.0.0", port: 22, srcIp: "", srcPort: 0 })));
});
