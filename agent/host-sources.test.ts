// With the real sensor: who changes a critical file is named.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EventDraft } from "@picket/protocol/event";
import { afterAll, beforeAll, expect, test } from "vitest";
import { AgentConfig } from "./config.ts";
import { type HostSources, startHostSources } from "./host-sources.ts";
import { type Sensor, startSensor } from "./sensor.ts";

const missing = process.getuid?.() === 0 ? undefined : "the sensor needs root";
if (missing) console.warn(`host-sources: skipped, ${missing}`);

let dir: string;
let sensor: Sensor;
let sources: HostSources;
const told: EventDraft[] = [];
const integrity = () =>
  told.flatMap(({ type, body }) => (type === "file.integrity" ? [body as Extract<EventDraft, { type: "file.integrity" }>["body"]] : []));

beforeAll(async () => {
  if (missing) return;
  dir = mkdtempSync(join(tmpdir(), "picket-sources-"));
  mkdirSync(join(dir, "etc"));
  writeFileSync(join(dir, "etc/passwd"), "root\n");
  const config = AgentConfig.parse({ state: dir, logs: { source: "files" }, integrity: { paths: [`${dir}/etc/`], everyS: 3600 } });
  sources = startHostSources({ config, state: dir, emit: (draft) => told.push(draft) });
  sensor = startSensor({ ignorePid: process.pid, watchRead: [], watchWrite: [`${dir}/`] }, (draft) => told.push(sources.see(draft)));
}, 30_000);
afterAll(() => {
  if (missing) return;
  sensor[Symbol.dispose]();
  sources[Symbol.dispose]();
  rmSync(dir, { recursive: true });
});

test.skipIf(missing)(
  "a change is told with the program that made it: written, replaced, made executable, removed",
  { timeout: 30_000 },
  async () => {
    await expect.poll(() => sources.capabilities().find(({ name }) => name === "integrity")?.why).toContain("2 critical files");
    const passwd = join(dir, "etc/passwd");
    const run = async (script: string) => {
      expect(await Bun.spawn(["sh", "-c", script]).exited).toBe(0);
      await expect.poll(() => integrity().length, { timeout: 5000 }).toBeGreaterThan(0);
      // The folder itself is listed as well, but compared by owner and mode only.
      return integrity().at(-1);
    };
    expect(await run(`echo evil >> ${passwd}; sleep 0`)).toMatchObject({
      change: "changed",
      file: { path: passwd },
      process: { argv: ["sh", "-c", expect.stringContaining("evil")] },
      before: { size: 5 },
      after: { size: 10 },
    });
    told.length = 0;
    expect(await run(`cp ${passwd} ${dir}/new; mv ${dir}/new ${passwd}; chmod 4755 ${passwd}`)).toMatchObject({
      change: "changed",
      process: { argv: ["chmod", "4755", passwd] },
      after: { mode: 0o104755 },
    });
    told.length = 0;
    expect(await run(`rm ${passwd}`)).toMatchObject({ change: "removed", process: { argv: ["rm", passwd] } });
  },
);

test.skipIf(missing)("each says how it is, and what is switched off is not named", () => {
  expect(sources.capabilities().map(({ name }) => name)).toEqual(["logs", "usb", "integrity"]);
  const config = AgentConfig.parse({ logs: { source: "off" }, integrity: { paths: [] } });
  using quiet = startHostSources({ config, state: dir, emit: () => {} });
  expect(quiet.capabilities().map(({ name }) => name)).toEqual(["usb"]);
});
