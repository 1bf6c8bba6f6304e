// What a broker can do to a device with what it carries, and what a crash can. The firewall is recorded here; isolation.test.ts has the real one.
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { CommandResult } from "@picket/protocol/command";
import type { EventDraft } from "@picket/protocol/event";
import { type Command, type Nft, NftError } from "node-nftables";
import { afterEach, beforeEach, expect, test } from "vitest";
import { createResponse } from "./index.ts";
import type { Response, ResponseOptions } from "./response.ts";
import { isolate, newOperators, newPair, release } from "./testing/operator.ts";

const clock = { nowMs: 1_800_000_000_000, uptimeMs: 1_000_000 };
const operators = await newOperators(() => clock.nowMs);
let stateDir: string;
let open: AsyncDisposableStack;
beforeEach(() => {
  stateDir = mkdtempSync(join(tmpdir(), "picket-orders-"));
  open = new AsyncDisposableStack();
});
afterEach(async () => {
  await open.disposeAsync();
  rmSync(stateDir, { recursive: true, force: true });
});

/** A kernel in memory: one table or none, whose drop rule counts the probe. */
function firewall(of: { fail?: () => string | undefined } = {}) {
  const applied: (readonly Command[])[] = [];
  let present = false;
  let packets = 0;
  const nft: Nft = {
    async apply(commands) {
      const why = of.fail?.();
      if (why) throw new NftError("rejected", why);
      applied.push(commands);
      present = commands.length > 2;
    },
    async check() {},
    tables: async () => [],
    list: async (family, name) =>
      present
        ? {
            table: { family, name },
            chains: [],
            rules: [],
            sets: [],
            counters: [{ family, table: name, name: "dropped_output", packets: packets++, bytes: 0 }],
          }
        : undefined,
  };
  return { nft, applied, present: () => present };
}

type Device = { response: Response; events: EventDraft<"response.result">["body"][]; results: CommandResult[] };
async function device(of: Partial<ResponseOptions> = {}): Promise<Device> {
  const events: Device["events"] = [];
  const results: CommandResult[] = [];
  const response = await createResponse({
    stateDir,
    site: "lab",
    device: "kiosk-1",
    anchor: operators.anchor,
    keys: operators.keys,
    broker: { hosts: ["192.0.2.10"], mqttPort: 8883, httpsPort: 8443 },
    nft: firewall().nft,
    now: () => clock.nowMs,
    uptimeMs: () => clock.uptimeMs,
    bootId: "boot",
    emit: (draft) => events.push(draft.body),
    log: () => {},
    reach: async () => true,
    endConnections: async () => undefined,
    tickMs: 10,
    ...of,
  });
  open.use(response);
  response.onResult((result) => results.push(result));
  return { response, events, results };
}

test("a command is done once and answered as often as it is delivered", async () => {
  const kernel = firewall();
  const { response, events, results } = await device({ nft: kernel.nft });
  const jws = await operators.command(isolate());
  await response.onCommand(jws);
  response.resultDelivered(results[0]!);
  expect(response.pendingResults()).toEqual([]);
  clock.nowMs += 3_600_000;
  await response.onCommand(jws);
  expect(kernel.applied).toHaveLength(1);
  expect(results).toEqual([results[0], results[0]]);
  expect(events).toHaveLength(1);
  expect(response.pendingResults()).toEqual([results[0]]);
});

test("a signed pack goes to who takes packs, with the key list that came before it; its answer is an event and a result, floods of refusals are held back", async () => {
  const taken: unknown[] = [];
  const answer = { ok: true, act: "settings", code: "done", message: "version 1" } as const;
  const packs: NonNullable<ResponseOptions["packs"]> = {
    take: async (jws, { keys, nowMs }) => {
      taken.push([jws, keys?.version, nowMs >= clock.nowMs]);
      if (jws === "same") return undefined;
      return jws === "good" ? answer : { ...answer, ok: false, code: "replayed" };
    },
  };
  const { response, events, results } = await device({ packs });
  // Not awaited: they come as fast as the broker sends them.
  const list = response.onPack({ kind: "keys", jws: await operators.list(2) });
  await Promise.all([list, ...["good", "same"].map((jws) => response.onPack({ kind: "signed", jws }))]);
  expect(taken).toEqual([
    ["good", 2, true],
    ["same", 2, true],
  ]);
  expect(events).toMatchObject([{ jti: "", ...answer }]);
  expect(results).toMatchObject([answer]);
  for (let time = 0; time < 20; time++) await response.onPack({ kind: "signed", jws: "old" });
  expect(events).toHaveLength(1 + 5);
});

test("without its counters, or without who takes them, no pack is taken, and that is told", async () => {
  const { response, events } = await device();
  await response.onPack({ kind: "signed", jws: "good" });
  expect(events).toMatchObject([{ act: "pack", ok: false, code: "failed" }]);
  await response[Symbol.asyncDispose]();
  for (const file of ["response.json", "response.copy.json"]) writeFileSync(join(stateDir, file), "{");
  const taken: string[] = [];
  const damaged = await device({ packs: { take: async (jws) => void taken.push(jws) } });
  await damaged.response.onPack({ kind: "signed", jws: "good" });
  expect(taken).toEqual([]);
  expect(damaged.events.at(-1)).toMatchObject({ ok: false, code: "failed", message: expect.stringContaining("enrolled again") });
});

test("an older command held back is refused once a later one was obeyed, also after a restart", async () => {
  const first = await device();
  const held = await operators.command(isolate());
  await first.response.onCommand(await operators.command(release));
  await first.response.onCommand(held);
  expect(first.results.map(({ act, code }) => [act, code])).toEqual([
    ["release", "done"],
    ["isolate", "replayed"],
  ]);
  await first.response[Symbol.asyncDispose]();
  const second = await device();
  await second.response.onCommand(await operators.command(isolate(), { ctr: 1 }));
  expect(second.results.map(({ code }) => code)).toEqual(["replayed"]);
});

test("the counter is on disk before anything is done", async () => {
  const kernel = firewall();
  let onDisk: unknown;
  const nft: Nft = {
    ...kernel.nft,
    async apply(commands) {
      onDisk = JSON.parse(readFileSync(join(stateDir, "response.copy.json"), "utf8")).state.highest;
      return kernel.nft.apply(commands);
    },
  };
  const { response } = await device({ nft });
  const jws = await operators.command(isolate());
  const { ctr } = JSON.parse(Buffer.from(jws.split(".")[1]!, "base64url").toString());
  await response.onCommand(jws);
  expect(onDisk).toEqual({ [operators.anna.kid]: ctr });
});

test("when the counter cannot be put on disk, nothing is done", async () => {
  const kernel = firewall();
  const { response, results } = await device({ nft: kernel.nft });
  mkdirSync(join(stateDir, "response.json.tmp"));
  await response.onCommand(await operators.command(isolate()));
  expect(results).toMatchObject([{ code: "failed", message: expect.stringContaining("counter must be on disk") }]);
  expect(kernel.applied).toEqual([]);
  rmSync(join(stateDir, "response.json.tmp"), { recursive: true });
  await response.onCommand(await operators.command(isolate()));
  expect(results[1]).toMatchObject({ code: "done" });
});

test("memory is read once for each order, its hash is in the answer; without the right it is not read", async () => {
  const asked: unknown[] = [];
  const scan: NonNullable<ResponseOptions["scan"]> = async (args) => {
    asked.push(args);
    return { ok: true, message: "read 1.0 MiB", sample: "ab".repeat(32) };
  };
  const order = { act: "scan", args: { pid: 4711, startTicks: 5, reason: "test" } } as const;
  const { response, results } = await device({ scan });
  const jws = await operators.command(order);
  await response.onCommand(jws);
  await response.onCommand(jws);
  expect(asked).toEqual([order.args]);
  expect(results[0]).toMatchObject({ act: "scan", ok: true, code: "done", message: "read 1.0 MiB", sample: "ab".repeat(32) });
  const { kid, key } = operators.anna;
  await response.onPack({ kind: "keys", jws: await operators.list(2, [{ kid, key, name: "anna", may: ["isolate"] }]) });
  await response.onCommand(await operators.command(order));
  expect(results.at(-1)).toMatchObject({ ok: false, code: "not-permitted" });
});

test("an order to read memory that a crash interrupted is not done again, and says so", async () => {
  const begun = Promise.withResolvers<void>();
  const scan: NonNullable<ResponseOptions["scan"]> = () => {
    begun.resolve();
    return new Promise(() => {});
  };
  const stuck = await device({ scan });
  void stuck.response.onCommand(await operators.command({ act: "scan", args: { pid: 4711, reason: "test" } }));
  await begun.promise;
  const copied = mkdtempSync(join(tmpdir(), "picket-crash-"));
  for (const file of ["response.json", "response.copy.json"]) writeFileSync(join(copied, file), readFileSync(join(stateDir, file)));
  // The process that never comes back must not hold up the end of the test.
  open.move();
  open = new AsyncDisposableStack();
  open.defer(() => rmSync(copied, { recursive: true, force: true }));
  const asked: unknown[] = [];
  const { response } = await device({
    stateDir: copied,
    scan: async (args) => {
      asked.push(args);
      return { ok: true, message: "read" };
    },
  });
  expect(asked).toEqual([]);
  expect(response.pendingResults().at(-1)).toMatchObject({ act: "scan", ok: false, message: expect.stringContaining("order it again") });
});

test("a command that a crash interrupted is finished and answered at the next start", async () => {
  const crash = firewall();
  const never = new Promise<void>(() => {});
  const applying = Promise.withResolvers<void>();
  const apply = () => {
    applying.resolve();
    return never;
  };
  const stuck = await device({ nft: { ...crash.nft, apply } });
  const jws = await operators.command(isolate());
  void stuck.response.onCommand(jws);
  await applying.promise;
  const copied = mkdtempSync(join(tmpdir(), "picket-crash-"));
  for (const file of ["response.json", "response.copy.json"]) writeFileSync(join(copied, file), readFileSync(join(stateDir, file)));
  // The process that never comes back must not hold up the end of the test.
  open.move();
  open = new AsyncDisposableStack();
  open.defer(() => rmSync(copied, { recursive: true, force: true }));

  const kernel = firewall();
  const { response, events } = await device({ nft: kernel.nft, stateDir: copied });
  expect(response.isolation()).toMatchObject({ state: "isolated" });
  expect(events).toMatchObject([{ act: "isolate", code: "done" }]);
  await response.onCommand(jws);
  expect(kernel.applied).toHaveLength(1);
});

test("both copies of the state damaged: nothing is obeyed, and health says so", async () => {
  const first = await device();
  await first.response.onCommand(await operators.command(release));
  await first.response[Symbol.asyncDispose]();
  for (const file of ["response.json", "response.copy.json"]) writeFileSync(join(stateDir, file), "\0\0\0");
  const kernel = firewall();
  const { response, results, events } = await device({ nft: kernel.nft });
  await response.onCommand(await operators.command(isolate()));
  expect(results).toMatchObject([{ ok: false, code: "failed", message: expect.stringContaining("enrolled again") }]);
  expect(kernel.applied).toEqual([]);
  expect(response.capability()).toMatchObject({ level: "off", todo: "enrol this device again" });
  expect(events[0]).toMatchObject({ code: "damaged" });
  expect(existsSync(join(stateDir, "response.json.damaged"))).toBe(true);
});

test("a flood of garbage makes a handful of events, and says how many it stands for", async () => {
  const { response, events } = await device();
  for (let sent = 0; sent < 500; sent++, clock.nowMs++) await response.onCommand(`garbage ${sent}`);
  expect(events).toHaveLength(5);
  expect(response.pendingResults()).toHaveLength(5);
  clock.uptimeMs += 61_000;
  while (events.length < 6) await Bun.sleep(5);
  expect(events[5]).toMatchObject({ code: "malformed", message: expect.stringContaining("495 more") });
});

test("more at once than can be held is dropped, without forgetting what came before", async () => {
  const { response, results } = await device();
  const first = response.onCommand(await operators.command(release));
  await Promise.all([first, ...Array.from({ length: 300 }, (_, index) => response.onCommand(`garbage ${index}`))]);
  expect(results.filter(({ code }) => code === "done")).toHaveLength(1);
});

test("key lists: newer ones are obeyed at once, the same again says nothing, older ones are refused and told, all over a restart", async () => {
  const first = await device();
  expect(first.response.keysVersion()).toBe(1);
  const empty = await operators.list(3, []);
  await first.response.onPack({ kind: "keys", jws: empty });
  await first.response.onPack({ kind: "keys", jws: empty });
  await first.response.onCommand(await operators.command(isolate()));
  await first.response.onPack({ kind: "keys", jws: await operators.list(2) });
  expect(first.results.map(({ act, code }) => [act, code])).toEqual([
    ["isolate", "unknown-key"],
    ["keys", "old-key-list"],
  ]);
  await first.response[Symbol.asyncDispose]();
  const second = await device();
  expect(second.response.keysVersion()).toBe(3);
  expect(second.events).toEqual([]);
});

test("a broker cannot make key lists or time travel", async () => {
  const { response, results } = await device();
  const stranger = await newPair();
  await response.onPack({ kind: "keys", jws: await operators.list(9, [], stranger) });
  await response.onPack({ kind: "time", timeMs: 0 });
  await response.onPack({ kind: "nonsense" } as never);
  expect(results.map(({ code }) => code)).toEqual(["unknown-key", "malformed"]);
  expect(response.keysVersion()).toBe(1);
  await response.onCommand(await operators.command(isolate(), { iat: 1_799_990_000, exp: 1_799_990_300 }));
  expect(results[2]).toMatchObject({ code: "expired" });
});

test("a broker that lies far into the future stops commands only until the next key list", async () => {
  const { response, results } = await device();
  await response.onPack({ kind: "time", timeMs: 9_000_000_000_000 });
  await response.onCommand(await operators.command(isolate()));
  await response.onPack({ kind: "keys", jws: await operators.list(2) });
  await response.onCommand(await operators.command(isolate()));
  expect(results.map(({ code }) => code)).toEqual(["expired", "done"]);
});

test("a kernel that refuses the rules: failed with its words, not isolated, and the heartbeat does not pretend", async () => {
  const { response, results } = await device({ nft: firewall({ fail: () => "Operation not supported" }).nft });
  await response.onCommand(await operators.command(isolate()));
  expect(results).toMatchObject([{ ok: false, code: "failed", message: expect.stringContaining("Operation not supported") }]);
  expect(response.isolation()).toMatchObject({ state: "off" });
});

test("a restore that fails at start is told and tried again until it works", async () => {
  const first = await device();
  await first.response.onCommand(await operators.command(isolate()));
  await first.response[Symbol.asyncDispose]();
  let why: string | undefined = "no nf_tables yet";
  const kernel = firewall({ fail: () => why });
  const { response, events } = await device({ nft: kernel.nft });
  expect(response.isolation()).toMatchObject({ state: "off", reason: expect.stringContaining("no nf_tables yet") });
  expect(response.capability()).toMatchObject({ level: "degraded" });
  expect(events).toMatchObject([{ code: "not-restored" }]);
  why = undefined;
  clock.uptimeMs += 61_000;
  while (!kernel.present()) await Bun.sleep(5);
  while (events.length < 2) await Bun.sleep(5);
  expect(events[1]).toMatchObject({ code: "restored", ok: true });
  expect(response.isolation()).toMatchObject({ state: "isolated" });
});

test("a host without nft: commands fail with what to install, health says it, and it is live once nft is there", async () => {
  let missing = true;
  const kernel = firewall();
  const absent = async (): Promise<never> => {
    throw new NftError("missing", "cannot start nft: install the packages");
  };
  const nft: Nft = {
    apply: (commands) => (missing ? absent() : kernel.nft.apply(commands)),
    check: (commands) => (missing ? absent() : kernel.nft.check(commands)),
    list: (family, table) => (missing ? absent() : kernel.nft.list(family, table)),
    tables: () => (missing ? absent() : kernel.nft.tables()),
  };
  const { response, results, events } = await device({ nft });
  expect(events).toEqual([]);
  expect(response.capability()).toMatchObject({ name: "isolation", level: "off", todo: "install the package nftables" });
  await response.onCommand(await operators.command(isolate()));
  expect(results).toMatchObject([{ ok: false, code: "failed", message: "not isolated: cannot start nft: install the packages" }]);
  missing = false;
  clock.uptimeMs += 61_000;
  while (response.capability().level !== "live") await Bun.sleep(5);
});
