import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { health } from "@picket/protocol/health";
import { serveStatusPage } from "@picket/protocol/status-page";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type LocalPlaces, localFindings } from "./local-health.ts";

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "picket-local-"));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const state = "/var/lib/picket/agent";
const places = (): LocalPlaces => ({ site: join(dir, "site.toml"), agent: join(dir, "agent.toml"), state, run: dir });
function toml(name: "site.toml" | "agent.toml", text: string): void {
  writeFileSync(join(dir, name), text);
}
const status = (change: object) =>
  writeFileSync(
    join(dir, `agent-${new Bun.CryptoHasher("sha256").update(state).digest("hex").slice(0, 12)}.json`),
    JSON.stringify({ pid: process.pid, startTicks: ownTicks(), device: "gw-1", connected: true, ...change }),
  );
function ownTicks(): number {
  const stat = new TextDecoder().decode(Bun.spawnSync(["cat", `/proc/${process.pid}/stat`]).stdout);
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
}

test("where nothing has a page and no agent is installed, nothing is said", async () => {
  toml("site.toml", "");
  expect(await localFindings(places())).toEqual([]);
});

test("a detector's page is asked: it is well, it is not, it does not answer", async () => {
  let why: string | undefined;
  const page = await serveStatusPage({ health: () => health("detector", "1.2.3", { ready: [why], useful: [] }), metrics: () => "" }, 0);
  toml("site.toml", `[detector.status]\nport = ${page.port}\n`);
  expect(await localFindings(places())).toEqual([
    { level: "ok", what: "this machine's detector (version 1.2.3) lives, is ready and useful" },
  ]);
  why = "the broker's log is not followed: refused";
  expect(await localFindings(places())).toEqual([
    { level: "error", what: "This machine's detector: the broker's log is not followed: refused.", todo: expect.stringMatching(/log/) },
  ]);
  await page[Symbol.asyncDispose]();
  expect(await localFindings(places())).toEqual([
    { level: "error", what: `This machine's detector does not answer at 127.0.0.1:${page.port}.`, todo: expect.stringMatching(/restart/) },
  ]);
});

test("something else on that port is not taken for the agent", async () => {
  const other = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("hello") });
  toml("site.toml", "");
  toml("agent.toml", `[status]\nport = ${other.port}\n`);
  expect(await localFindings(places())).toMatchObject([{ level: "error", what: expect.stringContaining("agent does not answer") }]);
  await other.stop(true);
});

test.each([
  ["runs and is connected", {}, "ok", "this machine's agent (gw-1) runs and is connected"],
  ["is not connected", { connected: false, why: "refused" }, "error", "is not connected to its site: refused"],
  ["does not run", { startTicks: 1 }, "error", "(gw-1) does not run"],
])("without a page, the agent's status file says that it %s", async (_, change, level, what) => {
  toml("site.toml", "");
  status(change);
  expect(await localFindings(places())).toMatchObject([{ level, what: expect.stringContaining(what) }]);
});

test("a status file that is none says nothing; a site.toml that was named must be usable", async () => {
  toml("site.toml", "");
  status({ pid: "x" });
  expect(await localFindings(places())).toEqual([]);
  toml("site.toml", "shoes = 1");
  await expect(localFindings(places())).rejects.toThrow("unknown key");
});
