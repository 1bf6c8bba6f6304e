import { readdirSync, readlinkSync } from "node:fs";
import { createServer } from "node:net";
import { expect, test } from "vitest";
import { endsOf, findSocket } from "./sockets.ts";

const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0
`;
const table6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: B80D0120000000000000000001000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4712 1 0
`;

test.each([
  [table, "4711", { local: { ip: "127.0.0.1", port: 8080 }, remote: { ip: "0.0.0.0", port: 0 } }],
  [table6, "4712", { local: { ip: "2001:db8::1", port: 22 }, remote: { ip: "::", port: 0 } }],
  [table, "471", undefined],
])("%#", (text, inode, expected) => {
  expect(findSocket(text, inode)).toEqual(expected);
});

test("a socket of this process, on a port the kernel chose", async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const address = server.address();
    const port = typeof address === "object" && address ? address.port : 0;
    const links = readdirSync("/proc/self/fd").flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`)];
      } catch {
        return [];
      }
    });
    expect(links.map((link) => endsOf(process.pid, link)?.local)).toContainEqual({ ip: "127.0.0.1", port });
  } finally {
    server.close();
  }
});

test("what is no socket, and a process that is gone", () => {
  expect(endsOf(process.pid, "/etc/passwd")).toBeUndefined();
  expect(endsOf(0x7fffffff, "socket:[1]")).toBeUndefined();
});
