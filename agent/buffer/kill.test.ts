// A real process, really killed while it writes, many times over the same file.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { EventBuffer } from "./buffer.ts";
import { mirrorPath } from "./mirror.ts";
import { boot } from "./testing/events.ts";

const ROUNDS = 12;

test(`kill -9 while writing, ${ROUNDS} times: nothing that was seen is lost, all is free again, and every number is accounted for`, async () => {
  const dir = mkdtempSync(join(tmpdir(), "pkagt-kill-"));
  const path = join(dir, "buffer.db");
  const mirror = mirrorPath(basename(dir)) ?? join(dir, "mirror.tail");
  const durable = new Map<string, number>();
  const acked = new Set<string>();
  try {
    for (let round = 0; round < ROUNDS; round++) {
      const epoch = `kill${String(round).padStart(4, "0")}`;
      const lines = await killedWriter([path, epoch, mirror], 120 + round * 37);
      for (const line of lines) {
        const [what, a = "", b = ""] = line.split(" ");
        if (what === "durable") durable.set(epoch, Number(a));
        if (what === "acked") for (const seq of b.split(",")) acked.add(`${a}:${seq}`);
      }
    }
    using buffer = new EventBuffer({ path, mirror, maxEvents: 1e6, maxBytes: 1e9, epoch: { epoch: "reader00", boot, device: "pi" } });
    const found = new Set<string>();
    for (let lease = buffer.lease({ events: 500, bytes: 1e6 }); lease; lease = buffer.lease({ events: 500, bytes: 1e6 }))
      for (const event of lease.events) {
        expect(found.has(`${event.epoch}:${event.seq}`)).toBe(false);
        found.add(`${event.epoch}:${event.seq}`);
      }
    expect(durable.size).toBe(ROUNDS);
    for (const [epoch, last] of durable)
      for (let seq = 0; seq <= last; seq++) {
        const id = `${epoch}:${seq}`;
        expect(found.has(id) || acked.has(id), `${id} was durable and is gone`).toBe(true);
      }
    expect(buffer.size().events).toBe(found.size);
    expect(buffer.takeLost()).toEqual([]);
    expect(buffer.lostByEpoch()).toEqual([]);
    for (const [epoch, , next] of buffer.epochs().slice(0, -1))
      for (let seq = 0; seq < next; seq++)
        expect(found.has(`${epoch}:${seq}`) || acked.has(`${epoch}:${seq}`), `${epoch}:${seq}`).toBe(true);
  } finally {
    rmSync(dir, { recursive: true, force: true });
    rmSync(mirror, { force: true });
  }
});

/** Starts the writer, kills it with SIGKILL after it printed `lines` lines, and returns every complete line it printed. */
async function killedWriter(args: readonly string[], lines: number): Promise<string[]> {
  const child = Bun.spawn([process.execPath, new URL("testing/writer.ts", import.meta.url).pathname, ...args], {
    stdout: "pipe",
    stderr: "inherit",
  });
  let text = "";
  let seen = 0;
  for await (const chunk of child.stdout) {
    const part = new TextDecoder().decode(chunk);
    text += part;
    seen += part.split("\n").length - 1;
    if (seen >= lines) child.kill("SIGKILL");
  }
  expect(await child.exited).not.toBe(0);
  return text.slice(0, text.lastIndexOf("\n")).split("\n");
}
