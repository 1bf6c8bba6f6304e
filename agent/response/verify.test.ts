import { type Action, type Anchor, acts, COMMAND_TYP, KEYS_TYP, type KeyList, type PublicKey, thumbprint } from "@picket/protocol/command";
import { CompactSign, exportJWK, generateKeyPair } from "jose";
import { expect, test } from "vitest";
import { type Known, MAX_COMMAND_CHARS, verifyCommand, verifyKeyList } from "./verify.ts";

type Pair = { secret: CryptoKey; key: PublicKey; kid: string };
async function pair(): Promise<Pair> {
  const { privateKey, publicKey } = await generateKeyPair("EdDSA", { crv: "Ed25519", extractable: true });
  const key = { kty: "OKP", crv: "Ed25519", x: (await exportJWK(publicKey)).x! } as const;
  return { secret: privateKey, key, kid: thumbprint(key) };
}

const [root, recovery, anna, ben, eve] = [await pair(), await pair(), await pair(), await pair(), await pair()];
const anchor: Anchor = { root: root.key, recovery: recovery.key };
const nowMs = 1_800_000_000_000;
const nowS = nowMs / 1000;
const keys: KeyList = {
  site: "lab",
  version: 5,
  iat: nowS - 1000,
  keys: [
    { kid: anna.kid, key: anna.key, name: "anna", may: [...acts] },
    { kid: ben.kid, key: ben.key, name: "ben", may: ["release"] },
  ],
};
const known: Known = { site: "lab", device: "kiosk-1", keys, highest: { [anna.kid]: 100, [ben.kid]: 7 }, nowMs };

const isolate: Action = { act: "isolate", args: { deadManMs: 3_600_000, reason: "test" } };
const jti = "0f8fad5b-d9cb-469f-a165-70867728950e";
const claims = { site: "lab", dev: "kiosk-1", kid: anna.kid, ctr: 101, iat: nowS, exp: nowS + 300, jti, ...isolate };

const part = (value: unknown) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
async function sign(payload: unknown, by: Pair = anna, header: Record<string, unknown> = {}): Promise<string> {
  const bytes = new TextEncoder().encode(typeof payload === "string" ? payload : JSON.stringify(payload));
  return new CompactSign(bytes).setProtectedHeader({ alg: "EdDSA", typ: COMMAND_TYP, kid: by.kid, ...header }).sign(by.secret);
}
const signList = (list: unknown, by: Pair = root, typ = KEYS_TYP) => sign(list, by, { typ });
const good = await sign(claims);

/** HS256 with the public key as its secret: the classic confusion (RFC 8725, section 2.1). */
function hs256(header: object): string {
  const text = `${part(header)}.${part(claims)}`;
  return `${text}.${new Bun.CryptoHasher("sha256", Buffer.from(anna.key.x, "base64url")).update(text).digest("base64url")}`;
}
const swap = (jws: string, index: 0 | 1 | 2, value: string) => jws.split(".").with(index, value).join(".");

test("a command of a listed operator, for this device, with a higher counter, is obeyed", async () => {
  expect(await verifyCommand(good, known)).toEqual({ ok: true, claims });
});

test.each<[string, string | Promise<string>, string]>([
  ["an operator nobody listed", sign({ ...claims, kid: eve.kid }, eve), "unknown-key"],
  ["a stranger who names a listed key", sign(claims, eve, { kid: anna.kid }), "bad-signature"],
  ["the root key itself", sign({ ...claims, kid: root.kid }, root), "unknown-key"],
  ["a listed key that claims to be another", sign({ ...claims, kid: anna.kid }, ben), "malformed"],
  ["no signature, alg none", `${part({ alg: "none", typ: COMMAND_TYP, kid: anna.kid })}.${part(claims)}.`, "malformed"],
  ["alg none with the old signature", swap(good, 0, part({ alg: "none", typ: COMMAND_TYP, kid: anna.kid })), "malformed"],
  ["HS256 with the public key as secret", hs256({ alg: "HS256", typ: COMMAND_TYP, kid: anna.kid }), "malformed"],
  ["the same, saying EdDSA", hs256({ alg: "EdDSA", typ: COMMAND_TYP, kid: anna.kid }), "bad-signature"],
  ["a key in the header", sign(claims, eve, { kid: anna.kid, jwk: eve.key }), "malformed"],
  ["a key address in the header", sign(claims, eve, { kid: anna.kid, jku: "https://broker/keys" }), "malformed"],
  ["a changed payload", swap(good, 1, part({ ...claims, dev: "kiosk-2" })), "bad-signature"],
  ["a changed action", swap(good, 1, part({ ...claims, act: "release", args: { reason: "" } })), "bad-signature"],
  ["a changed counter", swap(good, 1, part({ ...claims, ctr: 102 })), "bad-signature"],
  ["another typ", sign(claims, anna, { typ: "JWT" }), "malformed"],
  ["a key list as a command", signList(keys), "malformed"],
  ["a command that the root signed as a key list", signList(claims, anna), "malformed"],
  ["a replay", sign({ ...claims, ctr: 100 }), "replayed"],
  ["an older command held back", sign({ ...claims, ctr: 99 }), "replayed"],
  ["a command for another site", sign({ ...claims, site: "plant" }), "other-site"],
  ["a command for another device", sign({ ...claims, dev: "kiosk-2" }), "other-device"],
  ["an expired command", sign({ ...claims, iat: nowS - 600, exp: nowS - 1 }), "expired"],
  ["a command that expires this second", sign({ ...claims, exp: nowS }), "expired"],
  ["a command from the future", sign({ ...claims, iat: nowS + 301, exp: nowS + 900 }), "expired"],
  ["an action the key may not order", sign({ ...claims, kid: ben.kid, ctr: 8 }, ben), "not-permitted"],
  ["an action nobody knows", sign({ ...claims, act: "format", args: {} }), "malformed"],
  ["an argument out of range", sign({ ...claims, args: { deadManMs: 1, reason: "" } }), "malformed"],
  ["a counter that is no number", sign({ ...claims, ctr: "999" }), "malformed"],
  ["a negative counter", sign({ ...claims, ctr: -1 }), "malformed"],
  ["a payload that is not JSON", sign("[2J"), "malformed"],
  ["nothing", "", "malformed"],
  ["garbage", "\u0000\u001b[2J..", "malformed"],
  ["four parts", `${good}.${part({})}`, "malformed"],
  ["padding", `${good}==`, "malformed"],
  ["a JSON serialisation", JSON.stringify({ payload: part(claims), signatures: [] }), "malformed"],
  ["a huge one", `${part({ alg: "EdDSA" })}.${"A".repeat(MAX_COMMAND_CHARS)}.x`, "malformed"],
  ["a deeply nested payload", sign("[".repeat(8000)), "malformed"],
])("%s is refused", async (_, jws, code) => {
  expect(await verifyCommand(await jws, known)).toMatchObject({ ok: false, code });
});

test("a removed operator's commands are refused from the next list on, higher counter or not", async () => {
  const without = { ...keys, version: 6, keys: keys.keys.filter((entry) => entry.kid !== anna.kid) };
  expect(await verifyCommand(await sign({ ...claims, ctr: 9999 }), { ...known, keys: without })).toMatchObject({ code: "unknown-key" });
});

test("a device without a key list obeys nobody", async () => {
  expect(await verifyCommand(good, { ...known, keys: undefined })).toMatchObject({ ok: false, code: "unknown-key" });
});

test("a refusal names the command, so that its operator learns of it, and repeats none of its text", async () => {
  const hostile = await sign({ ...claims, site: "\u001b[2Jplant", act: "\u001b[8m" });
  const verdict = await verifyCommand(hostile, known);
  expect(verdict).toMatchObject({ ok: false, jti, act: "unknown" });
  expect(JSON.stringify(verdict)).not.toContain("u001b");
});

const current = { jws: await signList(keys), version: 5 };
const newer = { ...keys, version: 6 };

test.each<[string, Pair]>([
  ["root", root],
  ["recovery", recovery],
])("a newer list signed by the %s key is taken", async (_, by) => {
  expect(await verifyKeyList(await signList(newer, by), { site: "lab", anchor, current })).toEqual({ ok: true, list: newer, same: false });
});

test("the first list a device sees is taken", async () => {
  expect(await verifyKeyList(current.jws, { site: "lab", anchor, current: undefined })).toMatchObject({ ok: true, same: false });
});

test("a right that a newer site knows is nobody's here, and does not keep the rest of the list from this device: it may strike off a stolen key", async () => {
  const list = await signList({ ...newer, keys: [{ ...keys.keys[0], may: ["format", "release"] }] });
  const verdict = await verifyKeyList(list, { site: "lab", anchor, current });
  expect(verdict).toMatchObject({ ok: true, list: { keys: [{ name: "anna", may: ["release"] }] } });
});

test("the list it has already is known as that", async () => {
  expect(await verifyKeyList(current.jws, { site: "lab", anchor, current })).toMatchObject({ ok: true, same: true });
});

test.each<[string, string | Promise<string>, string]>([
  ["a list signed by an operator", signList(newer, anna), "unknown-key"],
  ["a list signed by a stranger", signList(newer, eve), "unknown-key"],
  ["a stranger's list that names the root", sign(newer, eve, { typ: KEYS_TYP, kid: root.kid }), "bad-signature"],
  ["a stranger's list that names the recovery key", sign(newer, eve, { typ: KEYS_TYP, kid: recovery.kid }), "bad-signature"],
  ["an older list", signList({ ...keys, version: 4 }), "old-key-list"],
  ["another list of the same version", signList({ ...keys, keys: [] }), "old-key-list"],
  ["a list for another site", signList({ ...newer, site: "plant" }), "other-site"],
  ["a command as a key list", sign(claims, root), "malformed"],
  ["a command body under a key list's typ", signList(claims), "malformed"],
  ["a key under another key's id", signList({ ...newer, keys: [{ ...keys.keys[0], key: eve.key }] }), "malformed"],
  ["a key twice", signList({ ...newer, keys: [keys.keys[0], keys.keys[0]] }), "malformed"],
  ["a right that is no word", signList({ ...newer, keys: [{ ...keys.keys[0], may: [1] }] }), "malformed"],
  [
    "a changed list",
    swap(current.jws, 1, part({ ...newer, keys: [{ kid: eve.kid, key: eve.key, name: "eve", may: ["isolate"] }] })),
    "bad-signature",
  ],
  ["garbage", "..", "malformed"],
])("%s is refused", async (_, jws, code) => {
  expect(await verifyKeyList(await jws, { site: "lab", anchor, current })).toMatchObject({ ok: false, code, act: "keys" });
});
