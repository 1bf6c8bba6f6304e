import { expect, test } from "vitest";
import { decodeSample, encodeSample, MAX_CHUNK_BYTES, MAX_SAMPLE_BYTES, SampleWant } from "./samples.ts";
import { topics } from "./topics.ts";

const sha256 = "ab".repeat(32);
const chunk = (change: object, bytes: Uint8Array = Buffer.from("abc")) =>
  encodeSample({ kind: "chunk", sha256, offset: 0, size: 3, ...change } as Parameters<typeof encodeSample>[0], bytes);

test("a chunk crosses unchanged, whatever its bytes", () => {
  const bytes = Buffer.from([0, 10, 255, 10]);
  const header = { kind: "chunk", sha256, offset: 6, size: 10 } as const;
  expect(decodeSample(encodeSample(header, bytes))).toEqual({ header, bytes });
});

test("why there is nothing crosses too", () => {
  const header = { kind: "none", sha256, why: "gone" } as const;
  expect(decodeSample(encodeSample(header)).header).toEqual(header);
});

test.each([
  ["nothing", Buffer.alloc(0)],
  ["no header", Buffer.alloc(5000, 65)],
  ["a header that is not JSON", Buffer.from("x\n")],
  ["a hash that is a path", chunk({ sha256: `${"../".repeat(21)}x` })],
  ["upper-case hex, which would be another file name", chunk({ sha256: "AB".repeat(32) })],
  ["an empty chunk", chunk({}, Buffer.alloc(0))],
  ["more than the file holds", chunk({ size: 2 })],
  ["an offset beyond the file", chunk({ offset: 3 })],
  ["a file larger than any sample", chunk({ size: MAX_SAMPLE_BYTES + 1 })],
  ["a negative offset", chunk({ offset: -1 })],
  ["bytes with a refusal", Buffer.concat([encodeSample({ kind: "none", sha256, why: "gone" }), Buffer.from("x")])],
])("refused: %s", (_, payload) => {
  expect(() => decodeSample(payload)).toThrow();
});

test("the largest chunk and every want fit their topics", () => {
  const header = { kind: "chunk", sha256, offset: MAX_SAMPLE_BYTES - MAX_CHUNK_BYTES, size: MAX_SAMPLE_BYTES } as const;
  expect(encodeSample(header, Buffer.alloc(MAX_CHUNK_BYTES)).length).toBeLessThanOrEqual(topics.sample.maxBytes);
  const want: SampleWant = { sha256, offset: MAX_SAMPLE_BYTES, maxBytes: MAX_SAMPLE_BYTES };
  expect(JSON.stringify(want).length).toBeLessThan(topics.sampleWant.maxBytes);
});

test.each([{ sha256: "/etc/shadow" }, { sha256: "x".repeat(64) }, { offset: -1 }, { maxBytes: 0 }, { maxBytes: MAX_SAMPLE_BYTES + 1 }])(
  "a want that is none: %j",
  (change) => {
    expect(SampleWant.safeParse({ sha256, offset: 0, maxBytes: 1, ...change }).success).toBe(false);
  },
);
