import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KeyList } from "@picket/protocol/command";
import { afterEach, beforeEach, expect, test } from "vitest";
import { newOperators } from "../response/testing/operator.ts";
import { forgetPacks, openPacks, packsInForce } from "./packs.ts";
import { pack } from "./testing/sign.ts";

const { anchor, anna, keys } = await newOperators();
const list = KeyList.parse(JSON.parse(Buffer.from(keys.split(".")[1]!, "base64url").toString()));
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-packs-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

/** A device whose kind of pack takes numbers, and fails at those a test names; `applied`: what it was told to put in force. */
function device(of: { fails?: (site: unknown) => boolean; knows?: (payload: unknown) => boolean; identity?: object } = {}) {
  const applied: unknown[] = [];
  const logged: string[] = [];
  const packs = openPacks({
    ...{ dir, site: "lab", device: "kiosk-1", anchor, ...of.identity },
    uses: {
      settings: {
        refuse: (payload) => ((of.knows?.(payload) ?? true) ? undefined : "colour: not a setting this version knows"),
        apply: ({ site, device }) => {
          if (of.fails?.(site?.payload)) throw new Error("a knob is stuck");
          applied.push([site?.payload, device?.payload]);
          return "well";
        },
      },
      rules: { refuse: () => undefined, apply: () => "well" },
    },
    log: (_, message) => logged.push(message),
  });
  const take = async (version: number, payload: unknown, dev = "*") =>
    packs.take(await pack(anna, { version, payload, dev }), { keys: list, nowMs: Date.now() });
  return { packs, applied, logged, take, takeJws: (jws: string) => packs.take(jws, { keys: list, nowMs: Date.now() }) };
}

test("a new pack is in force at once and after a restart, its own beside that of the whole site", async () => {
  const one = device();
  expect(await one.take(1, "a")).toEqual({ ok: true, act: "settings", code: "done", message: "version 1 for the whole site: well" });
  await one.take(7, "mine", "kiosk-1");
  expect(one.applied).toEqual([
    ["a", undefined],
    ["a", "mine"],
  ]);
  const again = device();
  expect(again.packs.restore()).toEqual([]);
  expect(again.applied).toEqual([["a", "mine"]]);
  expect(again.packs.state()).toEqual([
    { kind: "settings", dev: "*", version: 1 },
    { kind: "settings", dev: "kiosk-1", version: 7 },
  ]);
  expect(packsInForce(dir, "settings")).toEqual({ site: { version: 1, payload: "a" }, device: { version: 7, payload: "mine" } });
});

test("the same pack again is no news, and an older one is refused, also after a restart", async () => {
  const one = device();
  const second = await pack(anna, { version: 2, payload: "b" });
  await one.takeJws(second);
  expect(await one.takeJws(second)).toBeUndefined();
  const again = device();
  again.packs.restore();
  expect(await again.takeJws(second)).toBeUndefined();
  expect(await again.take(1, "a")).toMatchObject({ ok: false, code: "replayed" });
  expect(again.applied).toEqual([["b", undefined]]);
});

test("what this version does not know is refused whole, what was stays, and an older one that was held back does not come after it", async () => {
  const one = device({ knows: (payload) => payload !== "new" });
  await one.take(1, "a");
  const third = await pack(anna, { version: 3, payload: "new" });
  expect(await one.takeJws(third)).toMatchObject({
    ok: false,
    code: "malformed",
    message: "version 3 for the whole site is refused: colour: not a setting this version knows; version 1 stays in force",
  });
  expect(await one.take(2, "b")).toMatchObject({ ok: false, code: "replayed" });
  expect(one.packs.state()).toEqual([
    { kind: "settings", dev: "*", version: 1, refused: { version: 3, why: "colour: not a setting this version knows" } },
  ]);
  // At every connect it comes again: nobody needs to hear of that each time.
  expect(await one.takeJws(third)).toBeUndefined();
  const upgraded = device();
  upgraded.packs.restore();
  expect(await upgraded.takeJws(third)).toMatchObject({ ok: true });
  expect(upgraded.packs.state()).toEqual([{ kind: "settings", dev: "*", version: 3 }]);
});

test("when it does not work, what was stays in force and on disk, and the next one is tried", async () => {
  let stuck = true;
  const one = device({ fails: (site) => site === "b" && stuck });
  await one.take(1, "a");
  const second = await pack(anna, { version: 2, payload: "b" });
  expect(await one.takeJws(second)).toMatchObject({
    ok: false,
    code: "rolled-back",
    message: "version 2 for the whole site did not work: a knob is stuck; version 1 stays in force",
  });
  expect(packsInForce(dir, "settings").site).toEqual({ version: 1, payload: "a" });
  expect(one.packs.state()).toEqual([{ kind: "settings", dev: "*", version: 1, refused: { version: 2, why: "a knob is stuck" } }]);
  expect(await one.takeJws(second)).toBeUndefined();
  stuck = false;
  expect(await one.takeJws(second)).toMatchObject({ ok: true });
  expect(one.packs.state()).toEqual([{ kind: "settings", dev: "*", version: 2 }]);
});

test("killed between the version on disk and the change: done at the next start, without the site", async () => {
  const killed = device({
    fails: (site) => {
      if (site !== "b") return false;
      // What a kill leaves: the state as it is on disk at this moment.
      const [main, copy] = ["packs.json", "packs.copy.json"].map((file) => readFileSync(join(dir, file)));
      kept.push(main!, copy!);
      return true;
    },
  });
  const kept: Buffer[] = [];
  await killed.take(1, "a");
  const second = await pack(anna, { version: 2, payload: "b" });
  await killed.takeJws(second);
  for (const [at, file] of ["packs.json", "packs.copy.json"].entries()) writeFileSync(join(dir, file), kept[at]!);
  const next = device();
  expect(next.packs.restore()).toEqual([{ ok: true, act: "settings", code: "done", message: "version 2 for the whole site: well" }]);
  expect(next.applied.at(-1)).toEqual(["b", undefined]);
  expect(await next.takeJws(second)).toBeUndefined();
  expect(await next.take(1, "a")).toMatchObject({ code: "replayed" });
});

test("when the disk refuses, nothing is changed and the version is not spent", async () => {
  const one = device();
  await one.take(1, "a");
  const second = await pack(anna, { version: 2, payload: "b" });
  // A folder in the way of the temporary file: also root cannot write there.
  mkdirSync(join(dir, "packs.json.tmp"));
  expect(await one.takeJws(second)).toMatchObject({
    ok: false,
    code: "failed",
    message: expect.stringContaining("its version must be on disk first"),
  });
  expect(one.applied).toEqual([["a", undefined]]);
  rmdirSync(join(dir, "packs.json.tmp"));
  expect(await one.takeJws(second)).toMatchObject({ ok: true });
});

test("both copies damaged: nothing is taken, now or after a restart, until the device is enrolled anew", async () => {
  await device().take(5, "a");
  for (const file of readdirSync(dir)) writeFileSync(join(dir, file), "{");
  for (let start = 0; start < 2; start++) {
    const one = device();
    one.packs.restore();
    expect(one.packs.damaged).toContain("packs.json and its copy are damaged");
    expect(await one.take(1, "old")).toMatchObject({ ok: false, code: "failed" });
    expect(one.applied).toEqual([[undefined, undefined]]);
  }
  forgetPacks(dir);
  expect(await device().take(6, "b")).toMatchObject({ ok: true });
});

test("enrolled elsewhere, nothing of the old site is in force", async () => {
  await device().take(5, "a");
  const moved = device({ identity: { device: "kiosk-2" } });
  moved.packs.restore();
  expect(moved.packs.state()).toEqual([]);
  expect(moved.applied).toEqual([[undefined, undefined]]);
});

test("a pack that ends the agent whenever it is tried is given up, and says so", async () => {
  let fails = true;
  const kept: Buffer[] = [];
  const files = ["packs.json", "packs.copy.json"];
  const first = device({
    fails: (site) => {
      if (site !== "b" || !fails) return false;
      kept.splice(0, 2, ...files.map((file) => readFileSync(join(dir, file))));
      return true;
    },
  });
  await first.take(1, "a");
  await first.take(2, "b");
  const outcomes: unknown[] = [];
  for (let start = 0; start < 4; start++) {
    // What a kill in the middle leaves.
    for (const [at, file] of files.entries()) writeFileSync(join(dir, file), kept[at]!);
    const next = device({
      fails: (site) => {
        if (site !== "b" || !fails) return false;
        kept.splice(0, 2, ...files.map((file) => readFileSync(join(dir, file))));
        return true;
      },
    });
    outcomes.push(next.packs.restore());
    if (next.packs.state()[0]?.refused?.why.includes("the agent ended")) break;
  }
  fails = false;
  expect(outcomes).toHaveLength(3);
  expect(outcomes[2]).toMatchObject([
    {
      ok: false,
      code: "rolled-back",
      message: expect.stringContaining("the agent ended 3 times while it was tried; version 1 stays in force"),
    },
  ]);
  const settled = device();
  expect(settled.packs.restore()).toEqual([]);
  expect(settled.applied).toEqual([["a", undefined]]);
});

test("given up for ending the agent, it is not tried again however often the broker sends it, and the next one is", async () => {
  const one = device();
  await one.take(1, "a");
  const second = await pack(anna, { version: 2, payload: "b" });
  const files = ["packs.json", "packs.copy.json"];
  let tried = 0;
  /** An agent that ends whenever it looks at the payload; the disk is left as it is at that moment. */
  const dying = () => {
    const kept: Buffer[] = [];
    const look = () => {
      // What it does after its end is not on disk.
      if (kept.length > 0) return true;
      tried++;
      kept.push(...files.map((file) => readFileSync(join(dir, file))));
      return true;
    };
    const next = device({ knows: (payload) => payload !== "b" || look(), fails: (site) => site === "b" && look() });
    return { ...next, die: () => kept.length > 0 && files.forEach((file, at) => void writeFileSync(join(dir, file), kept[at]!)) };
  };
  for (let start = 0; start < 12; start++) {
    const next = dying();
    next.packs.restore();
    if (!next.die()) await next.takeJws(second);
    next.die();
  }
  expect(tried).toBe(3);
  const settled = device();
  expect(settled.packs.restore()).toEqual([]);
  expect(settled.applied).toEqual([["a", undefined]]);
  expect(settled.packs.state()[0]?.refused).toMatchObject({ version: 2, why: expect.stringContaining("the agent ended 3 times") });
  expect(await settled.take(3, "c")).toMatchObject({ ok: true });
});
