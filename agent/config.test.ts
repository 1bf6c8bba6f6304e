import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BadConfig, printConfig } from "@picket/protocol/config";
import { afterEach, beforeEach, expect, test } from "vitest";
import { AgentConfig, explicitSettings, loadConfig } from "./config.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "pkagt-config-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

function load(text: string, env: Record<string, string> = {}, state?: string) {
  const file = join(dir, "agent.toml");
  writeFileSync(file, text);
  return loadConfig({ file, state, env });
}

test("every key has a default and a description", () => {
  const config = load("");
  expect(config).toMatchObject({ state: "/var/lib/picket/agent", heartbeatS: 15, buffer: { maxEvents: 500_000 }, rules: { local: true } });
  const printed = printConfig(AgentConfig, config);
  for (const line of printed.split("\n")) if (/^\w+ =/.test(line)) expect(printed).toMatch(new RegExp(`# .+\n${line.split(" ")[0]} =`));
});

test("what `config --print` prints is a configuration, and the same one", () => {
  const config = load('heartbeatS = 7\n[watch]\nread = ["/a"]\nwrite = ["~/b/"]\n');
  expect(load(printConfig(AgentConfig, config))).toEqual(config);
});

test("command line over environment over file", () => {
  const text = 'state = "/file"\nlog = "error"\n[buffer]\nmaxEvents = 2000\n';
  expect(load(text)).toMatchObject({ state: "/file", log: "error", buffer: { maxEvents: 2000 } });
  const env = { PICKET_STATE: "/env", PICKET_BUFFER_MAX_EVENTS: "3000", PICKET_WATCH_READ: '["/x"]' };
  expect(load(text, env)).toMatchObject({ state: "/env", buffer: { maxEvents: 3000 }, watch: { read: ["/x"] } });
  expect(load(text, env, "/args")).toMatchObject({ state: "/args" });
});

test("all problems are told at once, with the place of each", () => {
  const load2 = () => load("heartbeatS = 1\nspeed = 3\n[watch]\nread = ['relative']\n", { PICKET_EVENTS_PER_S: "many" });
  expect(load2).toThrow(BadConfig);
  for (const part of ["heartbeatS", "speed: unknown key", "watch.read", "PICKET_EVENTS_PER_S"]) expect(load2).toThrow(part);
});

test("what is said explicitly is told from defaults, wherever it was said", () => {
  const file = join(dir, "agent.toml");
  writeFileSync(file, "metricsS = 60\nlog = 'error'\n[watch]\nread = []\n");
  expect(explicitSettings({ file, env: { PICKET_HEARTBEAT_S: "20" } })).toEqual({ metricsS: 60, heartbeatS: 20 });
});

test("a file that was named must exist; the default one need not", () => {
  expect(() => loadConfig({ file: join(dir, "none.toml"), env: {} })).toThrow("none.toml");
  expect(() => loadConfig({ env: { PICKET_CONFIG: join(dir, "none.toml") } })).toThrow("none.toml");
});

test("every key is read by the program", () => {
  const sources = ["run.ts", "files.ts", "host-sources.ts", "recorder.ts", "report.ts", "standalone.ts", "main.ts", "privacy.ts"]
    .map((file) => readFileSync(new URL(file, import.meta.url), "utf8"))
    .join("\n");
  for (const [key, value] of Object.entries(load(""))) {
    expect(sources, `nothing reads ${key}`).toContain(`config.${key}`);
    const taken = /\{ read: watchRead, write(?:: watchWrite)? \} = config\.watch|\.\.\.config\.(?:buffer|file)/g;
    const whole = [...sources.matchAll(taken)].some(([text]) => text.endsWith(`config.${key}`));
    if (typeof value !== "object" || whole) continue;
    for (const inner of Object.keys(value)) expect(sources, `nothing reads ${key}.${inner}`).toContain(`config.${key}.${inner}`);
  }
});
