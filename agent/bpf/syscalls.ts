// Numbers of the system calls that the kernel side looks at, from <asm/unistd.h>.

const x64 = {
  ...{
    write: 1,
    open: 2,
    writev: 20,
    socket: 41,
    connect: 42,
    accept: 43,
    sendto: 44,
    sendmsg: 46,
    bind: 49,
    listen: 50,
    execve: 59,
    exit: 60,
    fcntl: 72,
  },
  ...{ chdir: 80, fchdir: 81, rename: 82, creat: 85, link: 86, unlink: 87, symlink: 88, chmod: 90, fchmod: 91, ptrace: 101, setuid: 105 },
  ...{ setreuid: 113, setresuid: 117, mount: 165, init_module: 175, exit_group: 231, openat: 257, unlinkat: 263, renameat: 264 },
  ...{ linkat: 265, symlinkat: 266, fchmodat: 268, accept4: 288, sendmmsg: 307, process_vm_writev: 311, finit_module: 313 },
  ...{ renameat2: 316, memfd_create: 319, bpf: 321, execveat: 322, move_mount: 429, fsopen: 430, fsconfig: 431, openat2: 437 },
  ...{ io_uring_setup: 425, fchmodat2: 452 },
} as const;

const arm64 = {
  ...{ fcntl: 25, unlinkat: 35, symlinkat: 36, linkat: 37, renameat: 38, mount: 40, chdir: 49, fchdir: 50, fchmod: 52, fchmodat: 53 },
  ...{
    openat: 56,
    write: 64,
    writev: 66,
    exit: 93,
    exit_group: 94,
    init_module: 105,
    ptrace: 117,
    setreuid: 145,
    setuid: 146,
    setresuid: 147,
    socket: 198,
  },
  ...{ bind: 200, listen: 201, accept: 202, connect: 203, sendto: 206, sendmsg: 211, execve: 221, accept4: 242, sendmmsg: 269 },
  ...{ process_vm_writev: 271, finit_module: 273, renameat2: 276, memfd_create: 279, bpf: 280, execveat: 281, move_mount: 429 },
  ...{ io_uring_setup: 425, fsopen: 430, fsconfig: 431, openat2: 437, fchmodat2: 452 },
} as const;

export const syscalls: Readonly<Record<"x64" | "arm64", Readonly<Record<string, number>>>> = { x64, arm64 };

/** The number of the system call behind a tracepoint such as "syscalls/sys_enter_openat"; undefined when this architecture has none. */
export function numberOf(event: string, arch: string = process.arch): number | undefined {
  const [, name = ""] = /^syscalls\/sys_(?:enter|exit)_(\w+)$/.exec(event) ?? [];
  return arch === "x64" || arch === "arm64" ? syscalls[arch][name] : undefined;
}
