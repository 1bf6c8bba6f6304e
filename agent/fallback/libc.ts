// The calls that the collectors without BPF need and Bun has no API for. Layouts are the kernel's, alike on x86_64 and arm64.
import { dlopen, read, FFIType as T } from "bun:ffi";

const { symbols: libc } = dlopen("libc.so.6", {
  socket: { args: [T.i32, T.i32, T.i32], returns: T.i32 },
  setsockopt: { args: [T.i32, T.i32, T.i32, T.ptr, T.u32], returns: T.i32 },
  bind: { args: [T.i32, T.ptr, T.u32], returns: T.i32 },
  send: { args: [T.i32, T.ptr, T.u64, T.i32], returns: T.i64 },
  recv: { args: [T.i32, T.ptr, T.u64, T.i32], returns: T.i64 },
  read: { args: [T.i32, T.ptr, T.u64], returns: T.i64 },
  open: { args: [T.cstring, T.i32], returns: T.i32 },
  fcntl: { args: [T.i32, T.i32, T.i32], returns: T.i32 },
  close: { args: [T.i32], returns: T.i32 },
  statfs: { args: [T.cstring, T.ptr], returns: T.i32 },
  fanotify_init: { args: [T.u32, T.u32], returns: T.i32 },
  fanotify_mark: { args: [T.i32, T.u32, T.u64, T.i32, T.cstring], returns: T.i32 },
  open_by_handle_at: { args: [T.i32, T.ptr, T.i32], returns: T.i32 },
  clock_gettime: { args: [T.i32, T.ptr], returns: T.i32 },
  __errno_location: { args: [], returns: T.ptr },
});

const AT_FDCWD = -100;
const O_CLOEXEC = 0o2000000;
const O_NONBLOCK = 0o4000;
const O_PATH = 0o10000000;

const cstr = (text: string) => Buffer.from(`${text}\0`);
const errno = () => read.i32(libc.__errno_location()!, 0);
const orErrno = (result: number | bigint) => (Number(result) >= 0 ? Number(result) : -errno());

export const closeFd = (fd: number) => void libc.close(fd);

const F_DUPFD_CLOEXEC = 1030;
/** A second descriptor of the same thing; or a negative errno. */
export const duplicate = (fd: number) => orErrno(libc.fcntl(fd, F_DUPFD_CLOEXEC, 0));

const AF_NETLINK = 16;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;

/** A netlink socket that does not block, member of these groups (netlink(7)). Returns an fd, or a negative errno. */
export function openNetlink(protocol: number, groups: number, receiveBytes: number): number {
  const fd = orErrno(libc.socket(AF_NETLINK, SOCK_DGRAM | O_CLOEXEC | O_NONBLOCK, protocol));
  if (fd < 0) return fd;
  const size = Buffer.alloc(4);
  size.writeInt32LE(receiveBytes);
  libc.setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, size, size.length);
  const address = Buffer.alloc(12);
  address.writeUInt16LE(AF_NETLINK, 0);
  address.writeUInt32LE(groups, 8);
  const error = orErrno(libc.bind(fd, address, address.length));
  if (error === 0) return fd;
  closeFd(fd);
  return error;
}

/** 0, or a negative errno. */
export const sendTo = (fd: number, message: Uint8Array) => Math.min(0, orErrno(libc.send(fd, message, message.length, 0)));
/** Bytes received into `into`, or a negative errno. */
export const receive = (fd: number, into: Uint8Array) => orErrno(libc.recv(fd, into, into.length, 0));
/** Bytes read into `into`, or a negative errno. */
export const readInto = (fd: number, into: Uint8Array) => orErrno(libc.read(fd, into, into.length));

const CLOCK_MONOTONIC = 1;
const CLOCK_BOOTTIME = 7;

/** Nanoseconds the machine has slept: what boot time is ahead of the monotonic clock. */
export function sleptNs(): bigint {
  const at = (clock: number) => {
    const timespec = new BigInt64Array(2);
    libc.clock_gettime(clock, timespec);
    return timespec[0]! * 1_000_000_000n + timespec[1]!;
  };
  const monotonic = at(CLOCK_MONOTONIC);
  return at(CLOCK_BOOTTIME) - monotonic;
}

const FAN_CLOEXEC = 1;
const FAN_NONBLOCK = 2;
const FAN_REPORT_DFID_NAME = 0xc00;

/** A fanotify group that names what happened by directory and name (fanotify(7), Linux 5.9). Returns an fd, or a negative errno. */
export const openFanotify = () => orErrno(libc.fanotify_init(FAN_CLOEXEC | FAN_NONBLOCK | FAN_REPORT_DFID_NAME, O_CLOEXEC));

const FAN_MARK_ADD = 1;
const FAN_MARK_FILESYSTEM = 0x100;

/** Asks for events of one file or directory. 0, or a negative errno. */
export const markInode = (group: number, mask: number, path: string) =>
  orErrno(libc.fanotify_mark(group, FAN_MARK_ADD, BigInt(mask), AT_FDCWD, cstr(path)));
/** Asks for events of the whole file system that holds `path`. 0, or a negative errno. */
export const markFilesystem = (group: number, mask: number, path: string) =>
  orErrno(libc.fanotify_mark(group, FAN_MARK_ADD | FAN_MARK_FILESYSTEM, BigInt(mask), AT_FDCWD, cstr(path)));

/** The id that the kernel gives the file system holding `path` (statfs(2)), in hexadecimal; undefined when there is no such path. */
export function filesystemId(path: string): string | undefined {
  const buffer = Buffer.alloc(256);
  return libc.statfs(cstr(path), buffer) === 0 ? buffer.toString("hex", 56, 64) : undefined;
}

/** A descriptor of a directory, by which handles of its file system can be opened; or a negative errno. */
export const openDirectory = (path: string) => orErrno(libc.open(cstr(path), O_CLOEXEC));
/** A descriptor that only names what a file handle (struct file_handle) stands for; or a negative errno. Needs CAP_DAC_READ_SEARCH. */
export const openHandle = (directory: number, handle: Uint8Array) => orErrno(libc.open_by_handle_at(directory, handle, O_PATH | O_CLOEXEC));
