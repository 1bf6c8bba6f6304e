// Whether a shell or interpreter talks over the network instead of a terminal.
import type { Process } from "@picket/protocol/event";
import type { Ends } from "../socket-table.ts";

/** Programs that do what they read: a look at three links of /proc for each program start would cost too much. */
const steered =
  /\/(?:(?:ba|da|z|k|c|tc|fi|a|mk)?sh|busybox|python[\d.]*|perl[\d.]*|ruby[\d.]*|php[\d.]*|lua[\d.]*|node|bun|deno|awk|gawk|mawk|socat|nc(?:at|\.\w+)?)$/;

/** Which of the standard descriptors of a process that just started are one TCP connection, and its far end. Undefined for other programs, or when none is, or it is gone. */
export function connectedStdio(ends: (pid: number, fd: number) => Ends | undefined, link: (pid: number, fd: number) => string | undefined) {
  return (process: Process): { fds: number[]; ip: string; port: number } | undefined => {
    if (!steered.test(process.exe)) return undefined;
    const links = [0, 1, 2].map((fd) => link(process.pid, fd));
    const socket = links.find((target) => target?.startsWith("socket:"));
    if (socket === undefined) return undefined;
    const fds = [0, 1, 2].filter((fd) => links[fd] === socket);
    const found = ends(process.pid, fds[0]!);
    // One that listens, or is not connected yet, has nobody at its far end.
    return found && found.remote.port !== 0 ? { fds, ip: found.remote.ip, port: found.remote.port } : undefined;
  };
}
