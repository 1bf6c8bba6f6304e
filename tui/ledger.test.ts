import { expect, test } from "vitest";
import { cellsOf } from "./cells.ts";
import { hoursLine, hoursWords, hourWords, LEGEND, ledgerRows, worstHours } from "./ledger.ts";
import { madeDevice, madeLedger } from "./testing/made-up.ts";
import { presenceWords } from "./words.ts";

const nowMs = 1_700_000_060_000;
const ledger = madeLedger(nowMs);
const empty = { totals: { ...madeLedger(nowMs).totals, caused: 0, stored: 0 }, hours: [] };

test("the last day is one cell an hour, readable without color, and never rounded up", () => {
  expect(hoursWords(ledger, nowMs)).toBe("······████████▁▃▅▇▆×▃??█");
  expect(hoursWords(empty, nowMs)).toBe("·".repeat(24));
  for (const line of [hoursLine(ledger, nowMs), LEGEND]) expect(cellsOf(line) + 15).toBeLessThanOrEqual(80);
});

test("losses come first, the worst before the others, and the sum of all last", () => {
  expect(ledgerRows(ledger).map(({ name }) => name)).toEqual([
    "unexplained",
    "evicted",
    "refused",
    "power",
    "kernel",
    "shed",
    "waiting",
    "stored",
    "caused",
  ]);
  expect(ledgerRows(ledger).find(({ name }) => name === "evicted")?.words).toMatch(/full buffer.*\(2 with hits of rules\)/);
  const [caused, ...others] = ledgerRows(ledger).reverse();
  expect(others.reduce((sum, { count }) => sum + count, 0)).toBe(caused!.count);
});

test("the worst hours are named, and what was lost in them", () => {
  const [worst, next] = worstHours(ledger, 2);
  expect(hourWords(worst!)).toBe("0 %, 1000 lost: 1000 dropped from its full buffer");
  expect(hourWords(next!)).toBe("10 %, 90 lost: 90 dropped in the kernel");
});

test.each([
  ["agent killed, last seen 3 min ago", { away: { how: "killed", sinceMs: 1 } }],
  ["host or network lost, last seen 3 min ago", { away: { how: "lost", sinceMs: 1 } }],
  ["offline, last seen 3 min ago", { away: { how: "silent", sinceMs: 1 } }],
  ["offline, last seen 3 min ago", {}],
  ["agent stopped, last seen 3 min ago", { presence: "stopped", away: { how: "stopped", sinceMs: 1 } }],
  ["part of a blackout of 23, last seen 3 min ago", { away: { how: "lost", sinceMs: 1, blackout: { devices: 23, back: 0 } } }],
  [
    "part of a blackout of 23 (4 are back), last seen 3 min ago",
    { away: { how: "killed", sinceMs: 1, blackout: { devices: 23, back: 4 } } },
  ],
] as const)("a device that is away says how it went: %s", (words, over) => {
  expect(presenceWords(madeDevice("a", { presence: "offline", lastSeenMs: nowMs - 190_000, ...over }), nowMs)).toBe(words);
});
