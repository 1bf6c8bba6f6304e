import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { BrokerConfig } from "./config.ts";
import { countAlerts, judgeAlert, listAlerts, trimAlerts, upsertAlert } from "./store/alerts.ts";
import { trimCommands } from "./store/commands.ts";
import type { Store } from "./store/database.ts";
import { appendBatch, logTotals } from "./store/log.ts";
import { openStore } from "./store/schema.ts";
import { detection } from "./testing/samples.ts";
import { trim } from "./trim.ts";

const alert = (store: Store, nowMs: number, closed: boolean): string => {
  const made = detection({ lastMs: nowMs });
  store.commitNow(() => upsertAlert(store, made, "", nowMs));
  if (closed) judgeAlert(store, made.id, { status: "closed" }, { operator: "anna", nowMs });
  return made.id;
};

test("closed alerts go by age and by number, the oldest first; one that nobody closed stays whatever its age", () => {
  using store = openStore(":memory:");
  const open = [1, 2, 3].map((ms) => alert(store, ms, false));
  const closed = [4, 5, 6, 7].map((ms) => alert(store, ms, true));
  const run = (of: { beforeMs: number; keepCount: number }) => store.commitNow(() => trimAlerts(store, { ...of, limit: 100 }));
  const left = () => new Set(listAlerts(store, { limit: 100 }).map(({ id }) => id));
  expect(run({ beforeMs: 5, keepCount: 100 })).toBe(1);
  expect(left()).toEqual(new Set([...open, ...closed.slice(1)]));
  expect(run({ beforeMs: 0, keepCount: 5 })).toBe(1);
  expect(left()).toEqual(new Set([...open, ...closed.slice(2)]));
  expect(run({ beforeMs: 0, keepCount: 1 })).toBe(2);
  expect(left()).toEqual(new Set(open));
  expect(countAlerts(store)).toBe(3);
  expect(store.db.query("SELECT count FROM alerts_let_go").get()).toEqual({ count: 4 });
});

test("commands that are over go with age; what operators want of a device and each key's highest counter stay", () => {
  using store = openStore(":memory:");
  const add = (ctr: number, act: string, state: string) =>
    store.db.run(
      "INSERT INTO commands (jti, device, act, kid, ctr, operator, jws, state, createdMs, expiresMs) VALUES (?, 'gw-1', ?, 'k', ?, 'anna', 'x', ?, ?, 1)",
      [`j${ctr}`, act, ctr, state, ctr],
    );
  add(1, "isolate", "answered");
  add(2, "kill", "answered");
  add(3, "isolate", "answered");
  add(4, "kill", "expired");
  add(5, "kill", "waiting");
  add(6, "kill", "answered");
  expect(store.commitNow(() => trimCommands(store, { beforeMs: 100, limit: 100 }))).toBe(3);
  expect(store.db.query("SELECT ctr FROM commands ORDER BY ctr").values().flat()).toEqual([3, 5, 6]);
});

test.each([
  ["small batches", 260],
  ["large batches", 6000],
])("log.keepBytes bounds the file itself, also with %s: what is let go is filled again", async (_, bytes) => {
  const dir = mkdtempSync(join(tmpdir(), "pkbrk-trim-"));
  try {
    using store = openStore(join(dir, "site.db"));
    const keepBytes = 2 << 20;
    const config = BrokerConfig.parse({ log: { keepBytes } });
    let seq = 0;
    const sizes: number[] = [];
    for (let round = 0; round < 8; round++) {
      store.commitNow(() => {
        for (let n = 0; n < (1 << 20) / bytes; n++, seq += 5)
          appendBatch(store, {
            ...{ device: `gw-${n % 5}`, epoch: "epoch000", firstSeq: seq, nextSeq: seq + 5, receivedMs: 1000, count: 5 },
            batch: crypto.getRandomValues(Buffer.alloc(bytes)),
          });
      });
      await trim(store, config, 2000);
      store.db.run("PRAGMA wal_checkpoint(TRUNCATE)");
      sizes.push(statSync(join(dir, "site.db")).size);
    }
    expect(logTotals(store).bytes).toBeLessThanOrEqual(keepBytes);
    // A round comes in before it is let go; the empty schema has about half a megabyte.
    expect(Math.max(...sizes)).toBeLessThan(keepBytes + 2.5 * (1 << 20));
    expect(sizes.at(-1)).toBe(sizes.at(-3));
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
