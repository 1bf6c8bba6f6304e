import { expect, test } from "vitest";
import { settingsWords, whyWords } from "./words.ts";

const pack = (dev: string, version: number, refused?: { version: number; why: string }) => ({
  kind: "settings",
  dev,
  version,
  ...(refused ? { refused } : {}),
});

test.each([
  ["an agent from before there were settings", {}, "its agent knows no settings from the site: upgrade it"],
  ["nothing set", { packs: [] }, "none from the site"],
  ["nothing in force any more", { packs: [pack("*", 0)] }, "none from the site"],
  ["another kind of pack", { packs: [{ ...pack("*", 3), kind: "rules" }] }, "none from the site"],
  ["both", { packs: [pack("gw-1", 1), pack("*", 4)] }, "version 4 for the whole site, version 1 of its own"],
  [
    "values its owner holds",
    { packs: [], held: ["metricsS", "canaryS"] },
    "none from the site; its own configuration keeps metricsS, canaryS",
  ],
])("settings in words: %s", (_, status, words) => {
  expect(settingsWords(status)).toEqual({ words, refused: false });
});

test("settings that a device refused come first", () => {
  expect(settingsWords({ packs: [pack("*", 3, { version: 4, why: "wallpaper: not a setting this version knows" })] })).toEqual({
    words: "REFUSES version 4 for the whole site: wallpaper: not a setting this version knows; version 3 for the whole site",
    refused: true,
  });
});

test("what to do stands behind a whole sentence", () => {
  expect(whyWords({ why: "no journal", todo: "Install one" })).toBe("no journal. To do: Install one");
  expect(whyWords({ why: "Is it on?", todo: "Look" })).toBe("Is it on? To do: Look");
  expect(whyWords({ why: "attached" })).toBe("attached");
});
