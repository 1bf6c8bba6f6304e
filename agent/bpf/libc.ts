// The calls into the C library that Bun has no API for. glibc on both architectures; syscall(2) numbers are the kernel's.
import { dlopen, type Pointer, read, FFIType as T } from "bun:ffi";

const { symbols: libc } = dlopen("libc.so.6", {
  mmap: { args: [T.ptr, T.u64, T.i32, T.i32, T.i32, T.i64], returns: T.i64 },
  munmap: { args: [T.i64, T.u64], returns: T.i32 },
  madvise: { args: [T.i64, T.u64, T.i32], returns: T.i32 },
  mount: { args: [T.cstring, T.cstring, T.cstring, T.u64, T.ptr], returns: T.i32 },
  umount2: { args: [T.cstring, T.i32], returns: T.i32 },
  close: { args: [T.i32], returns: T.i32 },
  getpagesize: { args: [], returns: T.i32 },
  clock_gettime: { args: [T.i32, T.ptr], returns: T.i32 },
  syscall: { args: [T.i64, T.ptr, T.i64, T.i64, T.i64, T.i64], returns: T.i64 },
  __errno_location: { args: [], returns: T.ptr },
  strerror: { args: [T.i32], returns: T.cstring },
});

/** NUL-terminated UTF-8 for a C function. */
export const cstr = (text: string) => Buffer.from(`${text}\0`);

/** errno(3) of the call just made. */
export const errno = () => read.i32(libc.__errno_location()!, 0);

/** What an errno value means, in words. */
export const errorText = (code: number) => `${libc.strerror(Math.abs(code))} (errno ${Math.abs(code)})`;

/** Bytes in a page: 4096 on most boards, 16384 on a Raspberry Pi 5. */
export const pageSize = () => libc.getpagesize();

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;

/** Maps part of `fd`. Throws with the reason. Unmapping while somebody still reads the memory ends the process: see `Ring`. */
export function mapMemory(fd: number, offset: number, length: number, writable: boolean): Pointer {
  const address = libc.mmap(null, length, writable ? PROT_READ | PROT_WRITE : PROT_READ, MAP_SHARED, fd, offset);
  if (Number(address) === -1) throw new Error(`mmap of ${length} bytes: ${errorText(errno())}`);
  return Number(address) as Pointer;
}

export const unmapMemory = (address: Pointer, length: number) => void libc.munmap(address, length);

const MADV_DONTNEED = 4;
/** Gives pages back until they are touched again (madvise(2)). Only for pages of a file that nobody changed: what was written to others would be lost. */
export const forgetPages = (address: number, length: number) => void libc.madvise(address, length, MADV_DONTNEED);
export const closeFd = (fd: number) => void libc.close(fd);

/** Mounts a file system without a device (mount(2)). Returns 0 or an errno value. */
export const mountAt = (type: string, at: string) => (libc.mount(cstr("none"), cstr(at), cstr(type), 0, null) === 0 ? 0 : errno());

const MNT_DETACH = 2;
export const unmount = (at: string) => void libc.umount2(cstr(at), MNT_DETACH);

const CLOCK_MONOTONIC = 1;
const CLOCK_BOOTTIME = 7;
const timespec = new BigInt64Array(2);

function nowNs(clock: number): bigint {
  libc.clock_gettime(clock, timespec);
  return timespec[0]! * 1_000_000_000n + timespec[1]!;
}

/** Nanoseconds since boot, suspended time included (clock_gettime(2)). */
export const bootNowNs = () => nowNs(CLOCK_BOOTTIME);

/** Nanoseconds that this host was suspended since boot, some microseconds more at times, for two clocks are asked one after the other. */
export function asleepNs(): bigint {
  const awake = nowNs(CLOCK_MONOTONIC);
  return bootNowNs() - awake;
}

const perfEventOpenNumber = process.arch === "arm64" ? 241 : 298;
const PERF_TYPE_SOFTWARE = 1;
const PERF_TYPE_TRACEPOINT = 2;
const PERF_COUNT_SW_BPF_OUTPUT = 10n;
const PERF_SAMPLE_RAW = 1n << 10n;
const PERF_WATERMARK = 1n << 14n;
const PERF_FLAG_FD_CLOEXEC = 8;
const PERF_ATTR_SIZE_VER0 = 64;

function openPerf(type: number, config: bigint, cpu: number, fill: (attr: Buffer) => void = () => {}): number {
  const attr = Buffer.alloc(PERF_ATTR_SIZE_VER0);
  attr.writeUInt32LE(type, 0);
  attr.writeUInt32LE(attr.length, 4);
  attr.writeBigUInt64LE(config, 8);
  fill(attr);
  const fd = Number(libc.syscall(perfEventOpenNumber, attr, -1, cpu, -1, PERF_FLAG_FD_CLOEXEC));
  return fd >= 0 ? fd : -errno();
}

/** A perf event for the tracepoint with this tracefs id (perf_event_open(2)). Programs attached to it run on every CPU. Returns an fd, or a negative errno. */
export const openTracepoint = (id: number): number => openPerf(PERF_TYPE_TRACEPOINT, BigInt(id), 0);

/** A perf event for what BPF programs on this CPU hand out. Its buffer wakes somebody only after `bytes`. Returns an fd, or a negative errno. */
export const openOutput = (cpu: number, bytes: number): number =>
  openPerf(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_BPF_OUTPUT, cpu, (attr) => {
    attr.writeBigUInt64LE(1n, 16); // sample_period
    attr.writeBigUInt64LE(PERF_SAMPLE_RAW, 24);
    attr.writeBigUInt64LE(PERF_WATERMARK, 40);
    attr.writeUInt32LE(bytes, 48); // wakeup_watermark
  });
