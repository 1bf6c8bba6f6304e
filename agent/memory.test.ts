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
