import { randomBytes } from "node:crypto";
import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { attack } from "./attack.ts";

test("interrupted, it ends with all it started and leaves nothing", async () => {
  const name = `picket-test-${randomBytes(4).toString("hex")}`;
  const stop = new AbortController();
  // As on a device that was cut off: a child of the child waits, and holds the output open.
  const onDevice = () => ["sh", "-c", "sleep 600 & echo waiting; wait"];
  const onStep = (text: string) => text === "waiting" && stop.abort();
  const run = attack({ host: "127.0.0.1", onDevice, name, interpreter: "/bin/sh", onStep, signal: stop.signal });
  await expect(run).rejects.toThrow(/interrupted/);
  expect(readdirSync("/tmp").filter((file) => file.includes(name))).toEqual([]);
});
