// A whole site in the network of network.ts, made with the same commands an operator types.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Alert } from "../../protocol/alert.ts";
import type { SensorEvent } from "../../protocol/event.ts";
import type { Device } from "../../protocol/rest.ts";
import type { Network } from "./network.ts";
import { type Program, run, start } from "./program.ts";

const root = new URL("../..", import.meta.url).pathname;
const PICKET = ["bun", `${root}cli/main.ts`];
const AGENT = ["bun", `${root}agent/main.ts`];
export const DEVICE = "gw-014";
/** A Standard Webhooks secret of the test's own. */
export const WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const WEBHOOK_PORT = 9000;

export type Site = AsyncDisposable & {
  readonly dir: string;
  readonly home: string;
  readonly agentState: string;
  /** Runs `picket` where the broker is; rejects unless it ends with 0. */
  picket(...args: string[]): Promise<string>;
  /** The same, and what it said is up to the caller. */
  tryPicket(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }>;
  startBroker(): Promise<Program>;
  startDetector(): Promise<Program>;
  startAgent(): Promise<Program>;
  startReceiver(): Promise<Program>;
  alerts(): Promise<Alert[]>;
  device(): Promise<Device>;
  events(type: string): Promise<SensorEvent[]>;
};

/** Operator keys, site, one enrolled device; nothing runs yet but what enrolment needed. */
export async function createSite(network: Network): Promise<Site> {
  const dir = mkdtempSync(join(tmpdir(), "picket-e2e-"));
  const home = join(dir, "operator");
  const agentState = join(dir, "agent");
  const { v4 } = network.address.site;
  const programs: Program[] = [];
  const tryPicket = (...args: string[]) => run(network.on("site", [...PICKET, "--home", home, ...args]));
  const picket = async (...args: string[]) => {
    const { code, stdout, stderr } = await tryPicket(...args);
    if (code !== 0) throw new Error(`picket ${args.join(" ")} ended with ${code}: ${stderr}`);
    return stdout;
  };
  const keep = async (program: Program, ready: RegExp) => {
    programs.push(program);
    await program.line(ready);
    return program;
  };
  const ndjson = <T>(text: string): T[] =>
    text
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));

  await picket("operator", "init", "--site", "north", "--name", "tester");
  await picket("site", "init", "--site", "north", "--host", v4, "--host", network.address.site.v6, "--dir", join(dir, "site"));
  const config = join(dir, "site.toml");
  writeFileSync(
    config,
    `[broker]\ndir = "${dir}/site"\nhost = "::"\n[[broker.sinks]]\nname = "hook"\nurl = "http://127.0.0.1:${WEBHOOK_PORT}/"\nsecret = "${WEBHOOK_SECRET}"\n[detector]\ndir = "${dir}/site"\n`,
  );
  const site: Site = {
    dir,
    home,
    agentState,
    picket,
    tryPicket,
    startBroker: () => keep(start(network.on("site", [...PICKET, "broker", "--config", config])), /broker listens/),
    startDetector: () => keep(start(network.on("site", [...PICKET, "detector", "--config", config])), /following the broker/),
    // The longest heartbeat: what is told sooner was told because it happened.
    startAgent: () =>
      keep(start(network.on("device", ["env", "PICKET_HEARTBEAT_S=30", ...AGENT, "--state", agentState, "run"])), /"connected"/),
    startReceiver: () => keep(start(network.on("site", ["bun", `${root}test/e2e/receiver.ts`, String(WEBHOOK_PORT)])), /^receiving/),
    alerts: async () => ndjson<Alert>(await picket("alerts", "--json")),
    device: async () => JSON.parse(await picket("device", DEVICE, "--json")).device,
    events: async (type) => ndjson<SensorEvent>(await picket("events", "--type", type, "--json")),
    [Symbol.asyncDispose]: async () => {
      for (const program of programs.toReversed()) await program[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true, force: true });
    },
  };
  await using broker = await site.startBroker();
  const token = join(dir, "token");
  await picket("token", "create", "--out", token);
  const enrolled = await run(network.on("device", [...AGENT, "--state", agentState, "enroll", "--name", DEVICE, "--token-file", token]));
  if (enrolled.code !== 0) throw new Error(`enrolment failed: ${enrolled.stderr}`);
  await broker.kill();
  return site;
}
