import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BadConfig } from "@picket/protocol/config";
import { afterEach, beforeEach, expect, test } from "vitest";
import { resolveHome } from "./config.ts";
import { Failure } from "./failure.ts";
import { readSiteConfig } from "./site-config.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "picket-config-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("the operator's home: flag, then environment, then ./.picket/operator, then ~/.config/picket", () => {
  const env = { PICKET_HOME: "/from/env", HOME: "/home/anna" };
  expect(resolveHome("here", env, folder)).toBe(join(folder, "here"));
  expect(resolveHome(undefined, env, folder)).toBe("/from/env");
  expect(resolveHome(undefined, { HOME: "/home/anna" }, folder)).toBe("/home/anna/.config/picket");
  mkdirSync(join(folder, ".picket", "operator"), { recursive: true });
  expect(resolveHome(undefined, { HOME: "/home/anna" }, folder)).toBe(join(folder, ".picket", "operator"));
});

test("one file has a section for each program; the command line wins", () => {
  const file = join(folder, "site.toml");
  writeFileSync(file, '[broker]\ndir = "/a"\nmqttPort = 1883\n[detector]\ndir = "/b"\n');
  const config = readSiteConfig(file, { broker: { dir: "/c" } });
  expect([config.broker.dir, config.broker.mqttPort, config.detector.dir]).toEqual(["/c", 1883, "/b"]);
});

test("all problems are said at once, with their places", () => {
  const file = join(folder, "site.toml");
  writeFileSync(file, '[broker]\nmqttPort = "x"\nshoes = 1\n[mesh]\n');
  expect(() => readSiteConfig(file)).toThrow(BadConfig);
  expect(() => readSiteConfig(file)).toThrow(
    /broker\.mqttPort[\s\S]*broker\.shoes: unknown key[\s\S]*mesh: unknown key|mesh: unknown key[\s\S]*/,
  );
});

test("a named file that is not there is an error, the default one need not be", () => {
  expect(() => readSiteConfig(join(folder, "none.toml"))).toThrow(Failure);
});
