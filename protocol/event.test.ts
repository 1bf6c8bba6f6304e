import { expect, test } from "vitest";
import { eventTypes, SensorEvent } from "./event.ts";

const golden = (type: string) => Bun.file(new URL(`testdata/${type}.json`, import.meta.url)).json();

test.each(eventTypes)("%s: golden file parses to itself", async (type) => {
  const event = await golden(type);
  expect(event.type).toBe(type);
  expect(SensorEvent.parse(event)).toEqual(event);
});

test("a key from a newer agent does not make the event invalid", async () => {
  expect(SensorEvent.safeParse({ ...(await golden("process.exec")), addedLater: 1 }).success).toBe(true);
});

test.each([
  ["a device name that is a topic level of its own", { device: "a/b" }],
  ["a device name that is a wildcard", { device: "+" }],
  ["an epoch of the wrong length", { epoch: "x" }],
  ["a negative number", { seq: -1 }],
  ["an unknown type", { type: "process.unknown" }],
  [
    "an argument longer than the kernel copies",
    { body: { process: { pid: 1, startTicks: 0, ppid: 0, uid: 0, exe: "/x", argv: ["a".repeat(4097)] } } },
  ],
])("refused: %s", async (_, change) => {
  expect(SensorEvent.safeParse({ ...(await golden("process.exec")), ...change }).success).toBe(false);
});
