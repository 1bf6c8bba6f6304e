import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { openState, resetState } from "./state.ts";

const key = (letter: string) => ({ kty: "OKP", crv: "Ed25519", x: letter.repeat(43) }) as const;
const identity = { site: "lab", device: "kiosk-1", anchor: { root: key("a"), recovery: key("b") } };
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-state-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const main = () => join(dir, "response.json");
const copy = () => join(dir, "response.copy.json");
function saved(ctr: number) {
  const store = openState(dir, identity);
  store.state.highest.anna = ctr;
  store.save();
  return store;
}

test("what is saved is there again, in two private files", () => {
  expect(saved(7).fresh).toBe(true);
  const again = openState(dir, identity);
  expect(again).toMatchObject({ fresh: false, damaged: undefined, state: { highest: { anna: 7 } } });
  for (const file of [main(), copy()]) expect(statSync(file).mode & 0o777).toBe(0o600);
});

test.each<[string, (file: string) => void]>([
  ["cut in half", (file) => writeFileSync(file, readFileSync(file).subarray(0, 40))],
  ["empty", (file) => writeFileSync(file, "")],
  ["changed in one digit", (file) => writeFileSync(file, readFileSync(file, "utf8").replace('"anna":7', '"anna":6'))],
  ["gone", (file) => rmSync(file)],
])("one copy %s: the other one serves, and both are whole again", (_, damage) => {
  for (const file of [main(), copy()]) {
    saved(7);
    damage(file);
    expect(openState(dir, identity)).toMatchObject({ damaged: undefined, state: { highest: { anna: 7 } } });
    expect(JSON.parse(readFileSync(file, "utf8")).state.highest).toEqual({ anna: 7 });
  }
});

test("of two good copies the later one is true", () => {
  saved(7);
  const old = readFileSync(main());
  saved(8);
  writeFileSync(main(), old);
  expect(openState(dir, identity).state.highest).toEqual({ anna: 8 });
});

test("both damaged: counters do not begin at zero, now or after a restart, until the device is enrolled anew", () => {
  saved(7);
  for (const file of [main(), copy()]) writeFileSync(file, "{");
  for (let start = 0; start < 2; start++) {
    const store = openState(dir, identity);
    expect(store.damaged).toContain("response.json and its copy are damaged");
    store.save();
  }
  expect(readdirSync(dir).sort()).toEqual(["response.copy.json.damaged", "response.json.damaged"]);
  resetState(dir);
  expect(openState(dir, identity)).toMatchObject({ fresh: true, damaged: undefined });
});

test("one damaged and the other gone is damaged too", () => {
  saved(7);
  writeFileSync(main(), "{");
  rmSync(copy());
  expect(openState(dir, identity).damaged).toBeDefined();
});

test("enrolled elsewhere: counters and keys are of the old site, isolation stays", () => {
  const store = saved(7);
  store.state.isolation = { state: "isolated", reason: "theft" };
  store.save();
  const moved = openState(dir, { ...identity, site: "plant" });
  expect(moved.state).toMatchObject({ highest: {}, isolation: { state: "isolated", reason: "theft" } });
});
