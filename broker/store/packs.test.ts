import { COMMAND_TYP } from "@picket/protocol/command";
import { beforeAll, expect, test } from "vitest";
import { type Keyring, makeKeyring, makeSigner, SITE, signKeyList, signPack } from "../testing/samples.ts";
import { Keys } from "./keys.ts";
import { Packs } from "./packs.ts";
import { openStore } from "./schema.ts";

let keyring: Keyring;
beforeAll(async () => {
  keyring = await makeKeyring();
});
const NOW = 1_800_000_000_000;

async function site(may?: Parameters<typeof signKeyList>[1]["may"]) {
  const store = openStore(":memory:");
  const keys = new Keys(store, { site: SITE, anchor: keyring.anchor });
  await keys.put(await signKeyList(keyring, { version: 3, ...(may ? { may } : {}) }), "anna", 1);
  return new Packs(store, { site: SITE, keys: () => keys.current()?.list, knows: (device) => device === "gw-014" });
}

test("the newest of each target is kept, and a device is given those for it", async () => {
  const packs = await site();
  const first = await signPack(keyring);
  expect(await packs.put(first, "anna", NOW)).toMatchObject({
    kind: "settings",
    dev: "*",
    version: 1,
    jws: first,
    operator: "anna",
    putMs: NOW,
  });
  const second = await signPack(keyring, { version: 2, payload: { metricsS: 20 } });
  await packs.put(second, "anna", NOW);
  const own = await signPack(keyring, { dev: "gw-014", version: 1 });
  await packs.put(own, "anna", NOW);
  expect(packs.list().map(({ dev, version }) => [dev, version])).toEqual([
    ["*", 2],
    ["gw-014", 1],
  ]);
  expect(packs.forDevice("gw-014").map(({ jws }) => jws)).toEqual([second, own]);
  expect(packs.forDevice("gw-015").map(({ jws }) => jws)).toEqual([second]);
});

test("versions only rise; the current pack again is no error", async () => {
  const packs = await site();
  const jws = await signPack(keyring, { version: 5 });
  await packs.put(jws, "anna", NOW);
  expect(await packs.put(jws, "ben", NOW + 1)).toMatchObject({ version: 5, operator: "anna" });
  for (const version of [5, 4])
    await expect(packs.put(await signPack(keyring, { version, payload: {} }), "anna", NOW)).rejects.toThrow(/not newer than version 5/);
});

test("a version that uses up all others is refused", async () => {
  const packs = await site();
  await packs.put(await signPack(keyring), "anna", NOW);
  await expect(packs.put(await signPack(keyring, { version: 2 ** 39 }), "anna", NOW)).rejects.toThrow(/more than 1000000 above version 1/);
  await expect(packs.put(await signPack(keyring, { version: 2 ** 41 }), "anna", NOW)).rejects.toThrow(/not a signed pack/);
});

test("two of the same version at the same time: one is kept", async () => {
  const packs = await site();
  const both = await Promise.all([signPack(keyring), signPack(keyring, { payload: { metricsS: 20 } })]);
  const results = await Promise.allSettled(both.map((jws) => packs.put(jws, "anna", NOW)));
  expect(results.map(({ status }) => status).toSorted()).toEqual(["fulfilled", "rejected"]);
});

test.each<[string, () => Promise<string>, RegExp]>([
  ["a command's typ", () => signPack(keyring, { typ: COMMAND_TYP }), /not a signed pack: header typ/],
  ["a stranger's signature", async () => signPack(keyring, { by: await makeSigner() }), /signature does not match/],
  ["the root's signature", () => signPack(keyring, { by: keyring.root }), /signature does not match/],
  ["a key nobody listed", () => signPack(keyring, { kid: "nobody" }), /not in key list version 3/],
  ["another site", () => signPack(keyring, { site: "yard" }), /for site "yard"/],
  ["a device there is not", () => signPack(keyring, { dev: "gw-999" }), /no device "gw-999"/],
  ["a kind nobody knows", () => signPack(keyring, { kind: "wallpaper" }), /no packs of the kind "wallpaper"/],
  ["a setting nobody knows", () => signPack(keyring, { payload: { wallpaper: 1 } }), /wallpaper: not a setting/],
  ["a value that would blind devices", () => signPack(keyring, { payload: { canaryS: 86_400 } }), /canaryS: takes 10 to 300/],
  ["an expiry that is over", () => signPack(keyring, { exp: NOW / 1000 - 1 }), /already expired/],
  ["a claim nobody knows", () => signPack(keyring, { payload: {}, ...{ except: "gw-014" } }), /not a signed pack/],
  ["nothing", async () => "x.y.z", /not a signed pack/],
])("a pack with %s is refused", async (_, make, says) => {
  const packs = await site();
  await expect(packs.put(await make(), "anna", NOW)).rejects.toThrow(says);
  expect(packs.list()).toEqual([]);
});

test("an operator whom the key list does not let sign settings is told what to do", async () => {
  const packs = await site(["isolate", "release", "install"]);
  const refused = packs.put(await signPack(keyring), "anna", NOW);
  await expect(refused).rejects.toThrow(/does not let "anna" sign settings/);
  await expect(refused).rejects.toMatchObject({ kind: "forbidden", hint: expect.stringContaining("picket operator grant settings") });
});
