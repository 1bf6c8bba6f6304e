import { COMMAND_TYP, KEYS_TYP, KeyList } from "@picket/protocol/command";
import { MAX_PACK_CHARS } from "@picket/protocol/pack";
import { expect, test } from "vitest";
import { newOperators, newPair, sign } from "../response/testing/operator.ts";
import { pack } from "./testing/sign.ts";
import { type Known, verifyPack } from "./verify.ts";

const operators = await newOperators();
const { anna, root } = operators;
const [ben, eve] = [await newPair(), await newPair()];
const entry = (pair: typeof anna, name: string, may: string[]) => ({ kid: pair.kid, key: pair.key, name, may });
const keys = KeyList.parse({
  site: "lab",
  version: 3,
  iat: 1,
  keys: [entry(anna, "anna", ["settings"]), entry(ben, "ben", ["isolate", "release", "install"])],
});
const nowMs = Date.now();
const nowS = Math.floor(nowMs / 1000);
const hashOf = (jws: string) => new Bun.CryptoHasher("sha256").update(jws).digest("base64url");
const fourth = await pack(anna, { version: 4 });
const known: Known = {
  site: "lab",
  device: "kiosk-1",
  keys,
  kinds: ["settings"],
  highest: (_, dev) => (dev === "*" ? { version: 4, hash: hashOf(fourth) } : undefined),
  nowMs,
};
const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const swap = (jws: string, index: 0 | 1 | 2, value: string) => jws.split(".").with(index, value).join(".");

test.each<[string, Record<string, unknown>]>([
  ["for the whole site, with a higher version", { version: 5 }],
  ["for this device, whose versions rise by themselves", { dev: "kiosk-1", version: 1 }],
  ["that has not expired", { version: 5, exp: nowS + 60 }],
])("a pack of a listed operator %s is taken", async (_, of) => {
  expect(await verifyPack(await pack(anna, of), known)).toMatchObject({ ok: true, again: false, claims: { kind: "settings", ...of } });
});

test("the pack it has already is known as that, also after it expired", async () => {
  expect(await verifyPack(fourth, known)).toMatchObject({ ok: true, again: true });
  const short = await pack(anna, { version: 4, exp: nowS - 5 });
  expect(await verifyPack(short, { ...known, highest: () => ({ version: 4, hash: hashOf(short) }) })).toMatchObject({
    ok: true,
    again: true,
  });
});

const five = await pack(anna, { version: 5 });
test.each<[string, string | Promise<string>, string, string]>([
  ["an operator nobody listed", pack(eve, { version: 5 }), "unknown-key", "pack"],
  ["a stranger who names a listed key", pack(eve, { version: 5, kid: anna.kid }, { kid: anna.kid }), "bad-signature", "pack"],
  ["the root key itself", pack(root, { version: 5 }), "unknown-key", "pack"],
  ["an operator without the right, whatever else he may", pack(ben, { version: 5 }), "not-permitted", "settings"],
  ["a key that claims to be another", pack(ben, { version: 5, kid: anna.kid }), "malformed", "settings"],
  ["an older version", pack(anna, { version: 3 }), "replayed", "settings"],
  ["another pack of the same version", pack(anna, { version: 4, payload: {} }), "replayed", "settings"],
  ["another site", pack(anna, { version: 5, site: "plant" }), "other-site", "settings"],
  ["another device", pack(anna, { version: 5, dev: "kiosk-2" }), "other-device", "settings"],
  ["an expired one", pack(anna, { version: 5, exp: nowS - 1 }), "expired", "settings"],
  ["one from the future", pack(anna, { version: 5, iat: nowS + 400 }), "expired", "settings"],
  ["a kind this agent does not know", pack(anna, { version: 5, kind: "wallpaper" }), "malformed", "wallpaper"],
  ["a claim this agent does not know", pack(anna, { version: 5, notOnMondays: true }), "malformed", "pack"],
  ["a version that is no number", pack(anna, { version: "5" }), "malformed", "pack"],
  ["a version beyond all numbers", pack(anna, { version: 2 ** 60 }), "malformed", "pack"],
  ["a version that uses up all others", pack(anna, { version: 2 ** 39 }), "malformed", "settings"],
  ["a target that is a pattern", pack(anna, { version: 5, dev: "kiosk-*" }), "malformed", "pack"],
  [
    "a changed payload",
    swap(five, 1, part({ site: "lab", dev: "*", kind: "settings", version: 9, iat: nowS, kid: anna.kid, payload: {} })),
    "bad-signature",
    "pack",
  ],
  ["no signature, alg none", `${part({ alg: "none", typ: "picket-pack+jws", kid: anna.kid })}.${part({})}.`, "malformed", "pack"],
  ["a key in the header", pack(eve, { version: 5 }, { kid: anna.kid, jwk: eve.key }), "malformed", "pack"],
  ["a pack under a command's typ", pack(anna, { version: 5 }, { typ: COMMAND_TYP }), "malformed", "pack"],
  ["a command", operators.command({ act: "release", args: { reason: "" } }), "malformed", "pack"],
  ["a key list", operators.list(9), "malformed", "pack"],
  ["a key list under a pack's typ", sign(keys, anna, { typ: "picket-pack+jws" }), "malformed", "pack"],
  ["a pack under a key list's typ", pack(anna, { version: 5 }, { typ: KEYS_TYP }), "malformed", "pack"],
  ["too much", pack(anna, { version: 5, payload: "x".repeat(MAX_PACK_CHARS) }), "malformed", "pack"],
  ["garbage", "a.b", "malformed", "pack"],
])("%s is refused", async (_, jws, code, act) => {
  expect(await verifyPack(await jws, known)).toMatchObject({ ok: false, code, act });
});

test("without a key list nobody is obeyed", async () => {
  expect(await verifyPack(five, { ...known, keys: undefined })).toMatchObject({ ok: false, code: "unknown-key" });
});
