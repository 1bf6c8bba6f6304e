import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Action, rights } from "@picket/protocol/command";
import { afterEach, beforeEach, expect, test } from "vitest";
import { verifyCommand, verifyKeyList } from "../../agent/response/verify.ts";
import { newPrivateKey, OperatorError, publicPart } from "./key-file.ts";
import { addOperator, initOperator, listOperators, loadOperator, loadPublic, removeOperator } from "./keys.ts";
import { signCommand } from "./sign.ts";

const nowMs = 1_800_000_000_000;
const isolate: Action = { act: "isolate", args: { deadManMs: 3_600_000, reason: "test" } };
let home: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "picket-operator-"));
});
afterEach(() => rmSync(home, { recursive: true, force: true }));

const init = () => initOperator({ home, site: "lab", name: "anna", nowMs });
/** What a device that pinned this operator's anchor knows. */
async function device(highest: Record<string, number> = {}) {
  const { anchor, keys } = loadPublic(home);
  const verdict = await verifyKeyList(keys, { site: "lab", anchor, current: undefined });
  if (!verdict.ok) throw new Error(verdict.message);
  return { site: "lab", device: "kiosk-1", keys: verdict.list, highest, nowMs };
}

test("a device obeys a fresh operator", async () => {
  const operator = await init();
  const { jws, claims } = await signCommand(operator, { device: "kiosk-1", action: isolate, nowMs });
  expect(await verifyCommand(jws, await device())).toEqual({ ok: true, claims });
  expect(await loadOperator(home)).toMatchObject({ site: "lab", name: "anna", kid: operator.kid, may: rights });
});

test("the next command has a higher counter, also when the clock goes back", async () => {
  const operator = await init();
  const first = await signCommand(operator, { device: "kiosk-1", action: isolate, nowMs });
  const second = await signCommand(await loadOperator(home), { device: "kiosk-1", action: isolate, nowMs: nowMs - 60_000 });
  expect(second.claims.ctr).toBe(first.claims.ctr + 1);
});

test("commands signed at the same moment have different counters", async () => {
  const operator = await init();
  const all = await Promise.all(Array.from({ length: 8 }, () => signCommand(operator, { device: "kiosk-1", action: isolate, nowMs })));
  expect(new Set(all.map(({ claims }) => claims.ctr)).size).toBe(8);
  expect(readdirSync(home)).not.toContain("counters.lock");
});

test("a lock left behind by a killed process is taken over", async () => {
  const operator = await init();
  writeFileSync(join(home, "counters.lock"), "");
  utimesSync(join(home, "counters.lock"), 0, 0);
  expect((await signCommand(operator, { device: "kiosk-1", action: isolate, nowMs })).claims.ctr).toBe(nowMs);
});

test("keys are private files and are never overwritten", async () => {
  await init();
  const before = readFileSync(join(home, "root.jwk"), "utf8");
  for (const file of readdirSync(home)) expect(statSync(join(home, file)).mode & 0o777, file).toBe(0o600);
  await expect(init()).rejects.toThrow(OperatorError);
  rmSync(join(home, "operator.jwk"));
  await expect(init()).rejects.toThrow(/never overwritten/);
  expect(readFileSync(join(home, "root.jwk"), "utf8")).toBe(before);
  expect(readdirSync(home)).not.toContain("operator.jwk");
});

test("an added operator may order what the list says, a removed one nothing", async () => {
  await init();
  const ben = await newPrivateKey();
  const added = await addOperator(home, { name: "ben", key: publicPart(ben), may: ["release"], nowMs });
  expect(added.version).toBe(2);
  const asBen = { home, site: "lab", kid: added.kid, name: "ben", may: rights, key: ben };
  const release = await signCommand(asBen, { device: "kiosk-1", action: { act: "release", args: { reason: "" } }, nowMs });
  const overreach = await signCommand(asBen, { device: "kiosk-1", action: isolate, nowMs });
  expect(await verifyCommand(release.jws, await device())).toMatchObject({ ok: true });
  expect(await verifyCommand(overreach.jws, await device())).toMatchObject({ code: "not-permitted" });

  const removed = await removeOperator(home, "ben", { by: "recovery", nowMs });
  expect(removed.version).toBe(3);
  expect(await verifyCommand(release.jws, await device())).toMatchObject({ code: "unknown-key" });
  expect(await listOperators(home)).toMatchObject({ site: "lab", version: 3, operators: [{ name: "anna", self: true }] });
});

test.each<[string, () => Promise<unknown>]>([
  ["a site that is no label", () => initOperator({ home: join(home, "x"), site: "../lab", name: "anna" })],
  ["a name with an escape sequence", () => initOperator({ home: join(home, "x"), site: "lab", name: "\u001b[2J" })],
  ["a home without keys", () => loadOperator(join(home, "x"))],
  ["a name listed already", async () => addOperator(home, { name: "anna", key: publicPart(await newPrivateKey()) })],
  ["a key listed already", async () => addOperator(home, { name: "twin", key: (await loadOperator(home)).key })],
  ["a name nobody has", () => removeOperator(home, "nobody")],
  ["a device that is no label", async () => signCommand(await loadOperator(home), { device: "a/b", action: isolate })],
  [
    "a dead-man time out of range",
    async () => signCommand(await loadOperator(home), { device: "a", action: { act: "isolate", args: { deadManMs: 1, reason: "" } } }),
  ],
  [
    "an action this operator may not order",
    async () => signCommand({ ...(await loadOperator(home)), may: [] }, { device: "a", action: isolate }),
  ],
])("%s is an error that says so", async (_, act) => {
  await init();
  await expect(act()).rejects.toThrow(OperatorError);
});

test("a private key that others can read is refused", async () => {
  await init();
  chmodSync(join(home, "operator.jwk"), 0o644);
  await expect(loadOperator(home)).rejects.toThrow(/chmod 600/);
});

test("a damaged key file is named without its content", async () => {
  const { key } = await init();
  writeFileSync(join(home, "operator.jwk"), JSON.stringify({ ...key, crv: "X25519" }), { mode: 0o600 });
  const failed = await loadOperator(home).catch((error: Error) => error.message);
  expect(failed).toContain("operator.jwk is damaged (crv)");
  expect(failed).not.toContain(key.d);
});
