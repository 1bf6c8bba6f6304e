// One cut of a site and one of a device; `bun run power-loss` does more of them.
import { existsSync } from "node:fs";
import { expect, test } from "vitest";
import { eventually, start } from "../e2e/program.ts";
import { cutDevice } from "./device.ts";
import { whyNoGuest } from "./guest.ts";
import { printDevice, printSite } from "./print.ts";
import { cutSite } from "./site.ts";

const reason = await whyNoGuest();
const why = reason && ` (${reason})`;
const SEED = 4;
/** A minute on an idle machine. */
const LIMIT_MS = 900_000;

const wishes = { rounds: 1, seed: SEED, lies: false, tell: () => {}, signal: new AbortController().signal };

test.skipIf(why)(
  `a site whose power fails under load has all it acknowledged, once, and every alert once${why}`,
  async () => {
    const result = await cutSite(wishes);
    expect(result.differences, printSite(result)).toEqual([]);
    expect(result.rounds[0]!.acknowledged).toBeGreaterThan(0);
    for (const row of result.rows) expect(row.alerts.found, row.device).toBeGreaterThan(0);
  },
  LIMIT_MS,
);

test.skipIf(why)(
  `a device whose power fails can tell what became of every number${why}`,
  async () => {
    const result = await cutDevice("balanced", wishes);
    expect(result.differences, printDevice(result)).toEqual([]);
    expect(result.row.lost.power).toBeGreaterThan(0);
  },
  LIMIT_MS,
);

test.skipIf(why)(
  `SIGINT in the middle leaves nothing behind${why}`,
  async () => {
    await using program = start([process.execPath, new URL("main.ts", import.meta.url).pathname, "--only", "balanced"]);
    const [, dir = ""] = /^works in (\S+)$/.exec(await program.line(/^works in /)) ?? [];
    const machine = () =>
      Bun.spawnSync(["pgrep", "-f", `qemu.*${dir}/`])
        .stdout.toString()
        .trim();
    await eventually("the machine is on", () => machine() !== "", LIMIT_MS);
    expect(await program.kill("SIGINT")).toBe(1);
    expect([existsSync(dir), machine()]).toEqual([false, ""]);
  },
  LIMIT_MS,
);
