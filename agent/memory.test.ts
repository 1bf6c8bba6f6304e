import { expect, test } from "vitest";
import { trimmer } from "./memory.ts";

test("memory is given back after the start, and then only above the limit", () => {
  let rss = 40e6;
  const done: string[] = [];
  const trim = trimmer({ rss: () => rss, collect: () => done.push("collect"), forgetCode: () => done.push("code") });
  trim();
  expect(done.splice(0)).toEqual(["collect", "code"]);
  trim();
  expect(done.splice(0)).toEqual([]);
  rss = 63e6;
  trim();
  expect(done).toEqual(["collect", "code"]);
});

test("what does not help is tried ever more seldom, and at once again when there was enough room in between", () => {
  let rss = 63e6;
  let collections = 0;
  const trim = trimmer({ rss: () => rss, collect: () => collections++, forgetCode: () => {} });
  const collectedAt = (calls: number) =>
    Array.from({ length: calls }, (_, call) => {
      const before = collections;
      trim();
      return collections > before ? [call] : [];
    }).flat();
  expect(collectedAt(100)).toEqual([0, 1, 3, 7, 15, 27, 39, 51, 63, 75, 87, 99]);
  rss = 40e6;
  trim();
  rss = 63e6;
  expect(collectedAt(4)).toEqual([0, 1, 3]);
});
