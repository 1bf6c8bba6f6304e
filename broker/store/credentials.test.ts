import { expect, test } from "vitest";
import { Credentials } from "./credentials.ts";
import { openStore } from "./schema.ts";

test("a token finds its operator until it is revoked", () => {
  const credentials = new Credentials(openStore(":memory:"));
  const anna = credentials.create("anna", 1);
  const ben = credentials.create("ben", 2);
  expect(credentials.find(anna)?.name).toBe("anna");
  const { id } = credentials.find(ben)!;
  expect(credentials.revoke("ben", 3)).toBe(1);
  expect(credentials.find(ben)).toBeUndefined();
  expect(credentials.isValid(id)).toBe(false);
  expect(credentials.find(anna)?.name).toBe("anna");
});

test.each(["", "picket_", "x".repeat(300)])("%j is nobody's token", (token) => {
  const credentials = new Credentials(openStore(":memory:"));
  credentials.create("anna", 1);
  expect(credentials.find(token)).toBeUndefined();
});

test("the database does not hold what lets somebody in", () => {
  const store = openStore(":memory:");
  const token = new Credentials(store).create("anna", 1);
  const dump = JSON.stringify(store.db.query("SELECT * FROM credentials").all());
  expect(dump).not.toContain(token.slice(7, 20));
  expect(Buffer.from(store.db.serialize()).includes(token)).toBe(false);
});
