import { spawnSync } from "node:child_process";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  accept,
  add,
  address,
  anyOf,
  type Command,
  count,
  drop,
  eq,
  flush,
  inSet,
  limit,
  log,
  masked,
  match,
  meta,
  NftError,
  openNft,
  payload,
  port,
  prefix,
  raw,
  remove,
  reset,
  scope,
  spawnNft,
  word,
} from "./index.ts";

const netns = `pkresp-nft-${process.pid}`;
const made = spawnSync("ip", ["netns", "add", netns]);
const skip = made.status === 0 ? false : `no network namespace: ${made.stderr}`;
if (skip) console.warn(`node-nftables: skipped, ${skip}`);
const nft = openNft({ netns });
const t = scope("inet", "picket_test");

beforeAll(async () => {
  if (!skip) await nft.apply([{ flush: { ruleset: null } }]);
});
afterAll(() => void spawnSync("ip", ["netns", "del", netns]));

const definition: readonly Command[] = [
  add(t.table),
  remove(t.table),
  add(t.table),
  add(t.counter("dropped")),
  add(t.set("friends", "ipv4_addr", { flags: ["interval"], elements: [prefix("10.1.0.0/16"), address("192.0.2.7")] })),
  add(t.set("nobody", "ipv6_addr")),
  add(t.baseChain("output", { hook: "output", prio: -350, policy: "drop" })),
  add(t.chain("more")),
  add(t.rule("output", [eq(meta("oifname"), word("lo")), accept], { comment: "loopback" })),
  add(
    t.rule("output", [
      eq(payload("ip", "daddr"), inSet("friends")),
      eq(payload("tcp", "dport"), anyOf([port(8883), port(8443)])),
      match(masked(payload("tcp", "flags"), ["syn", "ack"]), "!=", word("syn")),
      accept,
    ]),
  ),
  add(t.rule("output", [eq(payload("icmp", "type"), word("destination-unreachable")), eq(raw("th", 192, 32), 0x0a000002), accept])),
  add(t.rule("output", [count("dropped"), limit(5, "minute", { burst: 3 }), log({ prefix: "picket " }), drop])),
];

test.skipIf(skip)("what is applied is what the kernel lists, and applying it again changes nothing", async () => {
  await nft.apply(definition);
  const first = await nft.list("inet", "picket_test");
  await nft.apply(definition);
  const second = await nft.list("inet", "picket_test");
  expect(second?.rules.map((rule) => rule.expr)).toEqual(first?.rules.map((rule) => rule.expr));
  expect(second?.rules).toHaveLength(4);
  expect(second?.rules[0]?.comment).toBe("loopback");
  expect(second?.chains.find((chain) => chain.name === "output")).toMatchObject({ hook: "output", prio: -350, policy: "drop" });
  expect(second?.sets.find((set) => set.name === "friends")?.elem).toEqual([{ prefix: { addr: "10.1.0.0", len: 16 } }, "192.0.2.7"]);
  expect(second?.counters).toMatchObject([{ name: "dropped", packets: 0 }]);
  expect(await nft.tables()).toMatchObject([{ family: "inet", name: "picket_test" }]);
});

test.skipIf(skip)("one bad command and nothing of the transaction is applied, with nft's message", async () => {
  await nft.apply(definition);
  const failing = nft.apply([remove(t.table), add(scope("inet", "other").rule("nowhere", [drop]))]);
  await expect(failing).rejects.toMatchObject({
    name: "NftError",
    code: "rejected",
    message: expect.stringContaining("No such file or directory"),
  });
  expect((await nft.list("inet", "picket_test"))?.rules).toHaveLength(4);
});

test.skipIf(skip)("check finds what apply would refuse, and changes nothing", async () => {
  await nft.apply([add(t.table), remove(t.table)]);
  await nft.check(definition);
  expect(await nft.list("inet", "picket_test")).toBeUndefined();
  await expect(nft.check([add(t.rule("nowhere", [drop]))])).rejects.toMatchObject({ code: "rejected" });
});

test.skipIf(skip)("elements, flush and reset", async () => {
  await nft.apply(definition);
  await nft.apply([add(t.elements("nobody", [address("2001:db8::1")])), reset(t.counter("dropped")), flush(t.chain("output"))]);
  const listing = await nft.list("inet", "picket_test");
  expect(listing?.sets.find((set) => set.name === "nobody")?.elem).toEqual(["2001:db8::1"]);
  expect(listing?.rules).toEqual([]);
});

test.each(["localhost", "@friends", "*", "10.0.0.1; flush ruleset", "fe80::1%eth0", "", "10.0.0.0/8", "127.1"])(
  "%j is not an address",
  (text) => {
    expect(() => address(text)).toThrow(NftError);
  },
);
test.each(["10.0.0.0/33", "10.0.0.0", "::/129", "a/8", "10.0.0.0/8/8", "10.0.0.0/-1"])("%j is not a prefix", (text) => {
  expect(() => prefix(text)).toThrow(NftError);
});
test.each(["a b; flush ruleset", "", "1a", "a\nb", "x".repeat(32), '"'])("%j is not a name", (text) => {
  expect(() => scope("inet", text)).toThrow(NftError);
  expect(() => t.chain(text)).toThrow(NftError);
});
test.each(['say "hi"', "back\\slash", "new\nline", "\u001b[2J", "x".repeat(129)])("%j is not a comment", (text) => {
  expect(() => t.rule("output", [drop], { comment: text })).toThrow(NftError);
});
test.each([-1, 65536, 1.5, Number.NaN])("%d is not a port", (value) => {
  expect(() => port(value)).toThrow(NftError);
});

test("a missing nft is named, with what to install", async () => {
  const absent = openNft({ path: "/nonexistent/nft" });
  await expect(absent.tables()).rejects.toMatchObject({
    code: "missing",
    message: expect.stringContaining('install the packages "nftables"'),
  });
});

test.skipIf(skip)("also inside a namespace", async () => {
  await expect(openNft({ path: "/nonexistent/nft", netns }).tables()).rejects.toMatchObject({ code: "missing" });
});

test("an nft that hangs is killed", async () => {
  const hang = spawnNft({ path: "/bin/sh", timeoutMs: 50 });
  await expect(hang(["-c", "exec sleep 60"], "")).rejects.toMatchObject({ code: "timeout" });
});

test("an answer that is no listing is an error, not a crash", async () => {
  const odd = openNft({ run: async () => ({ code: 0, stdout: "<html>", stderr: "" }) });
  await expect(odd.tables()).rejects.toMatchObject({ code: "bad-output" });
});

test("values travel as JSON on stdin, never as arguments", async () => {
  const seen: { args: readonly string[]; input: string }[] = [];
  const recorder = openNft({
    run: async (args, input) => {
      seen.push({ args, input });
      return { code: 0, stdout: "", stderr: "" };
    },
  });
  await recorder.apply([add(t.rule("output", [eq(payload("ip", "daddr"), address("192.0.2.1")), drop])), remove(t.table)]);
  expect(seen.map(({ args }) => args)).toEqual([["-j", "-f", "-"]]);
  expect(JSON.parse(seen[0]!.input).nftables).toHaveLength(2);
});

test("a namespace name cannot be an option or a path", () => {
  expect(() => openNft({ netns: "-all" })).toThrow(NftError);
  expect(() => openNft({ netns: "../x" })).toThrow(NftError);
});
