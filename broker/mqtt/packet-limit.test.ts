import { expect, test } from "vitest";
import { MAX_CONTROL_BYTES, PacketLimit } from "./packet-limit.ts";

const LIMIT = 1 << 20;
/** MQTT 3.1.1, section 2.2.3. */
function packet(type: number, length: number): Buffer {
  const head = [type << 4];
  let rest = length;
  do {
    head.push((rest % 128) | (rest >= 128 ? 0x80 : 0));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return Buffer.concat([Buffer.from(head), Buffer.alloc(length, 0xff)]);
}
const header = (type: number, length: number) => packet(type, length).subarray(0, -length || undefined);

test.each([
  ["PUBLISH at the limit", 3, LIMIT, undefined],
  ["PUBLISH above it", 3, LIMIT + 1, /announces 1048577 bytes/],
  ["PUBLISH of 127 MB", 3, 127 << 20, /announces/],
  ["CONNECT at its limit", 1, MAX_CONTROL_BYTES, undefined],
  ["CONNECT above it", 1, MAX_CONTROL_BYTES + 1, /packet of type 1/],
  ["SUBSCRIBE above it", 8, MAX_CONTROL_BYTES + 1, /packet of type 8/],
])("%s", (_, type, length, problem) => {
  const found = new PacketLimit(LIMIT, "device").take(header(type, length));
  if (problem) expect(found).toMatch(problem);
  else expect(found).toBeUndefined();
});

test("a length of five bytes is no MQTT", () => {
  expect(new PacketLimit(LIMIT, "device").take(Buffer.from([0x30, 0x80, 0x80, 0x80, 0x80, 1]))).toMatch(/more than four bytes/);
});

test("boundaries are followed however the stream is cut", () => {
  const sizes = [0, 1, 127, 128, 129, 2000, 16_383, 16_384, 70_000];
  const stream = Buffer.concat([...sizes.map((size) => packet(3, size)), packet(12, 0), packet(3, 5), header(3, LIMIT + 1)]);
  for (const step of [1, 2, 3, 7, 1000, stream.length]) {
    const limit = new PacketLimit(LIMIT, "device");
    let problem: string | undefined;
    let at = 0;
    for (; at < stream.length && !problem; at += step) problem = limit.take(stream.subarray(at, at + step));
    // Only the last packet is too large, and it is found by its header: with its last byte.
    expect(problem, `cut every ${step}`).toMatch(/announces 1048577/);
    expect(at).toBeGreaterThanOrEqual(stream.length);
  }
});

test.each([
  ["PINGREQ", packet(12, 0), 200],
  ["SUBSCRIBE with as many filters as fit", packet(8, MAX_CONTROL_BYTES), 3],
  ["UNSUBSCRIBE", packet(10, 8), 200],
  ["PUBACK of a device", packet(4, 2), 2000],
])("a flood of %s ends the connection; as many as are needed do not", (_, one, most) => {
  let nowMs = 0;
  const limit = new PacketLimit(LIMIT, "device", () => nowMs);
  for (let at = 0; at < most; at++) expect(limit.take(one)).toBeUndefined();
  expect(limit.take(Buffer.concat([one, one]))).toMatch(/more packets of type/);
  const usual = new PacketLimit(LIMIT, "device", () => nowMs);
  for (; nowMs < 3_600_000; nowMs += 7000) expect(usual.take(one)).toBeUndefined();
});

test("what a detector acknowledges is the whole log", () => {
  const limit = new PacketLimit(LIMIT, "detector", () => 0);
  expect(limit.take(Buffer.concat(Array.from({ length: 100_000 }, () => packet(4, 2))))).toBeUndefined();
});
