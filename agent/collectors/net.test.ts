import { expect, test } from "vitest";
import { connectRecord, listenRecord } from "../bpf/layout.gen.ts";
import { decodeConnect, ipv6, listenCollector, onConnect } from "./net.ts";
import { contextOf, recordOf } from "./testing/records.ts";

const bytesOf = (hex: string) => hex.match(/../g)!.map((pair) => Number.parseInt(pair, 16));

test.each([
  { hex: "20010db8000000000000000000000001", text: "2001:db8::1" },
  { hex: "00000000000000000000000000000001", text: "::1" },
  { hex: "00000000000000000000000000000000", text: "::" },
  { hex: "fe800000000000000000000000000000", text: "fe80::" },
  { hex: "20010db8000100010001000100010001", text: "2001:db8:1:1:1:1:1:1" },
  { hex: "20010000000100000000000000010001", text: "2001:0:1::1:1" },
  { hex: "20010db8000000010001000100010001", text: "2001:db8:0:1:1:1:1:1" },
  { hex: "00000000000000000000ffffc0000201", text: "192.0.2.1" },
])("IPv6 as RFC 5952 writes it: $text", ({ hex, text }) => {
  expect(ipv6(bytesOf(hex))).toBe(text);
});

const socketOf = (
  at: typeof connectRecord | typeof listenRecord,
  of: { family: number; port: number; addr: number[]; datagram?: number },
) =>
  recordOf(at.size, { pid: 4 }, (view, bytes) => {
    view.setInt32(at.fd, 3, true);
    view.setUint32(at.family, of.family, true);
    view.setUint32(at.port, of.port, true);
    view.setUint32(at.datagram, of.datagram ?? 0, true);
    bytes.set(of.addr, at.addr);
  });

test("a connect over IPv4", () => {
  const context = contextOf({});
  onConnect(socketOf(connectRecord, { family: 2, port: 443, addr: [198, 51, 100, 7] }), context);
  expect(context.drafts).toMatchObject([{ type: "net.connect", body: { net: { proto: "tcp", dstIp: "198.51.100.7", dstPort: 443 } } }]);
});

test("a datagram socket is udp", () => {
  expect(decodeConnect(socketOf(connectRecord, { family: 2, port: 53, addr: [1, 1, 1, 1], datagram: 1 })).proto).toBe("udp");
});

test("an address family we do not know makes no event", () => {
  const context = contextOf({});
  onConnect(socketOf(connectRecord, { family: 40, port: 1, addr: [] }), context);
  expect(context.drafts).toEqual([]);
});

test.each([
  { name: "bound to a port", record: { family: 2, port: 80, addr: [0, 0, 0, 0] }, found: undefined, net: { ip: "0.0.0.0", port: 80 } },
  {
    name: "port chosen by the kernel",
    record: { family: 2, port: 0, addr: [127, 0, 0, 1] },
    found: { ip: "127.0.0.1", port: 4242 },
    net: { ip: "127.0.0.1", port: 4242 },
  },
  {
    name: "made before the sensor started",
    record: { family: 0, port: 0, addr: [] },
    found: { ip: "::", port: 22 },
    net: { ip: "::", port: 22 },
  },
])("listen: $name", ({ record, found, net }) => {
  const context = contextOf({});
  listenCollector(() => found)(socketOf(listenRecord, record), context);
  expect(context.drafts).toMatchObject([{ type: "net.listen", body: { net: { proto: "tcp", ...net } } }]);
});

test("a listening socket that is not of the internet makes no event", () => {
  const context = contextOf({});
  listenCollector(() => undefined)(socketOf(listenRecord, { family: 0, port: 0, addr: [] }), context);
  expect(context.drafts).toEqual([]);
});
