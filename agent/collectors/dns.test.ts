import fc from "fast-check";
import { expect, test } from "vitest";
import { dnsRecord } from "../bpf/layout.gen.ts";
import { decodeQuery, dnsCollector } from "./dns.ts";
import { contextOf, recordOf } from "./testing/records.ts";

const question = (labels: readonly (string | Buffer)[]) =>
  Buffer.concat([
    Buffer.from([1, 2, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
    ...labels.flatMap((label) => [Buffer.from([label.length]), Buffer.from(label as string)]),
    Buffer.from([0, 0, 1, 0, 1]),
  ]);

test.each([
  ["a name", question(["www", "example", "org"]), "www.example.org"],
  ["the root", question([]), "."],
  ["what would steer a terminal", question([Buffer.from([0x1b, 0x5b, 0x38, 0x6d]), "x"]), "\\027[8m.x"],
  ["a dot inside a label", question(["a.b", "c"]), "a\\.b.c"],
  [
    "a tunnel's longest name",
    question(["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61)]),
    expect.stringMatching(/^a{63}\.b{63}\.c{63}\.d{61}$/),
  ],
  ["an answer", Buffer.from(question(["x"])).fill(0x81, 2, 3), undefined],
  ["no question", Buffer.from(question(["x"])).fill(0, 4, 6), undefined],
  ["a pointer", Buffer.concat([question([]).subarray(0, 12), Buffer.from([0xc0, 0x0c, 0, 1, 0, 1])]), undefined],
  ["a label that goes on past the end", question(["www"]).subarray(0, 14), undefined],
  ["less than a header", Buffer.from("GET /"), undefined],
])("%s", (_, message, name) => {
  expect(decodeQuery(message)).toEqual(name);
});

test("any bytes give a short printable name or none", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 512 }), (tail) => {
      const name = decodeQuery(Buffer.concat([question([]).subarray(0, 12), tail]));
      expect(name ?? "").toMatch(/^[!-~]{0,255}$/);
    }),
  );
});

const asks = (name: string, atNs: bigint, stream = false) =>
  recordOf(dnsRecord.size, { pid: 4, bootNs: atNs }, (view, bytes) => {
    const payload = stream ? Buffer.concat([Buffer.from([0, 40]), question([name])]) : question([name]);
    view.setUint32(dnsRecord.stream, stream ? 1 : 0, true);
    view.setUint32(dnsRecord.len, payload.length, true);
    bytes.set(payload, dnsRecord.payload);
  });

test("the same question within a minute is one event, over TCP too", () => {
  const context = contextOf({});
  const handle = dnsCollector();
  handle(asks("a", 0n), context);
  handle(asks("a", 59_000_000_000n, true), context);
  handle(asks("a", 61_000_000_000n), context);
  handle(asks("b", 61_000_000_000n), context);
  expect(context.drafts.map(({ body }) => "net" in body && "query" in body.net && body.net.query)).toEqual(["a", "a", "b"]);
});

test("what was written and is no plain query is not looked into", () => {
  const context = contextOf({});
  const handle = dnsCollector();
  const written = (payload: Buffer) =>
    recordOf(dnsRecord.size, { pid: 4 }, (view, bytes) => {
      view.setUint32(dnsRecord.written, 1, true);
      view.setUint32(dnsRecord.len, payload.length, true);
      bytes.set(payload, dnsRecord.payload);
    });
  for (const [at, byte] of [
    [2, 0x28],
    [5, 2],
    [7, 1],
    [9, 1],
    [11, 3],
  ] as const)
    handle(written(Buffer.from(question(["no"])).fill(byte, at, at + 1)), context);
  handle(written(Buffer.from("a\x01\x01a\x01\x02a\x01a\x01a\x01\x05token\x03xyz\0", "latin1")), context);
  expect(context.drafts).toEqual([]);
  handle(written(question(["yes"])), context);
  expect(context.drafts).toHaveLength(1);
});

test("the same name of another program that the process became is asked again", () => {
  let exe = "/bin/x";
  const context = contextOf({ describe: ({ pid, uid }) => ({ pid, startTicks: 0, ppid: 0, uid, exe, argv: [] }) });
  const handle = dnsCollector();
  handle(asks("a", 0n), context);
  exe = "/bin/y";
  handle(asks("a", 1n), context);
  expect(context.drafts).toHaveLength(2);
});
