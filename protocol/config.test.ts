import { expect, test } from "vitest";
import * as z from "zod";
import { BadConfig, printConfig, readConfig } from "./config.ts";

const schema = z.strictObject({
  name: z.string().default("a").describe("What it is called."),
  mqtt: z
    .strictObject({ port: z.int().min(1).max(65535).default(8883).describe("TCP port."), hosts: z.array(z.string()).default([]) })
    .prefault({}),
});
const file = (text: string) => ({ name: "site.toml", text });

test("defaults fill what nobody set", () => {
  expect(readConfig(schema, {})).toEqual({ name: "a", mqtt: { port: 8883, hosts: [] } });
});

test("command line > environment > file > default", () => {
  const text = 'name = "file"\n[mqtt]\nport = 1\nhosts = ["file"]';
  const env = { PICKET_NAME: "env", PICKET_MQTT_PORT: "2" };
  expect(readConfig(schema, { file: file(text), env, args: { name: "args", mqtt: { port: undefined } } })).toEqual({
    name: "args",
    mqtt: { port: 2, hosts: ["file"] },
  });
});

test("a name that looks like a number stays a name", () => {
  expect(readConfig(schema, { env: { PICKET_NAME: "5" } }).name).toBe("5");
});

test("all errors at once, each with its place", () => {
  const read = () => readConfig(schema, { file: file("nmae = 1\n[mqtt]\nport = 0\nprot = 3"), env: { PICKET_MQTT_HOSTS: "x" } });
  expect(read).toThrow(BadConfig);
  expect(read).toThrow(/site\.toml: nmae: unknown key/);
  expect(read).toThrow(/site\.toml: mqtt\.prot: unknown key/);
  expect(read).toThrow(/site\.toml: mqtt\.port: /);
  expect(read).toThrow(/environment PICKET_MQTT_HOSTS: mqtt\.hosts: /);
});

test("text that is not TOML names the file", () => {
  expect(() => readConfig(schema, { file: file("= =") })).toThrow(/site\.toml: not TOML/);
});

test("what is printed can be read back", () => {
  const value = readConfig(schema, { args: { name: "x", mqtt: { hosts: ["h"] } } });
  const printed = printConfig(schema, value);
  expect(printed).toContain("# TCP port.");
  expect(readConfig(schema, { file: file(printed) })).toEqual(value);
});
