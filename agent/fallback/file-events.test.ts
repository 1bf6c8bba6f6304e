import { expect, test } from "vitest";
import { fan, parseFanEvents } from "./file-events.ts";

const DFID_NAME = 2;
const OLD = 10;
const NEW = 12;

function place(type: number, name: string | Uint8Array, handle = [1, 2, 3, 4]): Buffer {
  const text = typeof name === "string" ? Buffer.from(`${name}\0`) : Buffer.from(name);
  const bytes = Buffer.alloc((20 + handle.length + text.length + 3) & ~3);
  bytes.writeUInt8(type, 0);
  bytes.writeUInt16LE(bytes.length, 2);
  bytes.write("aabbccdd11223344", 4, "hex");
  bytes.writeUInt32LE(handle.length, 12);
  bytes.writeInt32LE(1, 16);
  bytes.set(handle, 20);
  bytes.set(text, 20 + handle.length);
  return bytes;
}

function event(mask: number, pid: number, ...places: Buffer[]): Buffer {
  const head = Buffer.alloc(24);
  head.writeUInt32LE(24 + places.reduce((sum, { length }) => sum + length, 0), 0);
  head.writeUInt16LE(24, 6);
  head.writeBigUInt64LE(BigInt(mask), 8);
  head.writeInt32LE(-1, 16);
  head.writeInt32LE(pid, 20);
  return Buffer.concat([head, ...places]);
}

test("an event: who did what to which name in which folder", () => {
  const [only] = parseFanEvents(event(fan.create | fan.closeWrite, 42, place(DFID_NAME, "new")));
  expect(only).toMatchObject({ mask: 0x108, pid: 42, place: { filesystem: "aabbccdd11223344", name: "new" }, to: undefined });
  // struct file_handle as open_by_handle_at(2) takes it.
  expect([...only!.place!.handle]).toEqual([4, 0, 0, 0, 1, 0, 0, 0, 1, 2, 3, 4]);
});

test("a rename has two names; several events in one read; one that only says that others are lost", () => {
  const bytes = Buffer.concat([
    event(fan.rename, 1, place(OLD, "a"), place(NEW, "b")),
    event(fan.overflow, 0),
    event(fan.delete, 2, place(DFID_NAME, "c")),
  ]);
  expect(parseFanEvents(bytes).map(({ place, to }) => [place?.name, to?.name])).toEqual([
    ["a", "b"],
    [undefined, undefined],
    ["c", undefined],
  ]);
});

test("a name is any bytes", () => {
  const [only] = parseFanEvents(event(fan.create, 1, place(DFID_NAME, new Uint8Array([0xff, 0x0a, 0x41, 0]))));
  expect(only?.place?.name).toBe("\ufffd\nA");
});

test("lengths that lie end the reading, and point at nothing outside", () => {
  const whole = event(fan.create, 1, place(DFID_NAME, "ok"));
  for (const length of [0, 23, whole.length + 1, 0xffffffff]) {
    const bad = Buffer.from(whole);
    bad.writeUInt32LE(length, 0);
    expect(parseFanEvents(bad)).toEqual([]);
  }
  for (const size of [0, 19, 0xffff]) {
    const bad = Buffer.from(whole);
    bad.writeUInt16LE(size, 26);
    expect(parseFanEvents(bad)).toMatchObject([{ place: undefined }]);
  }
  const longHandle = Buffer.from(whole);
  longHandle.writeUInt32LE(0xffffffff, 36);
  expect(parseFanEvents(longHandle)).toMatchObject([{ place: { name: "" } }]);
  expect(parseFanEvents(whole.subarray(0, 30))).toEqual([]);
});
