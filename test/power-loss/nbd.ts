// A network block device for one machine at a time: https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md (fixed newstyle, simple replies).
import { createServer, type Socket } from "node:net";
import { type Cut, type Disk, SECTOR } from "./disk.ts";

const MAGIC = 0x4e42444d41474943n; // "NBDMAGIC"
const OPTION_MAGIC = 0x49484156454f5054n; // "IHAVEOPT"
const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
const REQUEST_MAGIC = 0x25609513;
const REPLY_MAGIC = 0x67446698;

const FIXED_NEWSTYLE = 1;
const NO_ZEROES = 2;
const option = { exportName: 1, abort: 2, info: 6, go: 7 } as const;
const reply = { ack: 1, info: 3, unsupported: 0x80000001, invalid: 0x80000003 } as const;
const info = { export: 0, blockSize: 3 } as const;
/** HAS_FLAGS, SEND_FLUSH, SEND_FUA, SEND_TRIM. */
const EXPORT_FLAGS = 1 | 4 | 8 | 32;
const command = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4 } as const;
const FUA = 1;
const EINVAL = 22;
const PREFERRED_BLOCK = 4096;
const MAX_BYTES = 32 << 20;
const MAX_OPTION_BYTES = 4096;

export type DiskServer = AsyncDisposable & {
  /** The power fails: all connections are dead from here on, whatever they still had to say, and what was not flushed is lost as `random` says. */
  cut(random: () => number): Cut;
  /** The power fails with the write that leaves so many unflushed, or after `withinMs`. */
  cutAt(unflushed: number, withinMs: number, random: () => number): Promise<Cut>;
};

/** Serves `disk` at the Unix socket `path`. What a client gets wrong ends its connection. */
export async function serveDisk(disk: Disk, path: string): Promise<DiskServer> {
  const sockets = new Set<Socket>();
  let written = () => {};
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    // Whoever was killed resets.
    socket.on("error", () => socket.destroy());
    const end = () => socket.destroy();
    talk(disk, socket, () => written()).then(end, end);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(path, resolve);
  });
  const disconnect = () => {
    for (const socket of sockets) socket.destroy();
  };
  const cut = (random: () => number) => {
    disconnect();
    return disk.cut(random);
  };
  return {
    cut,
    cutAt: (unflushed, withinMs, random) =>
      new Promise((resolve) => {
        const fail = () => {
          clearTimeout(timer);
          written = () => {};
          resolve(cut(random));
        };
        const timer = setTimeout(fail, withinMs);
        written = () => {
          if (disk.unflushed() >= unflushed) fail();
        };
      }),
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      disconnect();
      await closed;
    },
  };
}

async function talk(disk: Disk, socket: Socket, written: () => void): Promise<void> {
  const take = reader(socket);
  if (await shakeHands(disk, socket, take)) while (await answer(disk, socket, take)) written();
}

type Take = (length: number) => Promise<Buffer>;

/** Gives out what arrives in pieces of any length. Rejects when the connection is over, also for what had arrived before. */
function reader(socket: Socket): Take {
  const chunks = socket[Symbol.asyncIterator]();
  let rest: Buffer = Buffer.alloc(0);
  return async (length) => {
    const parts = [rest];
    let have = rest.length;
    while (have < length) {
      const { done, value } = await chunks.next();
      if (done) throw new Error("the connection is over");
      parts.push(value);
      have += value.length;
    }
    if (socket.destroyed) throw new Error("the connection is over");
    const all = parts.length === 1 ? rest : Buffer.concat(parts, have);
    rest = all.subarray(length);
    return all.subarray(0, length);
  };
}

/** Whether the client wants to go on to requests. */
async function shakeHands(disk: Disk, socket: Socket, take: Take): Promise<boolean> {
  const hello = Buffer.alloc(18);
  hello.writeBigUInt64BE(MAGIC, 0);
  hello.writeBigUInt64BE(OPTION_MAGIC, 8);
  hello.writeUInt16BE(FIXED_NEWSTYLE | NO_ZEROES, 16);
  socket.write(hello);
  const flags = (await take(4)).readUInt32BE();
  for (;;) {
    const head = await take(16);
    const wanted = head.readUInt32BE(8);
    const length = head.readUInt32BE(12);
    if (head.readBigUInt64BE() !== OPTION_MAGIC || length > MAX_OPTION_BYTES) return false;
    const data = await take(length);
    const say = (type: number, payload: Buffer = Buffer.alloc(0)) => socket.write(optionReply(wanted, type, payload));
    if (wanted === option.exportName) {
      const padding = (flags & NO_ZEROES) === 0 ? 124 : 0;
      socket.write(Buffer.concat([exportOf(disk), Buffer.alloc(padding)]));
      return true;
    }
    if (wanted === option.abort) {
      say(reply.ack);
      return false;
    }
    // The name of the export does not matter: there is one.
    if (wanted !== option.info && wanted !== option.go) say(reply.unsupported);
    else if (length < 6 || length < 6 + data.readUInt32BE()) say(reply.invalid);
    else {
      say(reply.info, Buffer.concat([uint16(info.export), exportOf(disk)]));
      say(reply.info, Buffer.concat([uint16(info.blockSize), ...[SECTOR, PREFERRED_BLOCK, MAX_BYTES].map(uint32)]));
      say(reply.ack);
      if (wanted === option.go) return true;
    }
  }
}

function optionReply(wanted: number, type: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(20);
  head.writeBigUInt64BE(OPTION_REPLY_MAGIC, 0);
  head.writeUInt32BE(wanted, 8);
  head.writeUInt32BE(type, 12);
  head.writeUInt32BE(payload.length, 16);
  return Buffer.concat([head, payload]);
}

function exportOf(disk: Disk): Buffer {
  const bytes = Buffer.alloc(10);
  bytes.writeBigUInt64BE(BigInt(disk.sizeBytes), 0);
  bytes.writeUInt16BE(EXPORT_FLAGS, 8);
  return bytes;
}

function uint16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Does one request. False when it was the last. */
async function answer(disk: Disk, socket: Socket, take: Take): Promise<boolean> {
  const head = await take(28);
  if (head.readUInt32BE() !== REQUEST_MAGIC) return false;
  const sure = (head.readUInt16BE(4) & FUA) !== 0;
  const type = head.readUInt16BE(6);
  const handle = Buffer.from(head.subarray(8, 16));
  const offset = Number(head.readBigUInt64BE(16));
  const length = head.readUInt32BE(24);
  const hasRange = type === command.read || type === command.write || type === command.trim;
  if (hasRange && type !== command.trim && length > MAX_BYTES) return false;
  const bytes = type === command.write ? Buffer.from(await take(length)) : undefined;
  const done = (error: number, data?: Uint8Array) => {
    const reply = Buffer.alloc(16);
    reply.writeUInt32BE(REPLY_MAGIC, 0);
    reply.writeUInt32BE(error, 4);
    handle.copy(reply, 8);
    socket.write(reply);
    if (data) socket.write(data);
    return true;
  };
  if (type === command.disconnect) return false;
  const isWhole = offset % SECTOR === 0 && length % SECTOR === 0 && offset + length <= disk.sizeBytes;
  if (hasRange && !isWhole) return done(EINVAL);
  if (type === command.read) return done(0, disk.read(offset, length));
  if (bytes) disk.write(offset, bytes, sure);
  // What is trimmed may read as anything: zeros are the least like what was there.
  else if (type === command.trim)
    for (let at = 0; at < length; at += MAX_BYTES) disk.write(offset + at, new Uint8Array(Math.min(MAX_BYTES, length - at)), sure);
  else if (type === command.flush) disk.flush();
  else return done(EINVAL);
  return done(0);
}
