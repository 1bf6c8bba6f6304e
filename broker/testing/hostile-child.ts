// Takes hostile batches in a process of its own, so that a test can see what memory they cost. Prints one JSON line for each.
import { readFileSync, writeFileSync } from "node:fs";
import { createIngest } from "../ingest/ingest.ts";
import { deadLetterCounts } from "../store/dead-letters.ts";
import { openStore } from "../store/schema.ts";
import { hostileBatches } from "./hostile.ts";

const memory = (what: "VmHWM" | "VmRSS"): number =>
  Number(new RegExp(`${what}:\\s+(\\d+) kB`).exec(readFileSync("/proc/self/status", "utf8"))?.[1]) * 1024;
using store = openStore(":memory:");
const disk = {
  room: () => undefined,
  failed: (error: Error) => {
    throw error;
  },
};
const ingest = createIngest({ store, nowMs: () => 1, disk, stored: () => {}, taken: () => {}, deadLetter: () => () => {} });
await ingest.events("gw-1", Buffer.from("warm up"));
for (const [name, make] of Object.entries(hostileBatches("gw-1"))) {
  const payload = make();
  Bun.gc(true);
  // proc_pid_clear_refs(5): the peak begins anew.
  writeFileSync("/proc/self/clear_refs", "5");
  const before = memory("VmRSS");
  for (let n = 0; n < 20; n++) await ingest.events("gw-1", payload);
  console.log(JSON.stringify({ name, reason: deadLetterCounts(store, 1)[0]?.lastReason, grownBytes: memory("VmHWM") - before }));
}
