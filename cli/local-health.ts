// What the programs of this machine say of themselves, where they say anything: their status pages on loopback, and the agent's status file.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BadConfig } from "@picket/protocol/config";
import { Health } from "@picket/protocol/health";
import type { Finding } from "@picket/protocol/rest";
import * as z from "zod";
import { Failure } from "./failure.ts";
import { readSiteConfig } from "./site-config.ts";

const TIMEOUT_MS = 5000;
const MAX_ANSWER_CHARS = 64 << 10;

/** Where programs of this machine are looked for. */
export type LocalPlaces = {
  /** site.toml; undefined: the default one, which need not be there. */
  readonly site: string | undefined;
  readonly agent: string;
  /** The state folder of the agent, and where agents write their status files. */
  readonly state: string;
  readonly run: string;
};

export const LOCAL: LocalPlaces = { site: undefined, agent: "/etc/picket/agent.toml", state: "/var/lib/picket/agent", run: "/run/picket" };

/** Findings about this machine's detector and agent; empty where neither is set up here to be asked. Throws `BadConfig` and `Failure` for a file that was named. */
export async function localFindings(places: LocalPlaces): Promise<Finding[]> {
  const [detector, agent] = [detectorPort(places.site), agentPort(places.agent)];
  const all = await Promise.all([
    detector ? pageFindings("detector", detector) : [],
    agent ? pageFindings("agent", agent) : agentFindings(places),
  ]);
  return all.flat();
}

function detectorPort(file: string | undefined): number {
  try {
    return readSiteConfig(file).detector.status.port;
  } catch (error) {
    // The default file may be another user's, or of no concern to whoever only operates from here.
    if (file === undefined && (error instanceof BadConfig || error instanceof Failure)) return 0;
    throw error;
  }
}

const AgentPort = z.object({ status: z.object({ port: z.int().min(0).max(65535) }) });

function agentPort(file: string): number {
  try {
    return AgentPort.parse(Bun.TOML.parse(readFileSync(file, "utf8"))).status.port;
  } catch {
    return 0;
  }
}

/** What a status page says, as findings. One that works is a finding too: it was asked. */
async function pageFindings(part: "agent" | "detector", port: number): Promise<Finding[]> {
  const at = `127.0.0.1:${port}`;
  const restart = part === "agent" ? "sudo systemctl restart picket-agent" : "sudo systemctl restart picket-site";
  let health: Health;
  try {
    const answer = await fetch(`http://${at}/healthz`, { signal: AbortSignal.timeout(TIMEOUT_MS), redirect: "error" });
    health = Health.parse(JSON.parse((await answer.text()).slice(0, MAX_ANSWER_CHARS)));
  } catch (error) {
    const hangs = error instanceof Error && error.name === "TimeoutError";
    return [
      {
        level: "error",
        what: `This machine's ${part} ${hangs ? "hangs" : "does not answer"} at ${at}.`,
        todo: `See whether it runs and what its log says; ${restart}`,
      },
    ];
  }
  const why = [...health.ready.why, ...health.useful.why];
  if (why.length === 0) return [{ level: "ok", what: `this machine's ${part} (version ${health.version}) lives, is ready and useful` }];
  const todo = part === "agent" ? "See `sudo picket-agent status`" : "See the site's log: `journalctl -u picket-site`";
  return [{ level: "error", what: `This machine's ${part}: ${why.join("; ")}.`, todo }];
}

const StatusFile = z.object({
  pid: z.int(),
  startTicks: z.int(),
  device: z.string().max(64),
  connected: z.boolean(),
  why: z.string().max(1000).optional(),
});

/** The agent's status file, where there is one and this user may read it. Named after its state folder, as agent/status-file.ts does. */
function agentFindings({ run, state }: LocalPlaces): Finding[] {
  const status = readStatus(join(run, `agent-${new Bun.CryptoHasher("sha256").update(state).digest("hex").slice(0, 12)}.json`));
  if (!status) return [];
  const { device, connected, why } = status;
  if (!isRunning(status))
    return [{ level: "error", what: `This machine's agent (${device}) does not run.`, todo: "sudo systemctl start picket-agent" }];
  if (connected) return [{ level: "ok", what: `this machine's agent (${device}) runs and is connected` }];
  return [
    {
      level: "error",
      what: `This machine's agent (${device}) is not connected to its site: ${why ?? "connecting"}.`,
      todo: "See `sudo picket-agent status`; events wait in its buffer",
    },
  ];
}

function readStatus(path: string): z.output<typeof StatusFile> | undefined {
  try {
    return StatusFile.safeParse(JSON.parse(readFileSync(path, "utf8"))).data;
  } catch {
    return undefined;
  }
}

/** The process of that number is still the one that wrote the file: field 22 of /proc/pid/stat (proc(5)). */
function isRunning({ pid, startTicks }: { pid: number; startTicks: number }): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]) === startTicks;
  } catch {
    return false;
  }
}
