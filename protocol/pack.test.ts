import { expect, test } from "vitest";
import { KeyList, Pack, rights } from "./command.ts";
import { MAX_PACK_CHARS, PackState, packKinds } from "./pack.ts";
import { routes } from "./rest.ts";
import { mayPublish, maySubscribe, topic, topics } from "./topics.ts";

test("the largest pack fits into its topic, as the broker sends it, and what the site takes fits into a pack", () => {
  const message = JSON.stringify({ kind: "signed", jws: "a".repeat(MAX_PACK_CHARS) });
  expect(Buffer.byteLength(message)).toBeLessThanOrEqual(topics.pack.maxBytes);
  expect(Pack.safeParse(JSON.parse(message)).success).toBe(true);
  expect(routes.putPack.body.safeParse({ jws: "a".repeat(MAX_PACK_CHARS) }).success).toBe(false);
  expect(routes.putPack.body.safeParse({ jws: "a".repeat(100_000) }).success).toBe(true);
});

test("only the broker puts packs on the wire, and a device hears its own only", () => {
  const device = { role: "device", name: "gw-1", site: "yard" } as const;
  const to = (name: string) => ({ topic: topic("pack", "yard", name), retain: false, payloadBytes: 10 });
  expect(mayPublish(device, to("gw-1"))).toBe(false);
  expect(mayPublish({ ...device, role: "detector" }, to("gw-1"))).toBe(false);
  expect(maySubscribe(device, topic("pack", "yard", "gw-1"))).toBe(true);
  expect(maySubscribe(device, topic("pack", "yard", "gw-2"))).toBe(false);
});

test("each kind is signed by who has the right of its name; rights of a newer version are left out, the rest of the list stands", () => {
  for (const kind of packKinds) expect(rights).toContain(kind);
  const key = { kty: "OKP", crv: "Ed25519", x: "x".repeat(43) };
  const list = { site: "yard", version: 1, iat: 0, keys: [{ kid: "k", key, name: "anna", may: ["release", "teleport"] }] };
  expect(KeyList.parse(list).keys[0]!.may).toEqual(["release"]);
});

test("what a device says of its packs is bounded", () => {
  const state = { kind: "settings", dev: "*", version: 0, refused: { version: 1, why: "x".repeat(257) } };
  expect(PackState.safeParse(state).success).toBe(false);
});
