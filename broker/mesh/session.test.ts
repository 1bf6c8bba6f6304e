import type { MeshMessage, SentItem } from "@picket/protocol/mesh";
import { MAX_ITEMS, WINDOW } from "@picket/protocol/mesh-limits";
import { expect, test, vi } from "vitest";
import { Allowance, limitedRate, type Rate, STANDARD_RATE } from "./allowance.ts";
import { pauseMs } from "./dialler.ts";
import { Session, type SessionPorts, Violation } from "./session.ts";
import { Strikes, VIOLATION } from "./strikes.ts";

const OURS = "11111111-2222-4333-8444-555555555555";
const THEIRS = "66666666-7777-4888-9999-000000000000";

/** A session with `count` items of ours to send, and what it did. */
function made(of: Partial<SessionPorts> & { count?: number; received?: number; rate?: Rate } = {}) {
  const said: MeshMessage[] = [];
  const taken: SentItem[] = [];
  const acknowledged: number[] = [];
  const closed: string[] = [];
  const session = new Session({
    send: async (text) => {
      said.push(JSON.parse(text));
      return true;
    },
    close: (why) => closed.push(why),
    nowMs: () => 0,
    report: (error) => closed.push(String(error)),
    itemsAfter: (pos, limit) => {
      const items = Array.from({ length: Math.max(0, (of.count ?? 0) - pos) }, (_, at) => ({
        pos: pos + at + 1,
        hops: ["north"],
        jws: `j${pos + at + 1}`,
      }));
      return { items: items.slice(0, limit), upTo: of.count ?? 0 };
    },
    state: () => ({ log: OURS, sentPos: 10, received: undefined }),
    acknowledged: async (pos) => void acknowledged.push(pos),
    take: async (items) => void taken.push(...items),
    left: () => closed.push("left"),
    allowance: new Allowance(of.rate ?? STANDARD_RATE, 0),
    ...of,
  });
  const hear = (message: object) => session.receive(Buffer.from(JSON.stringify(message)));
  const sent = () => said.flatMap((message) => (message.kind === "items" ? message.items.map(({ pos }) => pos) : []));
  return { session, said, taken, acknowledged, closed, hear, sent };
}
const hello = (grant: number, pos?: number) => ({
  kind: "hello",
  v: 1,
  log: THEIRS,
  grant,
  ...(pos === undefined ? {} : { received: { log: OURS, pos } }),
});
const items = (first: number, count: number) => ({
  kind: "items",
  items: Array.from({ length: count }, (_, at) => ({ pos: first + at, hops: ["south"], jws: "j" })),
});

test("sends what is granted and no more, from where the other is", async () => {
  const { hear, sent, acknowledged } = made({ count: 500 });
  await hear(hello(70, 8));
  await vi.waitFor(() => expect(sent()).toHaveLength(70));
  expect(sent()[0]).toBe(9);
  await hear({ kind: "ack", pos: 78, grant: 3 });
  await vi.waitFor(() => expect(sent()).toHaveLength(73));
  expect(acknowledged).toEqual([78]);
});

test.each([
  ["our own record is behind the peer's word: a backup came back", 40, 11],
  ["the peer's is behind ours: its backup came back", 3, 4],
])("goes on from the lower when %s", async (_, pos, first) => {
  const { hear, sent } = made({ count: 100 });
  await hear(hello(1, pos));
  await vi.waitFor(() => expect(sent()).toEqual([first]));
});

test("starts anew for a peer that knows another log, or none", async () => {
  for (const greeting of [hello(1), { ...hello(1, 50), received: { log: THEIRS, pos: 50 } }]) {
    const { hear, sent } = made({ count: 100 });
    await hear(greeting);
    await vi.waitFor(() => expect(sent()).toEqual([1]));
  }
});

test("acknowledges only what was taken, and grants as much again", async () => {
  const order: string[] = [];
  const { session, hear, said } = made({
    take: async () => void order.push("taken"),
    send: async (text) => order.push(JSON.parse(text).kind) > 0,
  });
  session.begin();
  await hear(hello(0));
  await hear(items(1, MAX_ITEMS));
  expect(order).toEqual(["hello", "taken", "ack"]);
  expect(said).toEqual([]);
  session[Symbol.dispose]();
});

type Hear = (message: object) => Promise<void>;
const violations: [string, (hear: Hear) => Promise<void>][] = [
  [
    "more than was granted",
    async (hear) => {
      for (let at = 0; at <= WINDOW; at += MAX_ITEMS) await hear(items(at + 1, MAX_ITEMS));
    },
  ],
  [
    "positions that do not rise",
    async (hear) => {
      await hear(items(5, 2));
      await hear(items(6, 1));
    },
  ],
  ["an acknowledgement of what was not sent", (hear) => hear({ kind: "ack", pos: 99, grant: 1 })],
];
test.each(violations)("%s is a violation", async (_, run) => {
  // One window, and nothing after it.
  const { session, hear } = made({ rate: { itemsPerS: 0, burst: WINDOW, bytesPerS: 1, burstBytes: 1 << 20 } });
  session.begin();
  await hear(hello(0));
  await expect(run(hear)).rejects.toThrow(Violation);
  session[Symbol.dispose]();
});

test("a peer that takes nothing of what it is told is cut, before that fills memory", async () => {
  const { session, hear, closed } = made({ send: () => new Promise(() => {}) });
  session.begin();
  await hear(hello(0));
  for (let at = 1; at <= 600; at++) await hear(items(at, 1));
  expect(closed[0]).toBe("it takes nothing of what it is told");
  session[Symbol.dispose]();
});

test("nothing is granted to a muted peer", () => {
  const { session, said } = made({ allowance: undefined });
  session.begin();
  expect(said).toMatchObject([{ kind: "hello", grant: 0 }]);
});

test("an allowance gives its burst, then its rate; bytes that came count too", () => {
  const rate = limitedRate(5);
  const allowance = new Allowance(rate, 0);
  expect([allowance.take(WINDOW, 0), allowance.take(WINDOW, 0), allowance.take(WINDOW, 1000), allowance.take(WINDOW, 1000)]).toEqual([
    50, 0, 5, 0,
  ]);
  allowance.spend(rate.burstBytes * 2);
  expect(allowance.take(1, 2000)).toBe(0);
  expect(allowance.take(1, 3600_000)).toBe(1);
  allowance.giveBack(1_000_000);
  expect(allowance.take(WINDOW, 3600_000)).toBeLessThanOrEqual(50);
});

test("strikes add up within an hour, and each breach of the protocol bars for longer", () => {
  const strikes = new Strikes();
  expect(strikes.add(["replayed", "stale", "unknown-origin", "disputed"], 3600_001)).toBe(false);
  const over = Array.from({ length: 6 }, (_, at) => strikes.add(VIOLATION, 3600_001 + at));
  expect(over.filter(Boolean)).toHaveLength(1);
  expect(strikes.barredUntilMs - 3600_006).toBe(16_000);
  expect(strikes.add(["forged"], 3 * 3600_000)).toBe(false);
});

test("pauses between attempts double up to 15 s, half of it by chance", () => {
  expect([0, 1, 4, 30].map((failures) => pauseMs(failures, 1))).toEqual([100, 200, 1600, 15_000]);
  expect(pauseMs(30, 0)).toBe(7500);
});
