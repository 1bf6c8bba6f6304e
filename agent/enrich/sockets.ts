// Where a TCP socket is bound and connected, from /proc/PID/net/tcp: what a system call does not tell, and sockets made before the sensor started.
import { readFileSync } from "node:fs";
import { addressOf, type Ends } from "../socket-table.ts";

/** Both ends of a TCP socket of a process that still runs, by the link of its descriptor; undefined for any other socket, or when the process is gone. */
export function endsOf(pid: number, link: string | undefined): Ends | undefined {
  const match = /^socket:\[(\d+)\]$/.exec(link ?? "");
  if (!match) return undefined;
  for (const table of ["tcp", "tcp6"]) {
    let text: string;
    try {
      text = readFileSync(`/proc/${pid}/net/${table}`, "latin1");
    } catch {
      continue;
    }
    const found = findSocket(text, match[1]!);
    if (found) return found;
  }
  return undefined;
}

/** The socket with this inode in a table like /proc/net/tcp (proc_pid_net(5)). */
export function findSocket(table: string, inode: string): Ends | undefined {
  const at = table.indexOf(` ${inode} `);
  if (at < 0) return undefined;
  for (const line of table.split("\n")) {
    const columns = line.trim().split(/\s+/);
    if (columns[9] === inode) return { local: addressOf(columns[1]!), remote: addressOf(columns[2]!) };
  }
  return undefined;
}
