// Proof that the balance of a device can fail: a sheet that never complains proves nothing.
import { expect, test } from "vitest";
import type { SensorEvent } from "../../protocol/event.ts";
import type { LedgerTerms } from "../../protocol/ledger.ts";
import type { Books } from "../chaos/books.ts";
import { accountDevice, type DeviceCut } from "./balance.ts";

const EPOCH = "aaaaaaaa";
const deed = (seq: number, nth: number, epoch = EPOCH): SensorEvent => ({
  ...{ v: 1, device: "d", epoch, seq, timeMs: 1, type: "process.exec" },
  body: { process: { pid: 9, startTicks: 1, ppid: 1, uid: 0, exe: "/bin/true", argv: ["/bin/true", `deed-boot-${nth}`] } },
});
const lost = (seq: number, count: number): SensorEvent => ({
  ...{ v: 1, device: "d", epoch: "bbbbbbbb", seq, timeMs: 1, type: "sensor.lost" },
  body: { collector: "buffer", where: "buffer", count, epoch: EPOCH, atMost: true },
});
const terms = (of: Partial<LedgerTerms>): LedgerTerms => ({
  ...{ caused: 0, stored: 0, kernel: 0, shed: 0, evicted: 0, power: 0, refused: 0, unexplained: 0, waiting: 0 },
  ...of,
});
const books = (events: readonly SensorEvent[], ledger: Partial<LedgerTerms>, numbered: Record<string, number>): Books => ({
  ...{ events: new Map([["d", events]]), unreadable: 0, alerts: [], cursor: 1, nextOffset: 1, deadLetters: [] },
  ledger: () => terms({ stored: events.length, ...ledger }),
  numbered: (_, epoch) => numbered[epoch] ?? 0,
});
const cut = (of: Partial<DeviceCut>): DeviceCut => ({
  ...{ boot: "boot", startMs: 1, isDeaf: false, disk: { unflushed: 0, lost: 0, torn: 0 }, onDisk: new Set() },
  deeds: [0, 1, 2, 3].map((nth) => ({ nth, atS: 100 + nth })),
  ...of,
});
const account = (durability: "balanced" | "strict", one: DeviceCut, all: Books) =>
  accountDevice({ device: "d", durability, cuts: [one] }, all);

// Deeds 0 to 3 were done; 2 and 3 are lost, and the device told of at most four.
const told = [deed(0, 0), deed(1, 1), lost(0, 4)];
const fair = books(told, { power: 4 }, { [EPOCH]: 6, bbbbbbbb: 1 });

test("what the device said it may have lost balances, and the cost is told", () => {
  const { differences, costs, row } = account("balanced", cut({}), fair);
  expect(differences).toEqual([]);
  expect(costs).toEqual([{ deeds: 2, seconds: 1 }]);
  expect(row).toMatchObject({ caused: 7, stored: 3, lost: { power: 4 }, unexplained: 0, duplicates: 0 });
});

test.each<[string, RegExp, DeviceCut, Books]>([
  [
    "more lost than the bound",
    /lacks 4 numbers, and the device said at most 3/,
    cut({}),
    books([deed(0, 0), deed(1, 1), lost(0, 3)], { power: 4 }, { [EPOCH]: 6, bbbbbbbb: 1 }),
  ],
  [
    "a number nobody accounts for",
    /aaaaaaaa:5 is neither stored nor counted/,
    cut({}),
    books(told, { power: 3 }, { [EPOCH]: 6, bbbbbbbb: 1 }),
  ],
  ["what was on the disk and never came", /aaaaaaaa:2 was on the disk after the cut/, cut({ onDisk: new Set(["aaaaaaaa:2"]) }), fair],
  ["an event twice", /aaaaaaaa:1 is in the log twice/, cut({}), books([...told, deed(1, 1)], { power: 4 }, { [EPOCH]: 6, bbbbbbbb: 1 })],
  [
    "a deed twice",
    /deed 1 of boot was done once, and is told 2 times/,
    cut({}),
    books([...told, deed(2, 1)], { power: 3 }, { [EPOCH]: 6, bbbbbbbb: 1 }),
  ],
  [
    "deeds of long ago",
    /cut 1 cost 2 deeds, of the last 60.0 s/,
    cut({ deeds: [0, 1, 2, 3].map((nth) => ({ nth, atS: nth * 60 })) }),
    fair,
  ],
  [
    "a ledger that says too much",
    /4 numbers are missing, and the ledger counts 5/,
    cut({}),
    books(told, { power: 5 }, { [EPOCH]: 6, bbbbbbbb: 1 }),
  ],
])("found: %s", (_, what, one, all) => {
  expect(account("balanced", one, all).differences.join("\n")).toMatch(what);
});

test("strict allows no number to be missing before one that is stored; balanced does", () => {
  const gap = books([deed(0, 0), deed(2, 2), lost(0, 4)], { power: 4 }, { [EPOCH]: 6, bbbbbbbb: 1 });
  expect(account("balanced", cut({}), gap).differences).toEqual([]);
  expect(account("strict", cut({}), gap).differences).toEqual(["run aaaaaaaa lacks 1, and later ones are stored: it was strict"]);
  expect(account("strict", cut({}), fair).differences).toEqual([]);
});
