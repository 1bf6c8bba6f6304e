import type { Detection } from "@picket/protocol/alert";
import { type Commit, decodeData, LOOKBACK_MS, type State } from "@picket/protocol/feed";
import { alertId } from "@picket/protocol/uuid5";
import { expect, test } from "vitest";
import { type Change, Changes } from "../changes.ts";
import type { Link } from "../peer.ts";
import { listAlerts } from "../store/alerts.ts";
import type { Store } from "../store/database.ts";
import { detectorState, readSeen, saveSeen } from "../store/detector.ts";
import { detectorLag, listLanes } from "../store/lanes.ts";
import { appendBatch } from "../store/log.ts";
import { openStore } from "../store/schema.ts";
import { makeBatch, until } from "../testing/site.ts";
import { Feed, FeedRefused } from "./feed.ts";

type Reader = {
  link: Link;
  states: State[];
  offsets: number[];
  lanes: readonly number[];
  cut: string[];
  hold: PromiseWithResolvers<void> | undefined;
  session(): string;
};

function reader(): Reader {
  const self: Reader = {
    link: undefined as never,
    states: [],
    offsets: [],
    lanes: [],
    cut: [],
    hold: undefined,
    session: () => self.states.at(-1)!.session,
  };
  self.link = {
    peer: { role: "detector", name: "yard", serial: "1", notAfterMs: 1 },
    address: "192.0.2.1",
    sinceMs: 0,
    superseded: false,
    send: async (name, payload) => {
      expect(name).toBe("data");
      const data = decodeData(Buffer.from(payload as Uint8Array));
      if ("state" in data) self.states.push(data.state);
      else if ("lanes" in data) self.lanes = data.lanes.lanes;
      else if ("header" in data) self.offsets.push(data.header.offset);
      await self.hold?.promise;
      return true;
    },
    close: (why) => void self.cut.push(why),
  };
  return self;
}

function setup(store: Store) {
  const clock = { nowMs: 1_000_000_000 };
  const changes = new Changes();
  const told: Change[] = [];
  changes.listen((change) => told.push(change));
  let sessions = 0;
  const feed = new Feed({
    files: { read: async () => undefined, changed: () => {} },
    store,
    changes,
    nowMs: () => clock.nowMs,
    newSession: () => `session-${++sessions}`,
    report: (error) => {
      throw error;
    },
  });
  let seq = 0;
  const add = (count = 1, of: { device?: string; events?: number } = {}) => {
    const { device = "gw-1", events = 1 } = of;
    for (let n = 0; n < count; n++, seq++)
      appendBatch(store, {
        device,
        epoch: "epoch000",
        firstSeq: seq,
        nextSeq: seq + 1,
        receivedMs: clock.nowMs,
        count: events,
        batch: makeBatch(device, "epoch000", seq, 1),
      });
    feed.wake();
  };
  const want = (of: Reader, body: object) => feed.want(of.link, Buffer.from(JSON.stringify(body)));
  const hello = async (of: Reader, credits: number) => {
    want(of, { kind: "hello", credits });
    await until(() => of.states.at(-1)?.last);
  };
  const commit = (of: Reader, changes: Partial<Commit>) =>
    feed.commit(
      of.link,
      Buffer.from(JSON.stringify({ session: of.session(), next: 1, alerts: [], seen: [], read: 0, refused: 0, ...changes })),
    );
  return { clock, feed, told, add, want, hello, commit };
}

const settled = () => new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));

const detection = (anchor: string, revision = 0): Detection => ({
  id: alertId({ site: "yard", rule: "r", device: "gw-1", group: "", anchor }),
  site: "yard",
  device: "gw-1",
  timeMs: 1,
  rule: { id: "r", title: "R", engine: "sigma" },
  severity: "high",
  score: 50,
  attack: { tactics: [], techniques: [] },
  events: [],
  tree: [],
  summary: anchor,
  count: revision + 1,
  firstMs: 1,
  lastMs: 1,
  revision,
});

test("state first, then batches as far as credits go, then live ones", async () => {
  using store = openStore(":memory:");
  const { add, hello, want } = setup(store);
  add(5);
  const detector = reader();
  await hello(detector, 3);
  await until(() => detector.offsets.length === 3);
  await settled();
  expect(detector.states).toMatchObject([{ session: "session-1", cursor: 1, open: [], seen: [], last: true }]);
  expect(detector.offsets).toEqual([1, 2, 3]);
  want(detector, { kind: "more", session: "session-1", credits: 10 });
  await until(() => detector.offsets.length === 5);
  add(2);
  await until(() => detector.offsets.length === 7);
  expect(detector.offsets).toEqual([1, 2, 3, 4, 5, 6, 7]);
});

test("a socket that does not take more is waited for, even when there are credits", async () => {
  using store = openStore(":memory:");
  const { add, hello } = setup(store);
  add(10);
  const detector = reader();
  await hello(detector, 100);
  await until(() => detector.offsets.length === 10);
  detector.hold = Promise.withResolvers();
  add(10);
  await settled();
  expect(detector.offsets).toHaveLength(11);
  detector.hold.resolve();
  await until(() => detector.offsets.length === 20);
  expect(detector.offsets).toEqual(Array.from({ length: 20 }, (_, at) => at + 1));
});

test("a commit stores alerts, cursor and what was seen together, then tells", async () => {
  using store = openStore(":memory:");
  const { add, hello, commit, told } = setup(store);
  add(3);
  const detector = reader();
  await hello(detector, 3);
  await commit(detector, {
    next: 3,
    alerts: [{ detection: detection("a"), group: "g" }],
    seen: [{ device: "gw-1", kind: "pair", key: "sh", count: 4 }],
    read: 2,
    refused: 1,
  });
  expect(detectorState(store)).toEqual({ cursor: 3, read: 2, refused: 1 });
  // Without a word of the detector about it, an alert is an incident of its own.
  expect(told).toEqual([
    { kind: "incident", id: detection("a").id },
    { kind: "alert", id: detection("a").id, created: true },
  ]);
  const next = reader();
  await hello(next, 1);
  expect(next.states).toMatchObject([
    { cursor: 3, open: [{ group: "g", detection: detection("a") }], seen: [{ device: "gw-1", kind: "pair", key: "sh", count: 4 }] },
  ]);
});

test("a commit whose alerts cannot be stored moves nothing", async () => {
  using store = openStore(":memory:");
  const { add, hello, commit } = setup(store);
  add(3);
  const detector = reader();
  await hello(detector, 3);
  store.db.run("CREATE TRIGGER full BEFORE UPDATE ON detector BEGIN SELECT RAISE(ABORT, 'no room'); END");
  await expect(commit(detector, { next: 3, alerts: [{ detection: detection("a"), group: "" }] })).rejects.toThrow("no room");
  expect(listAlerts(store, { limit: 10 })).toEqual([]);
  store.db.run("DROP TRIGGER full");
  expect(detectorState(store).cursor).toBe(1);
});

test("a restarted detector is sent what lies in its longest window again, before the cursor", async () => {
  using store = openStore(":memory:");
  const { clock, add, hello, commit } = setup(store);
  add(2);
  clock.nowMs += LOOKBACK_MS;
  add(2);
  clock.nowMs += LOOKBACK_MS / 2;
  add(2);
  const first = reader();
  await hello(first, 10);
  await commit(first, { next: 6 });
  const second = reader();
  await hello(second, 10);
  await until(() => second.offsets.length === 4);
  // Offset 6 came at the cursor's time: everything up to LOOKBACK_MS before it, which 3 is and 2 is not.
  expect([second.states[0]!.cursor, second.offsets]).toEqual([6, [3, 4, 5, 6]]);
});

test("a new hello ends the session before; its commits and credits count no more", async () => {
  using store = openStore(":memory:");
  const { add, hello, commit, want, feed } = setup(store);
  add(5);
  const old = reader();
  await hello(old, 1);
  const fresh = reader();
  await hello(fresh, 1);
  expect(old.cut).toHaveLength(1);
  await expect(commit(old, { next: 4 })).rejects.toThrow(FeedRefused);
  want(old, { kind: "more", session: old.session(), credits: 5 });
  await settled();
  expect([old.offsets, fresh.offsets]).toEqual([[1], [1]]);
  expect(detectorState(store).cursor).toBe(1);
  feed.closed(old.link);
  expect(feed.connected).toBe(true);
  feed.closed(fresh.link);
  expect(feed.connected).toBe(false);
});

test.each([
  ["behind the cursor", 1],
  ["beyond the log", 99],
])("a commit %s is refused", async (_, next) => {
  using store = openStore(":memory:");
  const { add, hello, commit } = setup(store);
  add(5);
  const detector = reader();
  await hello(detector, 5);
  await commit(detector, { next: 3 });
  await expect(commit(detector, { next })).rejects.toThrow(FeedRefused);
  expect(detectorState(store).cursor).toBe(3);
});

test.each(["", "null", "{}", '{"kind":"hello","credits":0}', '{"kind":"hello","credits":99999}'])(
  "a want that cannot be read is refused: %s",
  (text) => {
    using store = openStore(":memory:");
    const { feed } = setup(store);
    expect(() => feed.want(reader().link, Buffer.from(text))).toThrow(FeedRefused);
  },
);

test("a large state comes in parts that each fit, nothing missing, and only the last says so", async () => {
  using store = openStore(":memory:");
  const { hello } = setup(store);
  const seen = Array.from({ length: 6000 }, (_, n) => ({
    device: "gw-1",
    kind: "pair",
    key: `${String(n).padStart(5, "0")}${"k".repeat(300)}`,
    count: n + 1,
  }));
  store.commitNow(() => saveSeen(store, seen, 1));
  const detector = reader();
  await hello(detector, 1);
  expect(detector.states.length).toBeGreaterThan(1);
  expect(detector.states.map(({ last }) => last)).toEqual([...Array(detector.states.length - 1).fill(false), true]);
  for (const state of detector.states) expect(JSON.stringify(state).length).toBeLessThan(1 << 20);
  expect(detector.states.flatMap((state) => state.seen)).toEqual(seen);
});

test("counts are totals: a lower one does not replace a higher", async () => {
  using store = openStore(":memory:");
  const { add, hello, commit } = setup(store);
  add(1);
  const detector = reader();
  await hello(detector, 1);
  const key = { device: "gw-1", kind: "pair", key: "sh" };
  await commit(detector, { seen: [{ ...key, count: 7 }] });
  await commit(detector, { seen: [{ ...key, count: 5 }] });
  const next = reader();
  await hello(next, 1);
  expect(next.states[0]!.seen).toEqual([{ ...key, count: 7 }]);
});

/** As the detector does with each lane it is told of: a reader of its own on the same connection. */
async function follow(of: Reader, lane: number, want: (of: Reader, body: object) => void, credits = 100) {
  const before = of.states.length;
  want(of, { kind: "hello", credits, lane });
  await until(() => of.states.length > before && of.states.at(-1)?.last);
  return of.states.at(-1)!;
}

test("after a long outage the cursor is at the end of the log at once, and a lane reads what lies before, up to its end and no further", async () => {
  using store = openStore(":memory:");
  const { clock, add, hello, commit, want } = setup(store);
  add(2, { events: 40_000 });
  clock.nowMs += 60 * 60_000;
  add(1);
  const detector = reader();
  await hello(detector, 100);
  await until(() => detector.lanes.length === 1);
  expect(detector.states[0]).toMatchObject({ cursor: 4, seam: 4, lane: 0 });
  await until(() => detector.offsets.length === 1);
  // Silently, what its windows rest on.
  expect(detector.offsets).toEqual([3]);
  add(1);
  await until(() => detector.offsets.length === 2);
  await commit(detector, { next: 5 });
  expect(detectorState(store).cursor).toBe(5);
  const state = await follow(detector, detector.lanes[0]!, want);
  expect(state).toMatchObject({ cursor: 1, seam: 0 });
  await until(() => detector.offsets.length === 5);
  expect(detector.offsets.slice(2)).toEqual([1, 2, 3]);
  expect(detectorLag(store, clock.nowMs)).toMatchObject({ live: { batches: 0 }, aside: { batches: 3, events: 80_001, seconds: 3600 } });
  const key = { device: "gw-1", kind: "pair", key: "sh" };
  await commit(detector, { session: state.session, next: 3, seen: [{ ...key, count: 9 }] });
  expect([detectorState(store).cursor, listLanes(store)[0]!.cursor]).toEqual([5, 3]);
  // What it saw is its own until it is done: the other goes on counting at the same time.
  expect(readSeen(store, undefined, 10)).toEqual([]);
  const again = await follow(detector, detector.lanes[0]!, want);
  expect([again.cursor, again.seen]).toEqual([3, [{ ...key, count: 9 }]]);
  await commit(detector, { session: again.session, next: 4 });
  await until(() => detector.lanes.length === 0);
  expect(listLanes(store)).toEqual([]);
  await expect(commit(detector, { session: again.session, next: 4 })).rejects.toThrow(FeedRefused);
});

test("a short backlog is no outage", async () => {
  using store = openStore(":memory:");
  const { clock, add, hello } = setup(store);
  add(5, { events: 500 });
  clock.nowMs += 60 * 60_000;
  const detector = reader();
  await hello(detector, 100);
  expect([detector.states[0]!.cursor, detector.lanes]).toEqual([1, []]);
});

test("a device put aside is read from the cursor on in a lane of its own, by nobody else, and comes back when it is as far", async () => {
  using store = openStore(":memory:");
  const { add, hello, commit, want } = setup(store);
  for (const device of ["gw-1", "gw-2", "gw-1", "gw-2"]) add(1, { device });
  const detector = reader();
  await hello(detector, 100);
  await until(() => detector.offsets.length === 4);
  await commit(detector, { next: 2 });
  await commit(detector, { next: 4, aside: ["gw-2"] });
  await until(() => detector.lanes.length === 1);
  const state = await follow(detector, detector.lanes[0]!, want);
  expect(state.cursor).toBe(2);
  await until(() => detector.offsets.length === 6);
  add(1, { device: "gw-2" });
  add(1, { device: "gw-1" });
  await until(() => detector.offsets.length === 8);
  expect(detector.offsets.slice(4).sort()).toEqual([2, 4, 5, 6]);
  const early = reader();
  await hello(early, 100);
  await until(() => early.lanes.length === 1);
  const behind = await follow(early, early.lanes[0]!, want);
  await commit(early, { session: behind.session, next: 6 });
  await commit(early, { session: early.states[0]!.session, next: 7 });
  const late = reader();
  await hello(late, 100);
  await settled();
  expect([late.lanes, listLanes(store), detectorState(store).cursor]).toEqual([[], [], 7]);
});

test("what is decided about files is taken also when the cursor has passed by the batches of a device that is read apart", async () => {
  using store = openStore(":memory:");
  const { add, hello, commit, want } = setup(store);
  add();
  const detector = reader();
  await hello(detector, 100);
  await until(() => detector.offsets.length === 1);
  await commit(detector, { next: 2, aside: ["gw-1"] });
  await until(() => detector.lanes.length === 1);
  const main = detector.session();
  const lane = await follow(detector, detector.lanes[0]!, want);
  add(2);
  await until(() => detectorState(store).cursor === 4 && detector.offsets.length === 4);
  await commit(detector, { session: main, next: 2 });
  await commit(detector, { session: lane.session, next: 3 });
  await commit(detector, { session: main, next: 4 });
  await expect(commit(detector, { session: main, next: 3 })).rejects.toThrow(FeedRefused);
  expect([detectorState(store).cursor, listLanes(store).map(({ cursor }) => cursor)]).toEqual([4, [3]]);
});

test("old batches wait while the detector is behind, for a while at most; new ones never, nor any without a detector", async () => {
  using store = openStore(":memory:");
  const { clock, add, hello, commit, feed } = setup(store);
  const old = () => clock.nowMs - 60 * 60_000;
  add(300);
  expect(feed.pace(old())).toBeUndefined();
  const detector = reader();
  await hello(detector, 1);
  expect([feed.pace(clock.nowMs), feed.pace(undefined)]).toEqual([undefined, undefined]);
  const passed: number[] = [];
  for (const n of [1, 2]) void feed.pace(old())!.then(() => passed.push(n));
  await settled();
  expect(passed).toEqual([]);
  await commit(detector, { next: 46 });
  await settled();
  expect(passed).toEqual([1]);
  void feed.pace(old());
  feed.closed(detector.link);
  await settled();
  expect(passed).toEqual([1, 2]);
});

test("old batches of a device that is read apart do not wait for decisions that the main reading has none of", async () => {
  using store = openStore(":memory:");
  const { clock, add, hello, commit, feed } = setup(store);
  const detector = reader();
  await hello(detector, 1000);
  add();
  await until(() => detector.offsets.length === 1);
  await commit(detector, { next: 2, aside: ["gw-1"] });
  add(300);
  await until(() => detectorState(store).cursor === 302);
  expect(feed.pace(clock.nowMs - 60 * 60_000)).toBeUndefined();
  add(300, { device: "gw-2" });
  await until(() => detector.offsets.length === 301);
  expect(feed.pace(clock.nowMs - 60 * 60_000)).toBeDefined();
  feed.closed(detector.link);
});
