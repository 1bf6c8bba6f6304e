// What the kernel tells udev: devices that come and go (lib/kobject_uevent.c).
import { errorText } from "../bpf/libc.ts";
import { Unsupported } from "../unsupported.ts";
import { closeFd, openNetlink, receive } from "./libc.ts";

const NETLINK_KOBJECT_UEVENT = 15;
/** The kernel's own group; udev's is 2. Only root can send to either, so what comes is true as far as root is. */
const KERNEL_GROUP = 1;
const RECEIVE_BYTES = 1 << 20;
/** UEVENT_BUFFER_SIZE is 2048. */
const MESSAGE_BYTES = 8192;
const LOOK_MS = 1000;
/** Taken before anything else in the process gets a turn. */
const TURN_MESSAGES = 1000;
const EINTR = 4;
const EAGAIN = 11;
const ENOBUFS = 105;

export type Uevent = ReadonlyMap<string, string>;

/** The fields of a message; undefined for what is none. */
export function parseUevent(message: Uint8Array): Uevent | undefined {
  const [head = "", ...fields] = Buffer.from(message.buffer, message.byteOffset, message.byteLength).toString("utf8").split("\0");
  if (!/^[a-z]+@\//.test(head)) return undefined;
  return new Map(
    fields.flatMap((field) => {
      const at = field.indexOf("=");
      return at > 0 ? [[field.slice(0, at), field.slice(at + 1)] as const] : [];
    }),
  );
}

/** Tells what comes from now on, at most a second late. `onLost`: the kernel had to let some go. Throws `Unsupported`. */
export function listenToUevents(of: {
  readonly onEvent: (event: Uevent) => void;
  readonly onLost: () => void;
  readonly everyMs?: number;
}): Disposable {
  const fd = openNetlink(NETLINK_KOBJECT_UEVENT, KERNEL_GROUP, RECEIVE_BYTES);
  if (fd < 0) throw new Unsupported(`the kernel's device events cannot be listened to: ${errorText(fd)}`, "run as root");
  const buffer = new Uint8Array(MESSAGE_BYTES);
  const look = () => {
    for (let left = TURN_MESSAGES; left > 0; left--) {
      const length = receive(fd, buffer);
      if (length === -EAGAIN) return;
      if (length === -ENOBUFS) of.onLost();
      else if (length < 0 && length !== -EINTR) return;
      const event = length > 0 ? parseUevent(buffer.subarray(0, length)) : undefined;
      if (event) of.onEvent(event);
    }
  };
  const timer = setInterval(look, of.everyMs ?? LOOK_MS);
  return {
    [Symbol.dispose]: () => {
      clearInterval(timer);
      look();
      closeFd(fd);
    },
  };
}
