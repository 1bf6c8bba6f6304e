import type { CommandResult } from "@picket/protocol/command";
import { expect, test } from "vitest";
import { outbox, refusalLimit } from "./outbox.ts";
import type { State } from "./state.ts";

const result = (timeMs: number, code: CommandResult["code"]): CommandResult => ({
  v: 1,
  act: "isolate",
  ok: code === "done",
  code,
  message: "",
  timeMs,
});
const empty = () => ({ recent: [], outbox: [] }) as unknown as State;

test("a flood of refusals does not push out the answer to a command", () => {
  const box = outbox(empty());
  box.remember("hash", result(0, "done"));
  for (let timeMs = 1; timeMs <= 1000; timeMs++) box.put(result(timeMs, "malformed"));
  expect(box.waiting()).toHaveLength(256);
  expect(box.waiting()[0]).toEqual(result(0, "done"));
  expect(box.waiting().at(-1)).toEqual(result(1000, "malformed"));
});

test("a result waits once, until it is delivered", () => {
  const box = outbox(empty());
  box.put(result(1, "done"));
  box.put(result(1, "done"));
  expect(box.delivered({ ...result(1, "done") })).toBe(true);
  expect(box.delivered(result(1, "done"))).toBe(false);
  expect(box.waiting()).toEqual([]);
});

test("answers are remembered for the last 64 commands", () => {
  const box = outbox(empty());
  for (let timeMs = 0; timeMs < 65; timeMs++) box.remember(`hash ${timeMs}`, result(timeMs, "done"));
  expect(box.answerTo("hash 0")).toBeUndefined();
  expect(box.answerTo("hash 1")).toEqual(result(1, "done"));
});

test("five of a kind pass at once, then one a minute with the count of the rest; kinds do not hinder each other", () => {
  let uptimeMs = 0;
  const limit = refusalLimit(() => uptimeMs);
  const take = (times: number) => Array.from({ length: times }, () => limit.take("malformed"));
  expect(take(8)).toEqual([0, 0, 0, 0, 0, undefined, undefined, undefined]);
  expect(limit.take("replayed")).toBe(0);
  expect(limit.due()).toEqual([]);
  uptimeMs = 60_000;
  expect(limit.due()).toEqual(["malformed"]);
  expect(take(2)).toEqual([3, undefined]);
});
