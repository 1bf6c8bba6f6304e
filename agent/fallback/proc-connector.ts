// Starts, programs and ends of processes from the kernel's proc connector (linux/cn_proc.h, linux/connector.h), which CAP_NET_ADMIN may listen to.
import { errorText } from "../bpf/libc.ts";
import { Unsupported } from "../unsupported.ts";
import { closeFd, duplicate, openNetlink, receive, sendTo, sleptNs } from "./libc.ts";

export type Change =
  | { readonly kind: "fork"; readonly pid: number; readonly parent: number; readonly bootNs: bigint }
  | { readonly kind: "exec"; readonly pid: number; readonly bootNs: bigint }
  | { readonly kind: "uid"; readonly pid: number; readonly uid: number }
  /** The end of a thread; of the process, when no other runs. `status` as wait(2) gives it. */
  | { readonly kind: "exit"; readonly pid: number; readonly tid: number; readonly status: number; readonly bootNs: bigint };

type Message = { readonly cpu: number; readonly seq: number; readonly what: number; readonly change: Change | undefined };

const NETLINK_CONNECTOR = 11;
const NLMSG_DONE = 3;
const CN_PROC = 1;
const LISTEN = 1;
const EPERM = 1;

// struct nlmsghdr, struct cn_msg, struct proc_event.
const at = { length: 0, seq: 24, what: 36, cpu: 40, timeNs: 44, body: 52 } as const;
const event = { none: 0, fork: 1, exec: 2, uid: 4, exit: 0x80000000 } as const;
const SMALLEST = 76;

/** What one read of the socket brought: whole messages, one or more. */
export function parseMessages(bytes: Uint8Array, asleepNs: bigint): Message[] {
  const messages: Message[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let offset = 0; offset + SMALLEST <= bytes.length; ) {
    const length = view.getUint32(offset + at.length, true);
    if (length < SMALLEST || offset + length > bytes.length) break;
    const what = view.getUint32(offset + at.what, true);
    const bootNs = view.getBigUint64(offset + at.timeNs, true) + asleepNs;
    const word = (index: number) => view.getUint32(offset + at.body + index * 4, true);
    messages.push({
      cpu: view.getUint32(offset + at.cpu, true),
      seq: view.getUint32(offset + at.seq, true),
      what,
      change: changeOf(what, word, bootNs),
    });
    offset += (length + 3) & ~3;
  }
  return messages;
}

function changeOf(what: number, word: (index: number) => number, bootNs: bigint): Change | undefined {
  switch (what) {
    case event.fork:
      // A thread has its process' number for its own.
      return word(2) === word(3) ? { kind: "fork", parent: word(1), pid: word(3), bootNs } : undefined;
    case event.exec:
      return { kind: "exec", pid: word(1), bootNs };
    case event.uid:
      return { kind: "uid", pid: word(1), uid: word(2) | 0 };
    case event.exit:
      return { kind: "exit", tid: word(0), pid: word(1), status: word(2), bootNs };
    default:
      return undefined;
  }
}

/** Counts what is missing: each processor numbers its messages. */
export class Sequence {
  readonly #next = new Map<number, number>();

  /** How many messages are missing before this one. */
  take({ cpu, seq, what }: Pick<Message, "cpu" | "seq" | "what">): number {
    if (what === event.none) return 0; // An answer, not numbered with the rest.
    const expected = this.#next.get(cpu);
    this.#next.set(cpu, (seq + 1) >>> 0);
    return expected === undefined ? 0 : (seq - expected) >>> 0;
  }
}

/** Subscribes. Throws `Unsupported` when this kernel has no proc connector, or does not let us. Returns a descriptor. */
function subscribe(receiveBytes: number): number {
  const fd = openNetlink(NETLINK_CONNECTOR, CN_PROC, receiveBytes);
  if (fd < 0) throw refused(fd);
  const message = Buffer.alloc(40);
  message.writeUInt32LE(message.length, 0);
  message.writeUInt16LE(NLMSG_DONE, 4);
  message.writeUInt32LE(CN_PROC, 16);
  message.writeUInt32LE(1, 20); // CN_VAL_PROC
  message.writeUInt16LE(4, 32);
  message.writeUInt32LE(LISTEN, 36);
  const error = sendTo(fd, message) || answer(fd);
  if (error === 0) return fd;
  closeFd(fd);
  throw refused(error);
}

const ENOENT = 2;

/** The kernel answers before send(2) returns; where nobody answers, nobody tells. Events may come first. */
function answer(fd: number): number {
  const buffer = new Uint8Array(4096);
  for (let length = receive(fd, buffer); length > 0; length = receive(fd, buffer)) {
    for (const { what } of parseMessages(buffer.subarray(0, length), 0n)) {
      if (what === event.none) return -new DataView(buffer.buffer).getUint32(at.body, true);
    }
  }
  return -ENOENT;
}

function refused(error: number): Unsupported {
  if (error === -EPERM) return new Unsupported("the proc connector may not be listened to", "run as root, or with CAP_NET_ADMIN");
  return new Unsupported(
    `no proc connector here: ${errorText(error)}`,
    "a kernel with CONFIG_PROC_EVENTS, and the host's own network namespace",
  );
}

/** Tries it, for `picket-agent check`. Throws `Unsupported`. */
export const probeConnector = () => closeFd(subscribe(1 << 16));

export type Connector = Disposable & {
  /** Takes what waits, before the event loop gets to it. */
  poll(): void;
};

/**
 * Tells changes as the kernel makes them, a few at a time. `lost`: messages that did not fit into the socket before these; what they would
 * have told is to be looked up in /proc. `receiveBytes`: what the kernel may hold for us. Throws `Unsupported`.
 */
export function openConnector(receiveBytes: number, onChanges: (changes: readonly Change[], lost: number) => void): Connector {
  const socket = subscribe(receiveBytes);
  const sequence = new Sequence();
  const buffer = new Uint8Array(4096);
  let closed = false;
  let stop = () => {};
  const take = (bytes: Uint8Array) => {
    let lost = 0;
    const changes: Change[] = [];
    for (const message of parseMessages(bytes, sleptNs())) {
      lost += sequence.take(message);
      if (message.change) changes.push(message.change);
    }
    if (changes.length > 0 || lost > 0) onChanges(changes, lost);
  };
  const drain = () => {
    for (let taken = 0; taken < TURN_MESSAGES && !closed; taken++) {
      const length = receive(socket, buffer);
      if (length <= 0) return;
      take(buffer.subarray(0, length));
    }
  };
  const listen = () => {
    // The event loop closes the descriptor it is given.
    const fd = duplicate(socket);
    // The event loop wakes us for each message: programs that end within a millisecond are gone before any timer looks.
    void Bun.connect({
      fd,
      socket: {
        open: (opened: { terminate(): void }) => {
          stop = () => opened.terminate();
          if (closed) stop();
        },
        data: (_opened: unknown, bytes: Uint8Array) => {
          if (!closed) take(bytes);
        },
        close: again,
      },
    } as unknown as Bun.TCPSocketConnectOptions).catch(again);
  };
  // More came at once than the socket holds, and the event loop gives a socket with an error up. What it holds is still to be had.
  const again = () => {
    if (closed) return;
    setTimeout(() => {
      if (closed) return;
      drain();
      listen();
    }, REOPEN_MS);
  };
  listen();
  return {
    poll: drain,
    [Symbol.dispose]() {
      if (closed) return;
      closed = true;
      stop();
      closeFd(socket);
    },
  };
}

const REOPEN_MS = 10;
/** Taken before anything else in the process gets a turn; the event loop takes what remains. */
const TURN_MESSAGES = 5_000;
