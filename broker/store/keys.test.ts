import { COMMAND_TYP } from "@picket/protocol/command";
import { beforeAll, expect, test } from "vitest";
import { type Keyring, makeKeyring, makeSigner, SITE, signKeyList } from "../testing/samples.ts";
import { Keys } from "./keys.ts";
import { openStore } from "./schema.ts";

let keyring: Keyring;
beforeAll(async () => {
  keyring = await makeKeyring();
});
const site = () => new Keys(openStore(":memory:"), { site: SITE, anchor: keyring.anchor });

test("a list signed by the root is kept, and is the current one", async () => {
  const keys = site();
  expect(keys.current()).toBeUndefined();
  const jws = await signKeyList(keyring, { version: 3 });
  expect(await keys.put(jws, "anna", 1)).toEqual({ version: 3 });
  expect(keys.current()).toMatchObject({ version: 3, jws, list: { keys: [{ name: "anna" }] } });
});

test("the recovery key may sign too", async () => {
  const keys = site();
  await keys.put(await signKeyList(keyring, { version: 1, by: keyring.recovery }), "anna", 1);
  expect(keys.current()?.version).toBe(1);
});

test("versions only rise; the current list again is no error", async () => {
  const keys = site();
  const jws = await signKeyList(keyring, { version: 5 });
  await keys.put(jws, "anna", 1);
  expect(await keys.put(jws, "anna", 2)).toEqual({ version: 5 });
  await expect(keys.put(await signKeyList(keyring, { version: 5, may: [] }), "anna", 2)).rejects.toThrow(/not newer than version 5/);
  await expect(keys.put(await signKeyList(keyring, { version: 4 }), "anna", 2)).rejects.toThrow(/not newer than version 5/);
  expect(keys.current()?.jws).toBe(jws);
});

test("two lists of the same version at the same time: one is kept", async () => {
  const keys = site();
  const both = await Promise.all([signKeyList(keyring, { version: 2 }), signKeyList(keyring, { version: 2, may: [] })]);
  const results = await Promise.allSettled(both.map((jws) => keys.put(jws, "anna", 1)));
  expect(results.map((result) => result.status).sort()).toEqual(["fulfilled", "rejected"]);
});

test.each([
  ["an operator's own key", async () => signKeyList(keyring, { version: 1, by: keyring.operator }), /neither by this site's operator root/],
  ["a stranger's key", async () => signKeyList(keyring, { version: 1, by: await makeSigner() }), /neither by this site's operator root/],
  [
    "the root, but as a command",
    async () => signKeyList(keyring, { version: 1, typ: COMMAND_TYP }),
    /neither by this site's operator root/,
  ],
  ["the root, for another site", async () => signKeyList(keyring, { version: 1, site: "yard" }), /for site "yard"/],
  ["the root, but no list", async () => keyring.root.sign("picket-keys+jws", { site: SITE }), /not a key list/],
  ["nobody", async () => "x.y.z", /neither by this site's operator root/],
])("a list signed by %s is refused", async (_, make, says) => {
  const keys = site();
  await expect(keys.put(await make(), "anna", 1)).rejects.toThrow(says);
  expect(keys.current()).toBeUndefined();
});
