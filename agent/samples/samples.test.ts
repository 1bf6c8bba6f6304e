import { decodeSample } from "@picket/protocol/samples";
import { expect, test } from "vitest";
import { createSamples, type SampleFile, type SamplePorts } from "./samples.ts";

const hash = (n: number) => String(n).padStart(64, "0");
const want = (sha256: string, more = {}) => Buffer.from(JSON.stringify({ sha256, offset: 0, maxBytes: 32 << 20, ...more }));
const settled = async () => {
  for (let turn = 0; turn < 200; turn++) await Promise.resolve();
};

/** A device that reported file 1, of 200,000 bytes, and file 2, which is gone; what it sends, and acknowledgements by hand. */
function device(more: Partial<SamplePorts> = {}) {
  const content = Buffer.from(Array.from({ length: 200_000 }, (_, at) => at % 251));
  const sent: ReturnType<typeof decodeSample>[] = [];
  const acks: { resolve: () => void; reject: (error: Error) => void }[] = [];
  const disposed: string[] = [];
  const file: SampleFile = {
    size: content.length,
    read: async (offset, max) => content.subarray(offset, offset + max),
    [Symbol.dispose]: () => void disposed.push("file"),
  };
  const samples = createSamples({
    reported: (sha256) => sha256 === hash(1) || sha256 === hash(2),
    open: async (sha256) => (sha256 === hash(1) ? file : undefined),
    publish: (payload) => {
      const { header, bytes } = decodeSample(payload);
      sent.push({ header, bytes: Buffer.from(bytes) });
      return new Promise((resolve, reject) => acks.push({ resolve, reject }));
    },
    eventsWaiting: () => 0,
    pace: async () => {},
    sleep: async () => {},
    ...more,
  });
  const acknowledgeAll = async () => {
    for (await settled(); acks.length > 0; await settled()) acks.shift()!.resolve();
  };
  const bytes = () => Buffer.concat(sent.map((one) => Buffer.from(one.bytes)));
  return { samples, content, sent, acks, disposed, acknowledgeAll, bytes };
}

test("a file goes out piece by piece, each after the acknowledgement of the one before", async () => {
  const { samples, content, sent, acks, acknowledgeAll, bytes, disposed } = device();
  expect(samples.wanted(want(hash(1)))).toBe(true);
  await settled();
  expect([sent.length, acks.length]).toEqual([1, 1]);
  await acknowledgeAll();
  expect(bytes().equals(content)).toBe(true);
  expect(sent.map(({ header }) => header)).toEqual(
    [0, 65_536, 131_072, 196_608].map((offset) => ({ kind: "chunk", sha256: hash(1), offset, size: 200_000 })),
  );
  expect(disposed).toEqual(["file"]);
});

test("it goes on from an offset", async () => {
  const { samples, content, acknowledgeAll, bytes } = device();
  samples.wanted(want(hash(1), { offset: 150_000 }));
  await acknowledgeAll();
  expect(bytes().equals(content.subarray(150_000))).toBe(true);
});

test.each([
  ["a hash this device never reported", hash(9), {}, "unknown"],
  ["a file that is gone", hash(2), {}, "gone"],
  ["a file larger than wanted", hash(1), { maxBytes: 199_999 }, "too-big"],
  ["what lies beyond its end", hash(1), { offset: 200_000 }, "gone"],
])("nothing is sent of %s, which is said", async (_, sha256, more, why) => {
  const { samples, sent, acknowledgeAll } = device();
  samples.wanted(want(sha256, more));
  await acknowledgeAll();
  expect(sent.map(({ header }) => header)).toEqual([{ kind: "none", sha256, why }]);
});

test.each(["", "null", '{"sha256":"../../etc/shadow","offset":0,"maxBytes":1}', '{"path":"/etc/shadow","offset":0,"maxBytes":1}'])(
  "%s is no want",
  async (text) => {
    const { samples, sent } = device();
    expect(samples.wanted(Buffer.from(text))).toBe(false);
    await settled();
    expect(sent).toEqual([]);
  },
);

test("a file that changes on the way is given up", async () => {
  let reads = 0;
  const changing: SampleFile = {
    size: 200_000,
    read: async (_, max) => (++reads > 1 ? undefined : Buffer.alloc(max)),
    [Symbol.dispose]() {},
  };
  const { samples, sent, acknowledgeAll } = device({ open: async () => changing });
  samples.wanted(want(hash(1)));
  await acknowledgeAll();
  expect(sent.map(({ header }) => header.kind)).toEqual(["chunk", "none"]);
});

test("a connection that breaks ends it; over the next one it is asked again", async () => {
  const { samples, sent, acks, acknowledgeAll, content, bytes } = device();
  samples.wanted(want(hash(1)));
  await settled();
  samples.forget();
  acks.shift()!.reject(new Error("gone"));
  await settled();
  expect(sent).toHaveLength(1);
  sent.length = 0;
  samples.wanted(want(hash(1)));
  await acknowledgeAll();
  expect(bytes().equals(content)).toBe(true);
});

test("events go first, but not for ever", async () => {
  let waited = 0;
  let waiting = 100_000;
  const { samples, sent } = device({
    eventsWaiting: () => waiting,
    sleep: async (ms) => {
      waited += ms;
      if (waited >= 1000) waiting = 0;
    },
  });
  samples.wanted(want(hash(1)));
  await settled();
  expect([waited, sent.length]).toEqual([1000, 1]);
  waited = 0;
  const stubborn = device({
    eventsWaiting: () => 100_000,
    sleep: async (ms) => {
      waited += ms;
    },
  });
  stubborn.samples.wanted(want(hash(1)));
  await settled();
  expect([waited, stubborn.sent.length]).toEqual([2000, 1]);
});

test("bytes are paced, and wants beyond a bound are let go", async () => {
  const spent: number[] = [];
  const { samples, sent, acknowledgeAll } = device({ pace: async (bytes) => void spent.push(bytes) });
  for (let n = 100; n < 300; n++) samples.wanted(want(hash(n)));
  samples.wanted(want(hash(1)));
  await acknowledgeAll();
  expect(sent).toHaveLength(64);
  samples.wanted(want(hash(1)));
  await acknowledgeAll();
  expect(spent).toEqual([65_536, 65_536, 65_536, 3392]);
});
