// Which programs make up which collector, and what is missing without each.

export type CollectorName = "process-tree" | "exec" | "exit" | "file" | "net" | "dns" | "privilege" | "io_uring" | "kernel";

export type Part = {
  readonly collector: CollectorName;
  /** What the collector cannot do without this program. `true`: nothing works. `false`: nothing is missing, it is only cheaper or more exact with it. */
  readonly without: true | false | string;
  /** Another program for the same, on other kernels: one of both is enough. */
  readonly or?: string;
};

const x64 = process.arch === "x64";
const all = (collector: CollectorName, without: Part["without"], names: readonly string[]) =>
  Object.fromEntries(names.map((name) => [name, { collector, without }])) as Record<string, Part>;

const both = (names: readonly string[]) => names.flatMap((name) => [`enter_${name}`, `exit_${name}`]);

/** Every program of the object, by name. A test compares this with the object. */
export const programs: Readonly<Record<string, Part>> = {
  ...all("process-tree", false, ["raw_enter", "raw_exit"]), // only where single system calls have no tracepoints
  ...all("process-tree", true, ["task_newtask"]),
  ...all("process-tree", "working directories come from /proc only", both(["chdir", "fchdir"])),
  ...all("exec", true, ["process_exec"]),
  ...all("exec", "arguments come from /proc, where the process still runs", ["enter_execve", "enter_execveat"]),
  ...all("exec", false, ["prepare_exec"]), // Linux 6.10; before it, user space reads the script's first line
  ...all("exit", true, ["process_exit"]),
  ...all("exit", "exit status is unknown", ["enter_exit_group", "enter_exit"]),
  ...all("exit", "the signal that ended a process is unknown", ["signal_generate", "signal_deliver"]),
  ...all("file", true, both(["openat"])),
  ...all("file", "paths below a duplicated directory descriptor may stay unresolved", both(["fcntl"])),
  ...all("file", "openat2 is not seen", both(["openat2"])),
  ...all("file", "deletions are not seen", both(["unlinkat"])),
  ...all("file", "renames are not seen", both(["renameat2", "renameat"])),
  ...all("file", "links are not seen", both(["linkat", "symlinkat"])),
  ...all("file", "changed modes are not seen", both(["fchmodat", "fchmod"])),
  ...all("file", false, both(["fchmodat2"])), // Linux 6.6
  // System calls that only x86_64 has.
  ...all(
    "file",
    x64 && "old system calls (open, creat, unlink, rename, link, symlink, chmod) are not seen",
    both(["open", "creat", "unlink", "rename", "link", "symlink", "chmod"]),
  ),
  ...all("net", true, ["enter_connect"]),
  ...all("net", "datagram sockets are reported as tcp", both(["socket"])),
  ...all("net", "listening sockets are not seen", both(["listen"])),
  ...all("net", "addresses of listening sockets come from /proc only", both(["bind"])),
  ...all("net", "accepted connections are not seen", both(["accept", "accept4"])),
  ...all("dns", "queries sent with sendto are not seen", ["enter_sendto"]),
  ...all("net", "connections made otherwise than by connect (io_uring, 32-bit programs, TCP Fast Open) are not seen", ["sock_set_state"]),
  ...all("dns", "queries sent with sendmsg are not seen", ["enter_sendmsg", "enter_sendmmsg"]),
  ...all("dns", "queries sent with write, as Go programs do, are not seen", ["enter_write", "enter_writev"]),
  ...all("privilege", "ptrace is not seen", ["enter_ptrace"]),
  ...all("privilege", "writing into other processes is not seen", ["enter_process_vm_writev"]),
  ...all("privilege", "memory files are not seen", both(["memfd_create"])),
  ...all("privilege", "changes of user are not seen", both(["setuid", "setreuid", "setresuid"])),
  ...all("io_uring", "rings that are made are not seen", both(["io_uring_setup"])),
  uring_submit_req: { collector: "io_uring", without: "what rings are asked for is not seen", or: "uring_submit_sqe" }, // Linux 6.3
  uring_submit_sqe: { collector: "io_uring", without: "what rings are asked for is not seen", or: "uring_submit_req" },
  ...all("kernel", "loading of modules is not seen", both(["init_module", "finit_module"])),
  ...all("kernel", false, ["module_load"]), // without it, a module has its file's name
  ...all("kernel", "bpf(2) is not seen", ["enter_bpf"]),
  ...all("kernel", "mounts are not seen", both(["mount"])),
  ...all("kernel", "mounts by move_mount are not seen", ["enter_fsopen", "enter_fsconfig", ...both(["move_mount"])]),
};

/** Tracepoint fields each program needs, as [config key, field, required]. */
export const fields: Readonly<Record<string, readonly (readonly [key: string, field: string, required: boolean])[]>> = {
  process_exec: [
    ["execFilename", "filename", true],
    ["execOldPid", "old_pid", true],
  ],
  prepare_exec: [
    ["prepareInterp", "interp", true],
    ["prepareFilename", "filename", true],
  ],
  task_newtask: [
    ["newtaskPid", "pid", true],
    ["newtaskFlags", "clone_flags", true],
  ],
  process_exit: [["exitGroupDead", "group_dead", false]], // Linux 6.16
  signal_generate: [
    ["generateSig", "sig", true],
    ["generatePid", "pid", true],
    ["generateResult", "result", true],
  ],
  module_load: [["moduleName", "name", true]],
  uring_submit_req: [["uringReqOpcode", "opcode", true]],
  uring_submit_sqe: [["uringSqeOpcode", "opcode", true]],
  sock_set_state: [
    ["stateNew", "newstate", true],
    ["stateFamily", "family", true],
    ["statePort", "dport", true],
    ["stateV4", "daddr", true],
    ["stateV6", "daddr_v6", false], // a kernel without IPv6
  ],
  signal_deliver: [
    ["deliverSig", "sig", true],
    ["deliverHandler", "sa_handler", true],
  ],
};

/** Begins the failure of a program for a system call that this kernel was built without. */
export const NO_SUCH_CALL = "this kernel has no system call";

export type Health = { readonly level: "live" | "degraded" | "off"; readonly why: string; readonly todo?: string };

const todoForSyscalls =
  "update the kernel: Raspberry Pi OS has the syscalls tracepoints (CONFIG_FTRACE_SYSCALLS) since April 2025 (apt full-upgrade, then reboot)";

const brings: Readonly<Record<CollectorName, string>> = {
  "process-tree": "who started whom, where and in which container",
  exec: "programs and their arguments",
  exit: "how programs end",
  file: "files below watched paths",
  net: "connections, made and accepted, and listening ports",
  dns: "names that are looked up in clear text",
  privilege: "ptrace, memory files, changes of user",
  io_uring: "who makes rings of requests and what for, not which files",
  kernel: "modules, bpf(2), mounts",
};

/** A collector's health from what became of its programs: undefined for one that runs, else why it does not. */
export function healthOf(collector: CollectorName, failures: ReadonlyMap<string, string>, attached = "attached"): Health {
  const lacks = new Map<string, string>();
  let running = 0;
  for (const [program, part] of Object.entries(programs)) {
    const failure = failures.get(program);
    if (part.collector !== collector || part.without === false) continue;
    if (failure === undefined || failure.startsWith(NO_SUCH_CALL) || (part.or !== undefined && !failures.has(part.or))) {
      running++;
      continue;
    }
    if (part.without === true) return { level: "off", why: `${program}: ${failure}`, ...todoOf(failure) };
    if (!lacks.has(part.without)) lacks.set(part.without, failure);
  }
  if (lacks.size === 0) return { level: "live", why: `${brings[collector]} (${attached})` };
  const why = [...lacks].map(([effect, failure]) => `${effect} (${failure})`).join("; ");
  return { level: running === 0 ? "off" : "degraded", why: why.slice(0, 512), ...todoOf(why) };
}

const todoOf = (failure: string) => (failure.includes("no tracepoint syscalls/") ? { todo: todoForSyscalls } : {});
export const collectorNames: readonly CollectorName[] = [
  "process-tree",
  "exec",
  "exit",
  "file",
  "net",
  "dns",
  "privilege",
  "io_uring",
  "kernel",
];
