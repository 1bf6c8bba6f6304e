// Proof that the look at a site after a cut can fail.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { upsertAlert } from "../../broker/store/alerts.ts";
import type { Store } from "../../broker/store/database.ts";
import { advanceCursor } from "../../broker/store/detector.ts";
import { appendBatch } from "../../broker/store/log.ts";
import { openStore } from "../../broker/store/schema.ts";
import type { Detection } from "../../protocol/alert.ts";
import { encodeBatch } from "../../protocol/batch.ts";
import type { SensorEvent } from "../../protocol/event.ts";
import { alertId } from "../../protocol/uuid5.ts";
import { openDiary } from "../chaos/diary.ts";
import { afterCut } from "./after.ts";

const EPOCH = "aaaaaaaa";
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-after-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const change = (how: (store: Store) => void) => {
  using store = openStore(join(dir, "site.db"));
  store.commitNow(() => how(store));
};
const append = (firstSeq: number, count: number) => (store: Store) => {
  const events = Array.from(
    { length: count },
    (_, at): SensorEvent => ({
      ...{ v: 1, device: "d", epoch: EPOCH, seq: firstSeq + at, timeMs: 1, type: "log.line" },
      body: { source: "s", message: "m" },
    }),
  );
  const batch = encodeBatch({ boot: "0b3a1c52-6f0e-4f60-9c7e-1d1f0f3a7c11", oldest: 0, events });
  appendBatch(store, { device: "d", epoch: EPOCH, firstSeq, nextSeq: firstSeq + count, receivedMs: 1, count, batch });
};
const alert = (changes: Partial<Detection> & { anchor: string }) => (store: Store) => {
  const { anchor, ...rest } = changes;
  const detection: Detection = {
    ...{ id: alertId({ site: "s", rule: "r", device: "d", group: "", anchor }), site: "s", device: "d", timeMs: 1 },
    ...{ rule: { id: "r", title: "Mark", engine: "sigma" }, severity: "high", score: 50, attack: { tactics: [], techniques: [] } },
    ...{ events: [`d:${EPOCH}:1`], tree: [], summary: "s", count: 1, firstMs: 1, lastMs: 1, revision: 0 },
    ...rest,
  };
  upsertAlert(store, detection, "", 1);
};
function acknowledged(...seqs: number[]): void {
  using diary = openDiary(join(dir, "diary"));
  diary.epoch(EPOCH, 1);
  diary.acknowledged(EPOCH, seqs);
}
const look = (before?: ReturnType<typeof afterCut>["books"]) => afterCut(dir, [{ name: "d", diary: join(dir, "diary") }], before);

test("a site that has all it acknowledged, and perhaps more, is as it should be", () => {
  change(append(0, 3));
  change(alert({ anchor: "a" }));
  acknowledged(0, 1);
  const first = look();
  expect(first.differences).toEqual([]);
  change(append(3, 2));
  change(alert({ anchor: "a", events: [`d:${EPOCH}:1`, `d:${EPOCH}:3`], count: 2, revision: 1 }));
  expect(look(first.books).differences).toEqual([]);
});

test("found: an acknowledged event that is gone, and one that is there twice", () => {
  change(append(0, 3));
  change(append(2, 1));
  acknowledged(0, 5);
  expect(look().differences).toEqual([`d:${EPOCH}:2 is in the log twice`, `d:${EPOCH}:5 was acknowledged and is not in the log`]);
});

test("found: an alert about an event that is not in the log, and two alerts about one", () => {
  change(append(0, 3));
  change(alert({ anchor: "a" }));
  change(alert({ anchor: "b" }));
  change(alert({ anchor: "c", events: [`d:${EPOCH}:9`] }));
  const wrong = look().differences.join("\n");
  expect(wrong).toMatch(`d:${EPOCH}:1 is in two alerts of the rule Mark`);
  expect(wrong).toMatch(/alert \S+ names d:aaaaaaaa:9, which is not in the log/);
});

test("found: a cursor beyond the log", () => {
  change(append(0, 3));
  change((store) => advanceCursor(store, { next: 100, read: 0, refused: 0 }));
  expect(look().differences).toEqual(["the detector's cursor is at 100, and the log ends at 2"]);
});

test("found: an alert, a batch or a cursor that was there at the cut before", () => {
  change(append(0, 3));
  change(alert({ anchor: "a", count: 2 }));
  change((store) => advanceCursor(store, { next: 2, read: 0, refused: 0 }));
  const { books } = look();
  change(({ db }) => {
    db.run("DELETE FROM alerts");
    db.run("DELETE FROM log");
    db.run("DELETE FROM sqlite_sequence WHERE name = 'log'");
    db.run("UPDATE detector SET cursor = 1");
  });
  expect(look(books).differences).toEqual([
    "the log ended at 2 and ends at 1",
    "the detector was at 2 and is at 1",
    expect.stringMatching(/^alert \S+ had 2 events, now 0$/),
  ]);
});
