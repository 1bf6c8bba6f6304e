// What the running agent tells `picket-agent status`: a small file, in memory (/run) where that can be written, so that it costs no flash.
import { accessSync, constants, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { Online, type OnlineStatus } from "@picket/protocol/status";
import * as z from "zod";

const RUN = "/run/picket";
const STATUS = "status.json";

export const AgentStatus = z.object({
  pid: z.int(),
  /** Of the process with that pid, so that another that got the number later is not taken for the agent. */
  startTicks: z.int(),
  device: z.string(),
  site: z.string(),
  broker: z.string(),
  connected: z.boolean(),
  /** Wall time of the last change of `connected`, milliseconds. */
  sinceMs: z.int(),
  /** Why it is not connected. */
  why: z.string().optional(),
  certificateExpiresMs: z.int(),
  online: Online,
});
export type AgentStatus = z.infer<typeof AgentStatus>;

/** Where the agent with this state folder writes its status. */
export const statusPath = (state: string): string => {
  const folder = runFolder();
  return folder === undefined ? join(state, STATUS) : join(folder, `${runName(state)}.json`);
};

/** How files of the agent with this state folder are called where agents with others have theirs, too. */
export const runName = (state: string) => `agent-${new Bun.CryptoHasher("sha256").update(resolve(state)).digest("hex").slice(0, 12)}`;

/** The folder for what need not survive a boot, made where there is none; undefined where it cannot be written. */
export function runFolder(): string | undefined {
  try {
    mkdirSync(RUN, { recursive: true, mode: 0o755 });
    accessSync(RUN, constants.W_OK);
    return RUN;
  } catch {
    return undefined;
  }
}

/** Replaces the file whole. Throws when the folder cannot be written. */
export function writeStatus(path: string, status: AgentStatus): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(status, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

/** What was last written, and whether the process that wrote it still runs. Undefined when no agent ever ran here. */
export function readStatus(path: string): { status: AgentStatus; running: boolean } | undefined {
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
  const parsed = AgentStatus.safeParse(json);
  if (!parsed.success) return undefined;
  return { status: parsed.data, running: startTicksOf(parsed.data.pid) === parsed.data.startTicks };
}

/** `readStatus` of the agent with this state folder, wherever it may write; of one that runs before one that does not. Makes no folder. */
export function findStatus(state: string): ReturnType<typeof readStatus> {
  const paths = [join(RUN, `${runName(state)}.json`), join(state, STATUS)];
  const found = paths.flatMap((path) => readStatus(path) ?? []);
  return found.find(({ running }) => running) ?? found[0];
}

/** Field 22 of /proc/pid/stat (proc(5)); undefined when there is no such process. */
export function startTicksOf(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
  } catch {
    return undefined;
  }
}

const mebibytes = (bytes: number) => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

function byWorth({ lost, bufferLost }: OnlineStatus): string {
  if (!bufferLost || lost.buffer === 0) return "";
  const { plain, hit, result } = bufferLost.by;
  return `: ${plain} plain, ${hit} with hits, ${result} results`;
}

/** Without what a terminal would obey: in a reason there may be what an answer on the network or a program on this host said. */
const printable = (line: string) => line.replaceAll(/\p{C}/gu, "\uFFFD");

/** For people. */
export function describeStatus({ status, running }: { status: AgentStatus; running: boolean }, nowMs: number): string {
  const { online } = status;
  const ago = (ms: number) => `${Math.max(0, Math.round((nowMs - ms) / 1000))} s ago`;
  const lost = online.lost.kernel + online.lost.shed + online.lost.buffer;
  return [
    running
      ? `picket-agent ${online.version} runs (pid ${status.pid}, epoch ${online.epoch})`
      : `picket-agent does not run; last seen ${ago(online.timeMs)}`,
    `device       ${status.device} of site ${status.site}, ${status.broker}`,
    `connection   ${!running ? "none: the agent does not run; it was " : ""}${status.connected ? "connected" : `not connected: ${status.why ?? "connecting"}`} (since ${new Date(status.sinceMs).toISOString()})`,
    `certificate  until ${new Date(status.certificateExpiresMs).toISOString()}`,
    `isolation    ${online.isolation.state}${online.isolation.reason ? ` (${online.isolation.reason})` : ""}`,
    `events       ${online.produced} made, ${online.buffer.events} waiting (${online.buffer.bytes} bytes), ${lost} lost (kernel ${online.lost.kernel}, shed ${online.lost.shed}, buffer ${online.lost.buffer}${byWorth(online)})`,
    ...(online.flash
      ? [
          `flash        ${mebibytes(online.flash.wroteBytes)} written in the last 24 hours of running, of ${mebibytes(online.flash.budgetBytes)} it may`,
        ]
      : []),
    `resources    ${Math.round(online.rssBytes / 2 ** 20)} MiB, ${online.cpuS.toFixed(1)} s of CPU`,
    ...online.capabilities.map((one) => `${one.level.padEnd(9)}    ${one.name}: ${one.why}${one.todo ? ` -> ${one.todo}` : ""}`),
  ]
    .map(printable)
    .join("\n");
}
