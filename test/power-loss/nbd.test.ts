import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { createConnection, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { seeded } from "../../protocol/seeded.ts";
import { type Disk, openDisk, SECTOR } from "./disk.ts";
import { serveDisk } from "./nbd.ts";

const SECTORS = 256;
let dir: string;
let image: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-nbd-"));
  image = join(dir, "image");
  writeFileSync(image, "");
  truncateSync(image, SECTORS * SECTOR);
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const filled = (value: number, sectors = 1) => new Uint8Array(sectors * SECTOR).fill(value);
/** The first byte of each sector, read as another machine would find it. */
const onDisk = (disk: Disk, from: number, sectors: number) =>
  Array.from({ length: sectors }, (_, at) => disk.read((from + at) * SECTOR, SECTOR)[0]);
const keepNone = () => 0;
/** The first draw is how many are kept. */
const keepAll = () => {
  let drawn = 0;
  return () => (drawn++ === 0 ? 0.9 : 0.5);
};

describe("a disk that loses its power", () => {
  test("reads back what was written, flushed or not, and the newest of it", () => {
    using disk = openDisk(image);
    disk.write(SECTOR, filled(1, 3), false);
    disk.write(2 * SECTOR, filled(2), false);
    expect(onDisk(disk, 0, 5)).toEqual([0, 1, 2, 1, 0]);
    disk.flush();
    disk.write(3 * SECTOR, filled(3), false);
    expect(onDisk(disk, 0, 5)).toEqual([0, 1, 2, 3, 0]);
  });

  test("keeps what was flushed and loses what was not", () => {
    using disk = openDisk(image);
    disk.write(0, filled(1), false);
    disk.flush();
    disk.write(0, filled(2), false);
    disk.write(SECTOR, filled(3), false);
    expect(disk.cut(keepNone)).toEqual({ unflushed: 2, lost: 2, torn: 0 });
    expect(onDisk(disk, 0, 2)).toEqual([1, 0]);
    using again = openDisk(image);
    expect(onDisk(again, 0, 2)).toEqual([1, 0]);
  });

  test("may keep a later write and lose an earlier one, and the reverse", () => {
    const seen = new Set<string>();
    const random = seeded(1);
    using disk = openDisk(image);
    for (let round = 0; round < 200; round++) {
      disk.write(0, filled(0, 2), true);
      disk.write(0, filled(1), false);
      disk.write(SECTOR, filled(1), false);
      disk.cut(random);
      seen.add(onDisk(disk, 0, 2).join());
    }
    expect([...seen].toSorted()).toEqual(["0,0", "0,1", "1,0", "1,1"]);
  });

  test("tears a write between two sectors, and only one of all", () => {
    using disk = openDisk(image);
    for (let at = 0; at < 4; at++) disk.write(at * 8 * SECTOR, filled(7, 8), false);
    expect(disk.cut(keepAll())).toEqual({ unflushed: 4, lost: 0, torn: 1 });
    const written = Array.from({ length: 4 }, (_, at) => onDisk(disk, at * 8, 8).filter((value) => value === 7).length);
    expect(written.filter((count) => count === 8)).toHaveLength(3);
    const torn = written.find((count) => count !== 8)!;
    expect(torn).toBeGreaterThan(0);
  });

  test("keeps what was written for sure, on top of what came before it", () => {
    using disk = openDisk(image);
    disk.write(0, filled(1), false);
    disk.write(0, filled(2), true);
    disk.write(SECTOR, filled(3), false);
    expect(disk.cut(keepNone)).toEqual({ unflushed: 2, lost: 2, torn: 0 });
    expect(onDisk(disk, 0, 2)).toEqual([2, 0]);
  });

  test("a copy has all that was written, and leaves the disk as it is", () => {
    using disk = openDisk(image);
    disk.write(0, filled(5), false);
    disk.copy(join(dir, "copy"));
    disk.cut(keepNone);
    using copy = openDisk(join(dir, "copy"));
    expect([onDisk(copy, 0, 1), onDisk(disk, 0, 1)]).toEqual([[5], [0]]);
  });

  test("a disk that lies loses what was flushed", () => {
    using disk = openDisk(image, true);
    disk.write(0, filled(1), false);
    disk.flush();
    expect(onDisk(disk, 0, 1)).toEqual([1]);
    disk.cut(keepNone);
    expect(onDisk(disk, 0, 1)).toEqual([0]);
  });

  test("the same seed loses the same", () => {
    const fate = () => {
      using disk = openDisk(image);
      disk.write(0, filled(0, SECTORS), true);
      for (let at = 0; at < SECTORS; at += 2) disk.write(at * SECTOR, filled(9, 2), false);
      disk.cut(seeded(42));
      return onDisk(disk, 0, SECTORS).join("");
    };
    expect(fate()).toBe(fate());
  });
});

/** A client as the protocol's text has it, byte by byte. */
function client(socket: Socket) {
  const chunks = socket[Symbol.asyncIterator]();
  let rest = Buffer.alloc(0);
  const take = async (length: number) => {
    while (rest.length < length) {
      const { done, value } = await chunks.next();
      if (done) throw new Error("closed");
      rest = Buffer.concat([rest, value]);
    }
    const taken = rest.subarray(0, length);
    rest = rest.subarray(length);
    return taken;
  };
  const hex = (text: string) => socket.write(Buffer.from(text.replaceAll(" ", ""), "hex"));
  const request = async (of: { type: number; flags?: number; offset?: number; length?: number; data?: Uint8Array }) => {
    const head = Buffer.alloc(28);
    head.writeUInt32BE(0x25609513, 0);
    head.writeUInt16BE(of.flags ?? 0, 4);
    head.writeUInt16BE(of.type, 6);
    head.write("handle-8", 8);
    head.writeBigUInt64BE(BigInt(of.offset ?? 0), 16);
    head.writeUInt32BE(of.length ?? of.data?.length ?? 0, 24);
    // In two pieces, as a network may deliver it.
    socket.write(head.subarray(0, 5));
    socket.write(Buffer.concat([head.subarray(5), of.data ?? new Uint8Array(0)]));
    const reply = await take(16);
    expect([reply.readUInt32BE(0), reply.toString("latin1", 8)]).toEqual([0x67446698, "handle-8"]);
    return reply.readUInt32BE(4);
  };
  return { take, hex, request };
}

const OPTION = "49484156454f5054";
const hello = "4e42444d41474943 49484156454f5054 0003".replaceAll(" ", "");

async function connect(): Promise<
  { socket: Socket; disk: Disk; server: Awaited<ReturnType<typeof serveDisk>> } & ReturnType<typeof client>
> {
  const disk = openDisk(image);
  const server = await serveDisk(disk, join(dir, "socket"));
  const socket = createConnection(join(dir, "socket"));
  socket.on("error", () => {});
  const to = client(socket);
  expect((await to.take(18)).toString("hex")).toBe(hello);
  to.hex("00000003");
  return { socket, disk, server, ...to };
}

/** NBD_OPT_GO for the export "", with no wishes. */
const GO = `${OPTION} 00000007 00000006 00000000 0000`;
/** NBD_OPT_EXPORT_NAME for "". */
const EXPORT_NAME = `${OPTION} 00000001 00000000`;
const read = 0;
const write = 1;
const flush = 3;
const trim = 4;

describe("the server", () => {
  test("GO tells size, flags and sectors; what it does not know it refuses and goes on", async () => {
    const { socket, server, disk, hex, take } = await connect();
    hex(`${OPTION} 00000008 00000000`);
    expect((await take(20)).toString("hex")).toBe("0003e889045565a9000000088000000100000000");
    hex(GO);
    const size = (SECTORS * SECTOR).toString(16).padStart(16, "0");
    expect((await take(32)).toString("hex")).toBe(`0003e889045565a900000007000000030000000c0000${size}002d`);
    expect((await take(34)).toString("hex")).toBe("0003e889045565a900000007000000030000000e0003000002000000100002000000");
    expect((await take(20)).toString("hex")).toBe("0003e889045565a9000000070000000100000000");
    socket.destroy();
    await server[Symbol.asyncDispose]();
    disk[Symbol.dispose]();
  });

  test("writes, reads, flushes and trims; a request outside of the disk or its sectors is refused and harms nothing", async () => {
    const { socket, server, disk, hex, take, request } = await connect();
    hex(EXPORT_NAME);
    await take(10);
    expect(await request({ type: write, offset: 2 * SECTOR, data: filled(4, 2) })).toBe(0);
    expect(await request({ type: flush })).toBe(0);
    expect(disk.flushes()).toBe(1);
    expect(await request({ type: trim, offset: 2 * SECTOR, length: SECTOR })).toBe(0);
    expect(await request({ type: read, offset: 2 * SECTOR, length: 2 * SECTOR })).toBe(0);
    expect(await take(2 * SECTOR)).toEqual(Buffer.concat([filled(0), filled(4)]));
    for (const wrong of [
      { type: write, offset: 100, data: filled(9) },
      { type: write, offset: SECTORS * SECTOR, data: filled(9) },
      { type: read, offset: 0, length: 100 },
      { type: 77 },
    ])
      expect(await request(wrong)).toBe(22);
    expect(onDisk(disk, 0, 4)).toEqual([0, 0, 0, 4]);
    socket.destroy();
    await server[Symbol.asyncDispose]();
    disk[Symbol.dispose]();
  });

  test("a cut loses what was not flushed and keeps what was flushed or written for sure; the connection is dead", async () => {
    const { socket, server, disk, hex, take, request } = await connect();
    hex(EXPORT_NAME);
    await take(10);
    await request({ type: write, offset: 0, data: filled(1) });
    await request({ type: flush });
    await request({ type: write, offset: SECTOR, data: filled(2), flags: 1 });
    await request({ type: write, offset: 2 * SECTOR, data: filled(3) });
    const closed = new Promise((resolve) => socket.once("close", resolve));
    expect(server.cut(keepNone)).toEqual({ unflushed: 1, lost: 1, torn: 0 });
    await closed;
    expect(onDisk(disk, 0, 4)).toEqual([1, 2, 0, 0]);
    await server[Symbol.asyncDispose]();
    disk[Symbol.dispose]();
  });

  test("a cut can be asked for in the middle of writing", async () => {
    const { server, disk, hex, take, request } = await connect();
    hex(EXPORT_NAME);
    await take(10);
    const cut = server.cutAt(2, 60_000, keepNone);
    await request({ type: write, offset: 0, data: filled(1) });
    await request({ type: flush });
    await request({ type: write, offset: 0, data: filled(2) });
    await request({ type: write, offset: SECTOR, data: filled(3) });
    expect(await cut).toEqual({ unflushed: 2, lost: 2, torn: 0 });
    await expect(take(1)).rejects.toThrow("closed");
    expect(onDisk(disk, 0, 2)).toEqual([1, 0]);
    await server[Symbol.asyncDispose]();
    disk[Symbol.dispose]();
  });

  test("garbage ends the connection and not the server", async () => {
    const { server, disk, hex, take } = await connect();
    hex("ff".repeat(32));
    await expect(take(1)).rejects.toThrow("closed");
    const again = createConnection(join(dir, "socket"));
    expect((await client(again).take(18)).toString("hex")).toBe(hello);
    again.destroy();
    await server[Symbol.asyncDispose]();
    disk[Symbol.dispose]();
  });
});
