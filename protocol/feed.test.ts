import { expect, test } from "vitest";
import { decodeData, encodeData, encodePiece } from "./feed.ts";

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

const sha256 = "0f".repeat(32);

test("a piece of a sample and what is known of a file cross the feed", () => {
  const piece = { kind: "sample", session: "s", sha256, size: 5, offset: 1 } as const;
  const bytes = Buffer.from([10, 0, 255, 10]);
  expect(decodeData(encodePiece(piece, bytes))).toEqual({ piece, bytes });
  const verdict = { sha256, pack: "p", matches: [] };
  const sightings = [{ device: "gw-1", sha256, path: "/tmp/x", executed: true, event: "gw-1:abcdefgh:1", timeMs: 1 }];
  const news = { kind: "verdict" as const, session: "s", verdict, sightings };
  expect(decodeData(Buffer.from(JSON.stringify(news)))).toEqual({ news });
});
