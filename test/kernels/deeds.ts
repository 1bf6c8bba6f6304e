// What scripts/every-event.sh causes, and how it must look to who reads the agent's events.
import type { EventOf, EventType, SensorEvent } from "../../protocol/event.ts";

export type Deed = { readonly what: string; readonly type: EventType; readonly seenIn: (events: readonly SensorEvent[]) => boolean };

function deed<T extends EventType>(what: string, type: T, looks: (body: EventOf<T>["body"]) => boolean): Deed {
  return { what, type, seenIn: (events) => events.some((event) => event.type === type && looks(event.body as EventOf<T>["body"])) };
}

type Run = { readonly argv: readonly string[]; readonly exe: string };
const shell = (name: string) => (process: Run) => process.exe === "/usr/bin/bash" && process.argv.includes(name);
/** `deed NAME` of the script: argv[0] is a claim, the path is not. */
const marked = (name: string) => (process: Run) => process.exe === "/usr/local/bin/deeds" && process.argv[0] === `marked-${name}`;
const same = (found: unknown, expected: unknown) => JSON.stringify(found) === JSON.stringify(expected);

/** What is seen without BPF, too. */
export const always: readonly Deed[] = [
  deed(
    "a program",
    "process.exec",
    ({ process }) => shell("marked-exec")(process) && process.argv.at(-1) === "two words" && process.cwd === "/tmp",
  ),
  deed("its parent", "process.exec", ({ process }) => shell("marked-exec")(process) && same(process.parent?.argv, ["bash", "/script.sh"])),
  deed("its end", "process.exit", ({ process, exitCode }) => shell("marked-exec")(process) && exitCode === 7),
  deed(
    "a script and its interpreter",
    "process.exec",
    ({ process }) => process.exe.endsWith("/bin/bash") && /^\/bin\/bash -e (\.|\/tmp)\/marked-script one$/.test(process.argv.join(" ")),
  ),
  deed("a secret read", "file.open", ({ process, file }) => shell("marked-open")(process) && file.path === "/etc/shadow"),
  deed(
    "a connection",
    "net.connect",
    ({ process, net }) =>
      [shell("marked-connect"), shell("marked-shell")].some((is) => is(process)) && net.dstIp === "127.0.0.1" && net.dstPort === 4444,
  ),
];

/** What needs BPF. */
export const withBpf: readonly Deed[] = [
  deed("a program that is gone at once", "process.exec", ({ process }) => process.exe === "/tmp/marked-gone"),
  deed(
    "a library loaded first",
    "process.exec",
    ({ process, preload }) => process.argv[1] === "marked-preload" && preload === "LD_PRELOAD=/nonexistent/marked.so",
  ),
  deed(
    "a shell on a connection",
    "process.exec",
    ({ process, stdio }) => shell("marked-shell")(process) && same(stdio, { fds: [0, 1], ip: "127.0.0.1", port: 4444 }),
  ),
  deed("a file made", "file.create", ({ process, file }) => shell("marked-files")(process) && file.path === "/tmp/marked-file"),
  deed("set-user-id", "file.chmod", ({ file }) => file.path === "/tmp/marked-file" && (file.mode & 0o7777) === 0o4755),
  deed("a file renamed", "file.rename", ({ file }) => file.path === "/tmp/marked-file" && file.to === "/tmp/marked-moved"),
  deed("a file removed", "file.delete", ({ file }) => file.path === "/tmp/marked-moved"),
  deed("a DNS query by sendto", "net.dns", ({ net }) => net.query === "one.marked-dns.example"),
  deed("a DNS query by sendmsg", "net.dns", ({ net }) => net.query === "two.marked-dns.example"),
  deed("DNS queries by sendmmsg", "net.dns", ({ net }) => net.query === "four.marked-dns.example"),
  deed("a DNS query in pieces", "net.dns", ({ net }) => net.query === "pieces.marked-dns.example"),
  deed("a DNS query by write", "net.dns", ({ net }) => net.query === "written.marked-dns.example"),
  deed("a file opened by io_uring", "process.io_uring", ({ process, op }) => marked("ring")(process) && op === "openat"),
  {
    what: "a connection by io_uring, beside one by connect",
    type: "net.connect",
    seenIn: (events) =>
      events.filter(({ type, body }) => type === "net.connect" && "process" in body && body.process && marked("ring")(body.process))
        .length === 2,
  },
  deed("a listening port", "net.listen", ({ process, net }) => marked("serve")(process) && net.ip === "127.0.0.1" && net.port > 0),
  deed(
    "an accepted connection",
    "net.accept",
    ({ process, net }) => marked("serve")(process) && net.srcIp === "127.0.0.1" && net.srcPort > 0,
  ),
  deed("ptrace", "process.ptrace", ({ process, request }) => marked("ptrace")(process) && request === "PTRACE_ATTACH"),
  deed(
    "memory written from outside",
    "process.ptrace",
    ({ process, request }) => marked("inject")(process) && request === "process_vm_writev",
  ),
  deed("a file in memory", "process.memfd", ({ process, name }) => marked("fileless")(process) && name === "marked-memory"),
  deed(
    "a program in memory",
    "process.exec",
    ({ process }) => process.exe === "/memfd:marked-memory (deleted)" && same(process.argv, ["harmless"]),
  ),
  deed("setuid", "process.setuid", ({ process, from, to }) => marked("setuid")(process) && from === 0 && to === 65534),
  deed("bpf(2)", "kernel.bpf", ({ process, cmd }) => marked("bpf")(process) && cmd === "BPF_PROG_LOAD"),
  deed("a module refused", "kernel.module", ({ process }) => process !== undefined && marked("module")(process)),
  deed("a module loaded", "kernel.module", ({ process, name }) => name === "dummy" && process?.argv.includes("/modules/dummy.ko") === true),
  deed("a mount", "kernel.mount", ({ source, target, fsType }) =>
    same([source, target, fsType], ["marked-disk", "/tmp/marked-mount", "tmpfs"]),
  ),
];
