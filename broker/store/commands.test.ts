import { randomUUID } from "node:crypto";
import type { CommandClaims, CommandResult } from "@picket/protocol/command";
import { beforeAll, expect, test } from "vitest";
import { type Keyring, makeKeyring, makeSigner, SITE, signCommand, signKeyList } from "../testing/samples.ts";
import { Commands, MAX_OPEN_PER_DEVICE } from "./commands.ts";
import { addDevice, getDevice } from "./devices.ts";
import { readKeyList } from "./keys.ts";
import { openStore } from "./schema.ts";

const NOW_MS = 1_800_000_000_000;
const exp = NOW_MS / 1000 + 3600;
let keyring: Keyring;
beforeAll(async () => {
  keyring = await makeKeyring();
});

async function site(may: readonly ("isolate" | "release")[] = ["isolate", "release"]) {
  const store = openStore(":memory:");
  addDevice(store, "gw-014", 0);
  const list = await readKeyList(await signKeyList(keyring, { version: 1, may }), { site: SITE, anchor: keyring.anchor });
  const commands = new Commands(store, { site: SITE, keys: () => list });
  const submit = async (claims: Partial<CommandClaims> = {}, nowMs = NOW_MS) =>
    commands.submit({ device: "gw-014", jws: await signCommand(keyring, { exp, ...claims }), operator: "anna", nowMs });
  return { store, commands, submit };
}

const result = (jti: string, change: Partial<CommandResult> = {}): CommandResult => ({
  v: 1,
  jti,
  act: "isolate",
  ok: true,
  code: "done",
  message: "",
  timeMs: 1,
  ...change,
});

test("waits, is sent, is answered", async () => {
  const { commands, submit } = await site();
  const { jti, state } = await submit();
  expect(state).toBe("waiting");
  expect(commands.markSent(jti)?.state).toBe("sent");
  expect(commands.open("gw-014", NOW_MS).map((one) => one.jti)).toEqual([jti]);
  expect(commands.answer("gw-014", result(jti))).toMatchObject({ state: "answered", result: { code: "done" } });
  expect(commands.open("gw-014", NOW_MS)).toEqual([]);
  expect(commands.markSent(jti)?.state).toBe("answered");
});

test("the same JWS again is the same command; its jti on another is refused", async () => {
  const { commands } = await site();
  const jti = randomUUID();
  const jws = await signCommand(keyring, { exp, jti });
  const first = await commands.submit({ device: "gw-014", jws, operator: "anna", nowMs: NOW_MS });
  expect(await commands.submit({ device: "gw-014", jws, operator: "ben", nowMs: NOW_MS + 1 })).toEqual(first);
  const other = await signCommand(keyring, { exp, jti, ctr: 2 });
  await expect(commands.submit({ device: "gw-014", jws: other, operator: "anna", nowMs: NOW_MS })).rejects.toThrow(/exists already/);
  expect(commands.ofDevice("gw-014")).toEqual([first]);
});

test.each([
  ["for another site", () => signCommand(keyring, { exp, site: "yard" }), /for site "yard"/],
  ["for another device", () => signCommand(keyring, { exp, dev: "gw-015" }), /for device "gw-015"/],
  ["expired", () => signCommand(keyring, { exp: NOW_MS / 1000 }), /already expired/],
  ["by a key nobody published", () => signCommand(keyring, { exp, kid: "other" }), /not in key list version 1/],
  ["with a forged signature", async () => signCommand(keyring, { exp, by: await makeSigner() }), /signature does not match/],
  ["of an unknown kind", () => signCommand(keyring, { exp, act: "reboot" as "isolate" }), /not a signed command/],
  ["that is a key list", () => signCommand(keyring, { exp, typ: "picket-keys+jws" }), /header typ/],
  ["that is no JWS", async () => "hello", /not a signed command/],
])("a command %s is refused at once", async (_, make, says) => {
  const { commands } = await site();
  await expect(commands.submit({ device: "gw-014", jws: await make(), operator: "anna", nowMs: NOW_MS })).rejects.toThrow(says);
  expect(commands.ofDevice("gw-014")).toEqual([]);
});

test("an act that the key list does not permit is refused", async () => {
  const { submit } = await site(["release"]);
  await expect(submit()).rejects.toThrow(/does not permit "anna" to isolate/);
});

test("without a key list nothing is taken, since no device would obey", async () => {
  const { store } = await site();
  const commands = new Commands(store, { site: SITE, keys: () => undefined });
  const jws = await signCommand(keyring, { exp });
  await expect(commands.submit({ device: "gw-014", jws, operator: "anna", nowMs: NOW_MS })).rejects.toThrow(/no key list/);
});

test("a counter that does not rise is refused here, as the device would", async () => {
  const { submit } = await site();
  await submit({ ctr: 5 });
  await expect(submit({ ctr: 5 })).rejects.toThrow(/not above 5/);
  await submit({ ctr: 6 });
});

test("only so many wait for one device", async () => {
  const { submit } = await site();
  for (let ctr = 1; ctr <= MAX_OPEN_PER_DEVICE; ctr++) await submit({ ctr });
  await expect(submit({ ctr: 1000 })).rejects.toThrow(/wait for gw-014 already/);
  await submit({ ctr: 1000, exp: exp + 7200 }, NOW_MS + 3600_001);
});

test("what expired is not sent any more, but a late answer counts", async () => {
  const { commands, submit } = await site();
  const { jti } = await submit();
  expect(commands.expire(NOW_MS)).toEqual([]);
  expect(commands.expire(exp * 1000).map((one) => one.state)).toEqual(["expired"]);
  expect(commands.expire(exp * 1000)).toEqual([]);
  expect(commands.answer("gw-014", result(jti))?.state).toBe("answered");
});

test.each([
  ["the first answer stands", ["done", "failed"], "done"],
  ["a replay, which sending twice brings, does not hide the answer before", ["done", "replayed"], "done"],
  ["nor the one after", ["replayed", "rolled-back"], "rolled-back"],
] as const)("%s", async (_, codes, stands) => {
  const { commands, submit } = await site();
  const { jti } = await submit();
  for (const code of codes) commands.answer("gw-014", result(jti, { code }));
  expect(commands.get(jti)?.result?.code).toBe(stands);
});

test("a device cannot answer for another, nor what nobody ordered", async () => {
  const { commands, submit } = await site();
  const { jti } = await submit();
  expect(commands.answer("gw-015", result(jti))).toBeUndefined();
  expect(commands.answer("gw-014", result(randomUUID()))).toBeUndefined();
  const { jti: _, ...anonymous } = result(jti);
  expect(commands.answer("gw-014", anonymous)).toBeUndefined();
  expect(commands.get(jti)?.state).toBe("waiting");
});

test("what operators want is their last isolate or release, whatever became of it", async () => {
  const { store, commands, submit } = await site();
  const wanted = () => getDevice(store, "gw-014")?.isolationWanted;
  expect(wanted()).toBe(false);
  const { jti } = await submit({ ctr: 1 });
  expect(wanted()).toBe(true);
  commands.answer("gw-014", result(jti, { ok: false, code: "rolled-back" }));
  expect(wanted()).toBe(true);
  await submit({ ctr: 2, act: "release", args: { reason: "" } } as Partial<CommandClaims>);
  expect(wanted()).toBe(false);
});
