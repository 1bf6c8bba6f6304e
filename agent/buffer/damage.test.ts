// Real damage to real files, at many places: the agent starts, says so, counts what it knows to be lost, and goes on.
import { execFileSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Online } from "@picket/protocol/status";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { EventBuffer } from "./buffer.ts";
import { leftBy, type Place, placeIn } from "./testing/copy.ts";
import { boot, hit, plain, result } from "./testing/events.ts";

const MADE = 300;
const OLD = "aaaaaaaa";
const NEW = "bbbbbbbb";
let dir: string;
/** A file with events of a run that was cut off, its write-ahead log not empty. */
let whole: Place;
let copies = 0;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "pkagt-damage-"));
  whole = placeIn(join(dir, "whole"));
  const writing = placeIn(join(dir, "writing"));
  using buffer = new EventBuffer({ path: writing.path, maxEvents: 1000, maxBytes: 1e8, epoch: { epoch: OLD, boot, device: "pi" } });
  for (let seq = 0; seq < MADE; seq++) {
    buffer.append(
      seq % 10 === 3 ? hit(OLD, seq) : seq % 50 === 7 ? result(OLD, seq) : plain(OLD, seq, `line ${seq} ${"x".repeat(seq % 400)}`),
    );
    if (seq % 20 === 0) buffer.flush();
  }
  buffer.flush();
  leftBy(writing, whole, true);
});
afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

function copyOfWhole(): Place {
  const place = placeIn(join(dir, `copy-${copies++}`));
  leftBy(whole, place, true);
  return place;
}

/** Opens what was damaged, adds three events, sends all, and checks what is said of it. Returns how many of the old events came. */
function survives(place: Place) {
  const troubles: (string | undefined)[] = [];
  using buffer = new EventBuffer({
    path: place.path,
    maxEvents: 1000,
    maxBytes: 1e8,
    epoch: { epoch: NEW, boot, device: "pi" },
    onTrouble: (why) => troubles.push(why),
  });
  for (const event of [plain(NEW, 0), hit(NEW, 1), result(NEW, 2)]) buffer.append(event);
  buffer.flush();
  const came = new Set<string>();
  for (let tries = 0, empty = 0; empty < 2 && tries < 1000; tries++) {
    const lease = buffer.lease({ events: 50, bytes: 1e6 });
    // A damaged page is found while reading: what was in memory goes on from a new file.
    if (!lease) {
      empty++;
      buffer.flush();
      continue;
    }
    for (const { epoch, seq } of lease.events) {
      expect(came.has(`${epoch}:${seq}`)).toBe(false);
      came.add(`${epoch}:${seq}`);
    }
    buffer.ack(lease);
  }
  buffer.flush();
  const old = [...came].filter((id) => id.startsWith(OLD)).length;
  const epochs = Online.shape.epochs.parse(buffer.epochs());
  const lost = new Map(buffer.lostByEpoch().map(([epoch, sure, atMost]) => [epoch, sure + atMost]));
  Online.shape.bufferLost.parse({ by: { plain: 0, hit: 0, result: 0 }, epochs: buffer.lostByEpoch() });
  expect(buffer.size()).toEqual({ events: 0, bytes: 0 });
  expect([...came].filter((id) => id.startsWith(NEW)).length + (lost.get(NEW) ?? 0)).toBe(3);
  const told = epochs.find(([epoch]) => epoch === OLD);
  return { old, lost: lost.get(OLD) ?? 0, next: told?.[2], troubles };
}

/** Every event of the old run came, or is lost and counted; or nothing is known of it, and that is said. */
function accounted({ old, lost, next, troubles }: ReturnType<typeof survives>): void {
  if (next === undefined) expect(troubles[0], "what was held is unknown, and that is not said").toMatch(/damaged/);
  else expect(old + lost).toBeGreaterThanOrEqual(MADE);
}

test("the same file without damage gives out everything", () => {
  expect(survives(copyOfWhole())).toMatchObject({ old: MADE, troubles: [] });
});

/** `isCounted`: what is cut off is known to be lost; noise may change the counts themselves, and a log that ends early is an earlier state. */
const property = (name: string, isCounted: boolean, seed: number, damage: (place: Place, where: number, noise: Uint8Array) => void) =>
  test(name, () => {
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), fc.uint8Array({ minLength: 1, maxLength: 600 }), (where, noise) => {
        const place = copyOfWhole();
        damage(place, where, noise);
        const found = survives(place);
        if (isCounted) accounted(found);
      }),
      { seed, numRuns: 25 },
    );
  });

const overwrite = (path: string, where: number, noise: Uint8Array) => {
  const fd = openSync(path, "r+");
  writeSync(fd, noise, 0, noise.length, Math.floor(where * Math.max(0, statSync(path).size - noise.length)));
  closeSync(fd);
};
property("the database cut off anywhere", true, 51, ({ path }, where) => truncateSync(path, Math.floor(where * statSync(path).size)));
property("a database whose log was taken in, cut off anywhere", true, 52, ({ path }, where) => {
  checkpointed(path);
  truncateSync(path, Math.floor(where * statSync(path).size));
});
property("the write-ahead log cut off anywhere", false, 53, ({ path }, where) =>
  truncateSync(`${path}-wal`, Math.floor(where * statSync(`${path}-wal`).size)),
);
property("noise anywhere in the database", false, 54, ({ path }, where, noise) => overwrite(path, where, noise));
property("noise anywhere in the write-ahead log", false, 55, ({ path }, where, noise) => overwrite(`${path}-wal`, where, noise));
property("noise anywhere in a database whose log was taken in", false, 56, ({ path }, where, noise) => {
  checkpointed(path);
  overwrite(path, where, noise);
});
property("a write-ahead log of noise", false, 57, ({ path }, _, noise) => writeFileSync(`${path}-wal`, noise));
property("shared memory of noise", true, 58, ({ path }, _, noise) => writeFileSync(`${path}-shm`, noise));

/** As after a checkpoint: everything is in the database, nothing in the log. */
function checkpointed(path: string): void {
  using buffer = new EventBuffer({ path, maxEvents: 1000, maxBytes: 1e8, epoch: { epoch: "cccccccc", boot, device: "pi" } });
  buffer.flush();
}

test.each<[name: string, put: (place: Place) => void]>([
  ["nothing of it is left but the name", ({ path }) => truncateSync(path, 0)],
  ["a folder lies in its place", ({ path }) => folderAt(path)],
  ["a folder lies in the place of its log", ({ path }) => folderAt(`${path}-wal`)],
  ["a folder lies in the place of its shared memory", ({ path }) => folderAt(`${path}-shm`)],
  ["a link to nowhere lies in its place", ({ path }) => linkAt(path, join(dir, "nowhere"))],
  ["a link to another file lies in its place", ({ path }) => linkAt(path, join(dir, "other"))],
  ["a pipe lies in its place, which nobody writes to", ({ path }) => pipeAt(path)],
  ["the log of another database lies beside it", ({ path }) => strangeLog(path)],
  ["a table is missing", ({ path }) => writeFileSync(path, emptyDatabase(join(dir, "empty.db")))],
])("%s", (_, put) => {
  const place = copyOfWhole();
  writeFileSync(join(dir, "other"), "not ours");
  put(place);
  survives(place);
  // And again, with what the first time left behind.
  put(place);
  survives(place);
  expect(statSync(join(dir, "other")).size).toBe("not ours".length);
  expect(readdirSync(join(place.path, "..")).filter((file) => file.includes("damaged")).length).toBeLessThanOrEqual(1);
});

const clear = (path: string) => rmSync(path, { recursive: true, force: true });
function folderAt(path: string): void {
  clear(path);
  mkdirSync(join(path, "with", "something"), { recursive: true });
}
function linkAt(path: string, target: string): void {
  clear(path);
  symlinkSync(target, path);
}
function pipeAt(path: string): void {
  clear(path);
  execFileSync("mkfifo", [path]);
}
function strangeLog(path: string): void {
  const other = placeIn(join(dir, `other-${copies++}`));
  using buffer = new EventBuffer({ path: other.path, maxEvents: 10, maxBytes: 1e6, epoch: { epoch: "dddddddd", boot, device: "pi" } });
  for (let seq = 0; seq < 5; seq++) buffer.append(plain("dddddddd", seq));
  buffer.flush();
  copyFileSync(`${other.path}-wal`, `${path}-wal`);
}
function emptyDatabase(path: string): Uint8Array {
  if (!existsSync(path))
    execFileSync(process.execPath, ["-e", `new (require("bun:sqlite").Database)(${JSON.stringify(path)}).run("CREATE TABLE x (y)")`]);
  return readFileSync(path);
}
