import { encodeBatch } from "@picket/protocol/batch";
import type { SensorEvent } from "@picket/protocol/event";
import { Commit, encodeData, type State } from "@picket/protocol/feed";
import { expect, test } from "vitest";
import { Files } from "../files.ts";
import { BOOT, connects, exec, feed, pipelineOf, proc, T0, testRules } from "../testing/events.ts";
import { encodeCommit } from "./commit.ts";
import { threadClocks } from "./meter.ts";
import type { SessionPorts } from "./ports.ts";
import { CREDITS, FeedSession } from "./session.ts";

const rules = testRules("medium medium");

function started(
  cursor = 1,
  pipeline = pipelineOf(rules),
  judge: SessionPorts["judge"] = () => undefined,
  spent: SessionPorts["spent"] = () => false,
) {
  const commits: Commit[] = [];
  const acknowledge: (() => void)[] = [];
  const wants: unknown[] = [];
  const logs: string[] = [];
  const session = new FeedSession({
    files: new Files({ site: "lab", decided: () => {} }),
    pipeline,
    judge,
    want: (want) => wants.push(want),
    commit: (payload) => {
      commits.push(Commit.parse(JSON.parse(payload)));
      const { promise, resolve } = Promise.withResolvers<void>();
      acknowledge.push(resolve);
      return promise;
    },
    lane: 0,
    turnMs: () => 100,
    clocks: threadClocks,
    spent,
    later: setImmediate,
    cut: (error) => logs.push(`cut: ${error}`),
    log: (_, message) => logs.push(message),
  });
  session.hello();
  const state: State = { kind: "state", session: "s", cursor, open: [], seen: [], last: true };
  session.receive(Buffer.from(JSON.stringify(state)));
  return { session, commits, acknowledge, wants, logs };
}

const batch = () => encodeBatch({ boot: BOOT, oldest: 0, events: [exec(0, proc(412, "/usr/bin/medium"))] });
const data = (offset: number, bytes: Uint8Array = batch(), session = "s") =>
  encodeData({ kind: "batch", session, offset, receivedMs: T0 }, bytes);
const settled = () => new Promise((resolve) => setImmediate(resolve));

test("one commit is in flight; what is decided meanwhile goes together with the next", async () => {
  const { session, commits, acknowledge } = started();
  for (const offset of [1, 2, 5]) session.receive(data(offset));
  expect(commits.map(({ next, read, alerts }) => [next, read, alerts[0]!.detection.count])).toEqual([[2, 1, 1]]);
  acknowledge[0]!();
  await settled();
  expect(commits.slice(1).map(({ next, read, alerts }) => [next, read, alerts[0]!.detection.count])).toEqual([[6, 2, 3]]);
});

test("a batch made to be slow leaves the connection its turns, and nothing of it is told before all of it is judged", async () => {
  const slow = () => {
    for (const endMs = performance.now() + 10; performance.now() < endMs; );
    return [];
  };
  const { session, commits, logs } = started(1, pipelineOf({ rules: [], matcher: { match: slow } }));
  const events = Array.from({ length: 64 }, (_, seq) => ({ ...exec(0, proc(412, "/usr/bin/x")), seq }));
  session.receive(data(1, encodeBatch({ boot: BOOT, oldest: 0, events })));
  session.receive(Buffer.from("garbage"));
  let turns = 0;
  for (; commits.length === 0 && turns < 1000; turns++) await settled();
  expect(turns).toBeGreaterThan(2);
  expect(commits.map(({ next, read }) => [next, read])).toEqual([[2, 64]]);
  while (logs.length < 2) await settled();
  expect(logs).toEqual(["the feed cannot be followed", expect.stringMatching(/^cut: /)]);
});

test("what lies before the cursor is read silently, what was decided is not decided again", () => {
  const { session, commits } = started(3);
  for (const offset of [1, 2]) session.receive(data(offset));
  expect(commits).toEqual([]);
  session.receive(data(3));
  session.receive(data(3));
  expect(commits.map(({ read }) => read)).toEqual([1]);
});

test("batches of an earlier session are left alone", () => {
  const { session, commits } = started();
  session.receive(data(1, batch(), "before"));
  expect(commits).toEqual([]);
});

test.each([
  ["garbage", Buffer.from("garbage")],
  ["nothing", Buffer.alloc(0)],
  ["a header and no body", batch().subarray(0, batch().indexOf(10) + 1)],
])("%s instead of a batch is counted and passed by", async (_, bytes) => {
  const { session, commits, acknowledge, logs } = started();
  session.receive(data(1, bytes));
  acknowledge[0]!();
  await settled();
  session.receive(data(2));
  expect(commits.map(({ next, read, refused }) => [next, read, refused])).toEqual([
    [2, 0, 1],
    [3, 1, 0],
  ]);
  expect(logs).toEqual(["a batch could not be read"]);
});

test("credits are given back as batches are decided", () => {
  const { session, wants } = started();
  for (let offset = 1; offset <= 16; offset++) session.receive(data(offset));
  expect(wants).toEqual([
    { kind: "hello", credits: CREDITS },
    { kind: "more", session: "s", credits: 8 },
    { kind: "more", session: "s", credits: 8 },
  ]);
});

test("what is not of the feed ends the session", () => {
  expect(() => started().session.receive(Buffer.from("{}\n"))).toThrow();
});

test("a commit that would not fit loses pictures, never an alert or a count", () => {
  const pipeline = pipelineOf(rules);
  feed(
    pipeline,
    Array.from({ length: 50 }, (_, at) => exec(at, proc(10 + at, `/${at}/medium`, { argv: ["x".repeat(4000)] }))),
  );
  const { alerts, seen } = pipeline.take();
  const commit: Commit = { session: "s", next: 2, alerts, seen, read: 50, refused: 0 };
  expect(Commit.parse(JSON.parse(encodeCommit(commit)))).toEqual(commit);
  for (const limit of [150_000, 60_000, 10_000]) {
    const fitted = Commit.parse(JSON.parse(encodeCommit(commit, limit)));
    expect(fitted.alerts.map(({ detection }) => [detection.id, detection.count])).toEqual(
      commit.alerts.map(({ detection }) => [detection.id, detection.count]),
    );
    expect(JSON.stringify(fitted).length).toBeLessThan(JSON.stringify(commit).length);
  }
});

test("a canary that came through is told with the next commit, once, and not when it is only read again", async () => {
  const song = exec(0, proc(500, "/bin/sh", { argv: ["/bin/sh", "-c", ': > "$0"', "/run/picket-canary-Ab3xYz/0123456789abcdef"] }));
  const { session, commits, acknowledge } = started(2);
  const sung = encodeBatch({ boot: BOOT, oldest: 0, events: [song] });
  session.receive(data(1, sung));
  session.receive(data(2));
  acknowledge[0]!();
  await settled();
  session.receive(data(3, sung));
  acknowledge[1]!();
  await settled();
  session.receive(data(4));
  expect(commits.map(({ canaries }) => canaries)).toEqual([undefined, [{ device: "gw-1", receivedMs: T0 }], undefined]);
});

/** A batch whose lines are JSON, and no events: each takes its reader longest. */
function unreadable(lines: number): Uint8Array {
  const header = { v: 1, device: "gw-1", boot: BOOT, epoch: "epoch000", runs: [[0, lines]], oldest: 0 };
  const line = `{"type":"process.exec","timeMs":1,"body":{"process":{"pid":"x","argv":[${"{},".repeat(2000)}{}]}}}`;
  return Buffer.concat([
    Buffer.from(`${JSON.stringify(header)}\n`),
    Bun.zstdCompressSync(Buffer.from(Array.from({ length: lines }, () => line).join("\n"))),
  ]);
}

test("what reading a batch takes is charged to its device, also when nothing in it can be read", () => {
  const charged: { device: string; events: number }[] = [];
  const { session, commits } = started(1, pipelineOf(rules), undefined, ({ device, ms, events }) => {
    charged.push({ device, events });
    return ms > 1;
  });
  session.receive(data(1, unreadable(500)));
  expect(charged).toEqual([{ device: "gw-1", events: 0 }]);
  expect(commits.map(({ next, read, refused, aside }) => [next, read, refused, aside])).toEqual([[2, 0, 0, ["gw-1"]]]);
});

test("a device that is put aside takes nothing of others with it, and others' work is not charged to it", () => {
  const bash = proc(412, "/bin/bash");
  const charged: string[] = [];
  const { session, commits, acknowledge } = started(1, pipelineOf(rules), undefined, ({ device }) => {
    charged.push(device);
    return device === "gw-9";
  });
  const of = (oldest: number, ...events: SensorEvent[]) => encodeBatch({ boot: BOOT, oldest, events });
  const at = (offset: number, ms: number, bytes: Uint8Array) =>
    session.receive(encodeData({ kind: "batch", session: "s", offset, receivedMs: T0 + ms }, bytes));
  at(1, 0, of(0, { ...exec(0, bash), seq: 0 }));
  // Number 1 is lost, so these wait, until a batch of the other device tells that it is late.
  at(2, 100, of(0, { ...connects(100, bash), seq: 2 }, { ...exec(200, proc(413, "/bin/sh", { ppid: 412 })), seq: 3 }));
  at(3, 5000, of(0, { ...exec(4000, proc(1, "/usr/bin/medium")), device: "gw-9", seq: 0 }));
  for (let more = 0; more < acknowledge.length; more++) acknowledge[more]!();
  return settled().then(() => {
    expect(charged.filter((device) => device === "gw-9")).toHaveLength(1);
    expect(commits.flatMap(({ alerts }) => alerts.map(({ detection }) => [detection.device, detection.rule.id]))).toEqual([
      ["gw-1", "picket-chain-reverse-shell"],
    ]);
    expect(commits.flatMap(({ aside }) => aside ?? [])).toEqual(["gw-9"]);
  });
});
