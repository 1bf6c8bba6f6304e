import { expect, test } from "vitest";
import { different, Tally } from "./tallies.ts";

const at = (of: string) => ({ of, timeMs: 1000, receivedMs: 1000 });

test("what is counted is kept short however long it is, and told apart", () => {
  const tally = new Tally(60_000, 64);
  const long = "x".repeat(4000);
  for (const name of [`${long}1`, `${long}2`, `${long}1`, "short"]) tally.add(long, at(name));
  const kept = tally.add(long, at("/srv/a.doc"));
  expect(different(kept)).toBe(4);
  expect(kept.filter(({ of }) => String(of).length > 64)).toEqual([]);
});
