import type { Device } from "@picket/protocol/rest";
import { madeDevice, madeOnline } from "@picket/tui/testing/made-up";
import { expect, test } from "vitest";
import { settingsOf } from "./settings-view.ts";

const packs = [
  { dev: "*", version: 4 },
  { dev: "gw-2", version: 2 },
];
type Has = NonNullable<Device["status"]>["packs"];
const has = (dev: string, version: number, refused?: { version: number; why: string }) => ({
  kind: "settings",
  dev,
  version,
  ...(refused ? { refused } : {}),
});
const device = (id: string, said: Has, more: Partial<Device> = {}) =>
  madeDevice(id, { presence: "online", status: madeOnline({ ...(said ? { packs: said } : {}) }), ...more });

test.each<[string, Device, string, RegExp]>([
  ["has all that is set for it", device("gw-1", [has("*", 4)]), "runs", /runs them/],
  ["lacks its own", device("gw-2", [has("*", 4)]), "waiting", /not taken it yet/],
  ["has both", device("gw-2", [has("*", 4), has("gw-2", 2)]), "runs", /runs/],
  ["has an older one, and is there", device("gw-1", [has("*", 3)]), "waiting", /not taken/],
  ["has an older one, and is away", device("gw-1", [has("*", 3)], { presence: "offline" }), "away", /offline: hears of it/],
  ["refuses the newest", device("gw-1", [has("*", 3, { version: 4, why: "wallpaper" })]), "refused", /refuses version 4: wallpaper/],
  ["refused an older one, and has not seen the newest", device("gw-1", [has("*", 2, { version: 3, why: "x" })]), "waiting", /not taken/],
  ["knows no settings", device("gw-1", undefined), "too-old", /upgrade/],
  ["has a later one than the site", device("gw-1", [has("*", 9)]), "ahead", /has version 9/],
])("a device that %s", (_, one, state, words) => {
  expect(settingsOf([one], packs)).toMatchObject([{ state, words: expect.stringMatching(words) }]);
});

test("revoked devices do not count; where nothing is set every device runs it", () => {
  expect(settingsOf([device("gw-1", [], { trust: "revoked" })], packs)).toEqual([]);
  expect(settingsOf([device("gw-1", undefined)], [])).toMatchObject([{ state: "runs", words: "nothing is set for it" }]);
});
