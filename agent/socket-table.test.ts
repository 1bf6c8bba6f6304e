import { expect, test } from "vitest";
import { parseSockets } from "./socket-table.ts";

const line = (local: string, remote: string, rest = "00:00000000 00000000  1000        0 4711 1 0") =>
  `   0: ${local} ${remote} 01 00000000:00000000 ${rest}\n`;

test.each([
  ["IPv4", "0100007F:1F90", { ip: "127.0.0.1", port: 8080 }],
  ["IPv6", "B80D0120000000000000000001000000:0016", { ip: "2001:db8::1", port: 22 }],
  ["IPv4 in an IPv6 socket, which is IPv4 on the wire", "0000000000000000FFFF00000100007F:0050", { ip: "127.0.0.1", port: 80 }],
  ["no address at all", "00000000000000000000000000000000:0000", { ip: "::", port: 0 }],
])("%s", (_, text, address) => {
  expect(parseSockets(line(text, text))).toEqual([{ local: address, remote: address, state: 1, uid: 1000, inode: "4711" }]);
});

test("headings and torn lines are left out", () => {
  const heading = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
  expect(parseSockets(`${heading}${line("0100007F:0016", "0100007F:0017")}   1: 0100007F`)).toHaveLength(1);
  expect(parseSockets("")).toEqual([]);
});
