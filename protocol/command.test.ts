import { expect, test } from "vitest";
import { Action, acts, anchorHash, KeyList, thumbprint } from "./command.ts";

// RFC 8037, appendix A.3: the thumbprint of the example key.
const key = { kty: "OKP", crv: "Ed25519", x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" } as const;

test("thumbprint is that of RFC 8037", () => {
  expect(thumbprint(key)).toBe("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
});

test("root and recovery cannot be swapped in an anchor", () => {
  const other = { ...key, x: "A".repeat(43) };
  expect(anchorHash({ root: key, recovery: other })).not.toBe(anchorHash({ root: other, recovery: key }));
});

test("an unknown action is no action", () => {
  expect(Action.safeParse({ act: "reboot", args: {} }).success).toBe(false);
});

test("a key list may grant every action there is", () => {
  expect(KeyList.safeParse({ site: "north", version: 1, iat: 0, keys: [{ kid: "k", key, name: "a", may: acts }] }).success).toBe(true);
});
