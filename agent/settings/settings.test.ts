import { readSettings, type SettingKey, settingKeys, settings } from "@picket/protocol/settings";
import { expect, test } from "vitest";
import { AgentConfig } from "../config.ts";
import { tablesOf } from "../host/tables.ts";
import { effective, heldBack, settingsIn, settingsWords, turnTo } from "./settings.ts";

const standard = effective({ local: {} });

test("what holds without the site is what the agent does by itself, and every inventory table can be set", () => {
  const { metricsS, canaryS, heartbeatS, eventsPerS } = AgentConfig.parse({});
  const ofTables = Object.fromEntries(tablesOf().map(({ name, everyS }) => [`inventory.${name}`, everyS]));
  const expected = { metricsS, canaryS, heartbeatS, eventsPerS, ...ofTables };
  expect(Object.fromEntries(settingKeys.map((key) => [key, settings[key].standard]))).toEqual(expected);
  expect(tablesOf()).toHaveLength(13);
});

test("bounds let nothing be switched off, and hold what is standard", () => {
  for (const { min, standard, max } of settingKeys.map((key) => settings[key])) {
    expect(min).toBeGreaterThan(0);
    expect(min).toBeLessThanOrEqual(standard);
    expect(max).toBeGreaterThanOrEqual(standard);
  }
  expect(settings.canaryS.max).toBeLessThanOrEqual(300);
  expect(settings.eventsPerS.min).toBeGreaterThanOrEqual(settings.eventsPerS.standard / 2);
  // The site calls a device offline after 45 s.
  expect(settings.heartbeatS.max).toBeLessThan(45);
});

test.each<[string, unknown, string | RegExp]>([
  ["a key nobody knows", { metricsS: 30, wallpaper: 3 }, "wallpaper: not a setting this version knows"],
  ["a table nobody knows", { "inventory.souls": 60 }, "inventory.souls: not a setting this version knows"],
  ["a value out of range", { canaryS: 86_400 }, "canaryS: takes 10 to 300"],
  ["nothing for never", { metricsS: 0 }, "metricsS: takes 10 to 3600"],
  ["a fraction", { metricsS: 30.5 }, "metricsS: takes a whole number"],
  ["a text", { metricsS: "30" }, "metricsS: takes a whole number"],
  ["infinity in disguise", JSON.parse('{"metricsS": 1e999}'), "metricsS: takes a whole number"],
  ["a list", [], /takes a whole number|settings/],
  ["nothing", undefined, /settings/],
  ["a prototype", JSON.parse('{"__proto__": {"metricsS": 1}, "constructor": 1}'), /not a setting/],
])("%s is refused, with the key and what it takes", (_, payload, why) => {
  expect(readSettings(payload)).toEqual(expect.stringMatching(why instanceof RegExp ? why : new RegExp(`^${why}$`)));
});

test("nothing at all is settings too: all is as it is without the site", () => {
  expect(readSettings({})).toEqual({});
  expect(settingsWords(effective({ local: {}, site: {} }))).toBe("nothing is set from the site");
});

test("the device's own configuration goes before a pack for it, and that before one for the whole site", () => {
  const now = effective({
    local: { heartbeatS: 7 },
    device: { heartbeatS: 20, metricsS: 20 },
    site: { heartbeatS: 30, metricsS: 30, canaryS: 30 },
  });
  expect(now.heartbeatS).toEqual({ value: 7, from: "configuration" });
  expect(now.metricsS).toEqual({ value: 20, from: "device" });
  expect(now.canaryS).toEqual({ value: 30, from: "site" });
  expect(now["inventory.users"]).toEqual({ value: 3600, from: "standard" });
  expect(heldBack(now, [{ heartbeatS: 30 }, undefined])).toEqual(["heartbeatS"]);
  expect(settingsWords(now)).toBe("metricsS = 20, canaryS = 30");
});

test("a payload that an older version put in force and this one does not understand sets nothing", () => {
  expect(settingsIn({ payload: { metricsS: 30, gone: 1 } })).toBeUndefined();
});

test("only what differs is turned; when one knob is stuck, all are turned back and the error names it", () => {
  const turned: [SettingKey, number][] = [];
  const next = effective({ local: {}, site: { metricsS: 30, eventsPerS: 5000, "inventory.users": 600, "inventory.mounts": 600 } });
  turnTo(next, standard, (key, value) => turned.push([key, value]));
  expect(turned).toEqual([
    ["metricsS", 30],
    ["eventsPerS", 5000],
    ["inventory.users", 600],
    ["inventory.mounts", 600],
  ]);
  turned.length = 0;
  const stuck = () =>
    turnTo(next, standard, (key, value) => {
      turned.push([key, value]);
      if (key === "inventory.users") throw new Error("rust");
    });
  expect(stuck).toThrow("inventory.users: rust");
  expect(turned).toEqual([
    ["metricsS", 30],
    ["eventsPerS", 5000],
    ["inventory.users", 600],
    ["metricsS", 60],
    ["eventsPerS", 2000],
    ["inventory.users", 3600],
  ]);
});
