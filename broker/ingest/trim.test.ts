import { decodeBatch, encodeBatch, inflateBatch, openBatch } from "@picket/protocol/batch";
import type { SensorEvent } from "@picket/protocol/event";
import { expect, test } from "vitest";
import { trimBatch } from "./trim.ts";

const process = { pid: 7, startTicks: 1, ppid: 1, uid: 0, exe: "/usr/bin/tar", argv: ["tar"] };
const events = Array.from(
  { length: 6 },
  (_, seq): SensorEvent => ({
    v: 1,
    device: "gw-014",
    epoch: "k3m9x0qa",
    seq,
    timeMs: 1_000 + seq,
    type: "file.create",
    body: { process: { ...process, pid: 7 + (seq % 2) }, file: { path: `/etc/${seq}` } },
  }),
);

test("what is left keeps its process, also when the line that introduced it is left out", () => {
  const { header, body } = openBatch(encodeBatch({ boot: "0b3a1c52-6f0e-4f60-9c7e-1d1f0f3a7c11", oldest: 0, events }));
  const trimmed = decodeBatch(trimBatch(header, inflateBatch(body), [[3, 3]]));
  expect(trimmed.refused).toBe(0);
  expect(trimmed.events).toEqual(events.slice(3));
});
