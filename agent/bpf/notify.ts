// sd_notify(3): a datagram to the service manager. Neither Bun nor Node sends datagrams over Unix sockets.
import { dlopen, FFIType as T } from "bun:ffi";

const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** sockaddr_un(7): two bytes of family, 108 of path. */
const MAX_PATH = 108;

/**
 * Opens the way to the socket that NOTIFY_SOCKET names, a path or with "@" an abstract name (unix(7)); undefined where it cannot be one. `send` never
 * waits and never throws: false when nothing took it.
 */
export function openNotify(name: string): { send(text: string): boolean } | undefined {
  const path = Buffer.from(name);
  if ((path[0] !== 0x2f && path[0] !== 0x40) || path.length >= MAX_PATH) return undefined;
  const { symbols: libc } = dlopen("libc.so.6", {
    socket: { args: [T.i32, T.i32, T.i32], returns: T.i32 },
    sendto: { args: [T.i32, T.ptr, T.u64, T.i32, T.ptr, T.u32], returns: T.i64 },
  });
  const fd = libc.socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return undefined;
  const address = Buffer.alloc(2 + path.length);
  address.writeUInt16LE(AF_UNIX, 0);
  path.copy(address, 2);
  if (path[0] === 0x40) address[2] = 0;
  return {
    send: (text) => {
      const bytes = Buffer.from(text);
      return Number(libc.sendto(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL, address, address.length)) === bytes.length;
    },
  };
}
