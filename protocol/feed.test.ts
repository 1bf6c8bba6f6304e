import { expect, test } from "vitest";
import { decodeData, encodeData } from "./feed.ts";

test("a batch crosses the feed unchanged", () => {
  const batch = Buffer.from([0, 10, 255, 10]);
  const header = { kind: "batch", session: "s", offset: 7, receivedMs: 1 } as const;
  expect(decodeData(encodeData(header, batch))).toEqual({ header, batch });
});

test("a state is told from a batch", () => {
  const state = { kind: "state", session: "s", cursor: 0, open: [], seen: [], last: true };
  expect(decodeData(Buffer.from(JSON.stringify(state)))).toEqual({ state });
});

test.each(["", "{}", "{\nx"])("%j is neither", (text) => {
  expect(() => decodeData(Buffer.from(text))).toThrow();
});
