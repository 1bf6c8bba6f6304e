import { expect, test } from "vitest";
import * as z from "zod";
import { type RouteName, routes } from "./rest.ts";

const table = Object.entries(routes) as [RouteName, (typeof routes)[RouteName]][];

test("only health, the CA, enrolment, renewal and the installer are open, and a mesh peer's invitation", () => {
  expect(table.filter(([, route]) => route.auth === "open").map(([name]) => name)).toEqual([
    "health",
    "ca",
    "enroll",
    "renew",
    "trust",
    "release",
    "meshPeer",
  ]);
});

test.each(table)("%s: parameters in the path are those in the schema, and all of it has a JSON schema", (_, route) => {
  const inPath = [...route.path.matchAll(/:(\w+)/g)].map((match) => match[1]);
  expect(Object.keys(route.params.shape)).toEqual(inPath);
  for (const schema of [route.response, route.query, route.body ?? z.object({})])
    expect(z.toJSONSchema(schema, { io: "input", unrepresentable: "throw" })).toBeTruthy();
});
