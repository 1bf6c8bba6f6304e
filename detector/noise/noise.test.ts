import { expect, test } from "vitest";

const noise = new URL("noise.ts", import.meta.url).pathname;
/** In a process of its own: what others hold is not counted. */
const script = `
import { Noise } from ${JSON.stringify(noise)};
const noise = new Noise(() => false);
const grownFrom = () => { Bun.gc(true); return process.memoryUsage.rss(); };
const before = grownFrom();
let made = 0;
for (let rule = 0; rule < 2000; rule++)
  for (let subject = 0; subject < 10; subject++) {
    const exe = Buffer.from("/opt/" + made++ + "\\u4e00".repeat(4000)).toString();
    noise.sift([{ id: "rule-" + rule, alerts: true, score: 1 }], { type: "process.exec", device: "gw-1" }, { receivedMs: 1e12 }, () => exe);
  }
console.log((grownFrom() - before) / 2 ** 20);
noise.take();
`;

test("a device that reports hits of invented rules on long names takes a few megabytes of the detector, not hundreds", () => {
  const child = Bun.spawnSync([process.execPath, "-e", script], { stdout: "pipe", stderr: "pipe" });
  expect(child.stderr.toString()).toBe("");
  expect(Number(child.stdout.toString())).toBeLessThan(60);
});
