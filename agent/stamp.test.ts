import { epochId } from "@picket/protocol/names";
import { expect, test } from "vitest";
import { createPipeline } from "./pipeline.ts";
import { createShedder } from "./shed.ts";
import { createStamp, newEpoch } from "./stamp.ts";

const draft = (message: string) => ({ type: "log.line" as const, timeMs: 1, body: { source: "test", message } });

test("an epoch is 8 of a-z and 0-9, and no two are alike", () => {
  const epochs = Array.from({ length: 2000 }, () => newEpoch());
  for (const epoch of epochs) expect(epochId.safeParse(epoch).success).toBe(true);
  expect(new Set(epochs).size).toBe(2000);
  // Every character comes up: 16,000 draws of 36.
  expect(new Set(epochs.join("")).size).toBe(36);
});

test("bytes that would favour the first letters are thrown away", () => {
  let round = 0;
  const epoch = newEpoch((bytes) => bytes.fill(round++ === 0 ? 252 : 35));
  expect(epoch).toBe("99999999");
  expect(round).toBe(2);
});

test("numbers have no holes, whatever is shed, fails to match or fails to be stored", () => {
  const kept: number[] = [];
  const failures: string[] = [];
  const stamp = createStamp("pi", "aaaaaaaa");
  const pipeline = createPipeline({
    stamp,
    match: (event) => {
      if (JSON.stringify(event).includes("bad rule")) throw new Error("rule");
      return JSON.stringify(event).includes("evil") ? [{ rule: "r", version: "1" }] : [];
    },
    keeps: (event) => !JSON.stringify(event).includes("dull"),
    mask: (event) => event,
    sink: (event) => {
      if (JSON.stringify(event).includes("full")) throw new Error("disk");
      kept.push(event.seq);
      expect(event.hits).toEqual(JSON.stringify(event.body).includes("evil") ? [{ rule: "r", version: "1" }] : undefined);
    },
    onFailure: (error) => failures.push(String(error)),
  });
  for (const text of ["a", "dull", "evil", "bad rule", "b", "full", "c"]) pipeline.emit(draft(text));
  expect(kept).toEqual([0, 1, 2, 3]);
  expect(stamp.next).toBe(4);
  expect(pipeline.takeShed()).toBe(3);
  expect(pipeline.takeShed()).toBe(0);
  expect(failures).toEqual(["Error: rule", "Error: disk"]);
});

test("above the rate file events go first, then processes; hits and the agent's own word never", () => {
  let nowMs = 0;
  const keeps = createShedder({ eventsPerS: 100, eventsPerProcessPerS: 1000 }, () => nowMs);
  const stamp = createStamp("pi", "aaaaaaaa");
  const process = { pid: 1, startTicks: 1, ppid: 0, uid: 0, exe: "/bin/sh", argv: ["sh"] };
  const file = stamp.event({ type: "file.create", timeMs: 1, body: { process, file: { path: "/tmp/x" } } });
  const exec = stamp.event({ type: "process.exec", timeMs: 1, body: { process } });
  const many = (event: typeof file, count: number) => Array.from({ length: count }, () => keeps(event)).filter(Boolean).length;
  // Ten seconds' worth may come at once: half of it to anything, the rest to what is worth more.
  expect(many(file, 2000)).toBe(501);
  expect(many(exec, 2000)).toBe(499);
  expect(keeps({ ...file, hits: [{ rule: "r", version: "1" }] })).toBe(true);
  expect(keeps(stamp.event({ type: "sensor.lost", timeMs: 1, body: { collector: "exec", count: 1, where: "kernel" } }))).toBe(true);
  nowMs = 1000;
  expect(many(file, 10)).toBe(0);
  expect(many(exec, 2000)).toBe(100);
  nowMs = 60_000;
  expect(many(file, 10)).toBe(10);
});
