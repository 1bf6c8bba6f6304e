import { Alert } from "@picket/protocol/alert";
import type { Recorded } from "@picket/protocol/recorded";
import { expect, test } from "vitest";
import { DeviceClock, inOrder, replay } from "./replay.ts";
import { child, exec, proc, testRules } from "./testing/events.ts";

const rules = testRules("medium medium");
const root = proc(300, "/opt/app/server");
const recorded = (atMs: number, id: string, pid = 412): Recorded => ({ id, event: exec(atMs, child(pid, "/usr/bin/medium", root)) });
const run = (events: readonly Recorded[]) => Array.fromAsync(replay(events, rules));

test("alerts come once, in their final revision, with the ids of the recording", async () => {
  const [alert, ...others] = await run([recorded(0, "mine-1"), recorded(1000, "mine-2")]);
  expect(others).toEqual([]);
  expect(Alert.parse(alert)).toMatchObject({ events: ["mine-1", "mine-2"], count: 2, status: "open", notes: [] });
});

test("an alert that cannot grow any more is told before the end", async () => {
  const order: string[] = [];
  function* events(): Generator<Recorded> {
    yield recorded(0, "first");
    for (let at = 1; at < 200; at++) yield { id: `quiet-${at}`, event: exec(at * 10_000, proc(1000 + at, "/bin/true")) };
    order.push("end of input");
  }
  for await (const alert of replay(events(), rules)) order.push(alert.events[0]!);
  expect(order).toEqual(["first", "end of input"]);
});

test("events that overtook others at the site go on by their numbers, and what is missing is not waited for longer than two seconds", async () => {
  const at = (seq: number, receivedMs: number): Recorded => ({
    id: String(seq),
    event: { ...exec(seq, proc(1, "/bin/true"), { seq }), receivedMs },
  });
  const order = async (...events: Recorded[]) => (await Array.fromAsync(inOrder(events))).map(({ id }) => Number(id));
  expect(await order(at(0, 0), at(3, 100), at(1, 200), at(2, 200), at(4, 300))).toEqual([0, 1, 2, 3, 4]);
  expect(await order(at(0, 0), at(3, 100), at(4, 2200), at(1, 2300))).toEqual([0, 3, 4, 1]);
  expect(await order(at(0, 0), at(9, 100), at(7, 200))).toEqual([0, 7, 9]);
  const many = Array.from({ length: 5000 }, (_, n) => at(2 * n, n));
  expect(await order(...many)).toEqual(many.map(({ id }) => Number(id)));
});

test("the same recording gives the same alerts", async () => {
  const events = [recorded(0, "a"), recorded(700_000, "b"), recorded(700_001, "c")];
  expect(await run(events)).toEqual(await run(events));
  expect(await run(events)).toHaveLength(2);
});

test("one line from the year 9999 does not end the others' windows", async () => {
  const alerts = await run([recorded(0, "a"), recorded(200_000_000_000_000, "far"), recorded(1000, "b")]);
  expect(alerts.map(({ events }) => events)).toEqual([["a", "b"], ["far"]]);
});

test("an id of any length is kept apart", async () => {
  const [alert] = await run([recorded(0, "x".repeat(5000))]);
  expect(Alert.parse(alert).events[0]).toMatch(/^sha256:/);
});

test("a device's clock follows what its events agree on", () => {
  const clock = new DeviceClock();
  expect([5, 3, 10].map((time) => clock.hear(time))).toEqual([5, 5, 10]);
  expect(clock.hear(1e12)).toBe(10);
  for (let at = 0; at < 7; at++) clock.hear(1e12 + at);
  expect(clock.hear(1e12 + 9)).toBe(1e12 + 9);
});
