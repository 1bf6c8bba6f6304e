import { expect, test } from "vitest";
import * as z from "zod";
import { alertId, uuid5 } from "./uuid5.ts";

const of = { site: "north", rule: "r", device: "d", group: "g", anchor: "d:k3m9x0qa:1" };

test("is a UUID of version 5", () => {
  expect(z.uuid({ version: "v5" }).safeParse(alertId(of)).success).toBe(true);
});

test("the same alert has the same id; any part that differs makes another", () => {
  expect(alertId({ ...of })).toBe(alertId(of));
  const ids = (Object.keys(of) as (keyof typeof of)[]).map((key) => alertId({ ...of, [key]: "other" }));
  expect(new Set([...ids, alertId(of)]).size).toBe(6);
});

test("parts do not run into each other", () => {
  expect(uuid5("a", "bc")).not.toBe(uuid5("ab", "c"));
});
