// How the console and the command line say things. One wording for one state, everywhere.
import type { Alert, AlertOrigin } from "@picket/protocol/alert";
import { WHOLE_SITE } from "@picket/protocol/pack";
import type { CommandRecord, Device } from "@picket/protocol/rest";
import type { Capability, OnlineStatus } from "@picket/protocol/status";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** A span of time in one unit: "now", "12 s", "3 min", "2 h", "5 d". Never wider than 7 cells up to 99,999 days. */
export function spanWords(ms: number): string {
  if (ms < SECOND) return "now";
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < 2 * DAY) return `${Math.floor(ms / HOUR)} h`;
  return `${Math.floor(ms / DAY)} d`;
}

/** "just now" or "3 min ago". Clocks that disagree never show a time in the future. */
export function agoWords(ms: number, nowMs: number): string {
  const words = spanWords(nowMs - ms);
  return words === "now" ? "just now" : `${words} ago`;
}

/** Time of day here, 03:14:07. */
export const clockWords = (ms: number) => new Date(ms).toTimeString().slice(0, 8);

/** Date and time here, 2026-03-01 03:14:07. */
export function dateWords(ms: number): string {
  const date = new Date(ms);
  const two = (value: number) => String(value).padStart(2, "0");
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${clockWords(ms)}`;
}

/** The sentence that explains an alert, without its title: that stands above it. */
export function summaryWords({ rule, summary }: Alert): string {
  if (!summary) return "The rule gave no summary.";
  const title = `${rule.title}: `;
  return summary.startsWith(title) ? summary.slice(title.length) : summary;
}

/** How a device went that is not there: "agent killed", "host or network lost", "part of a blackout of 23". */
function awayWords({ away, presence }: Device): string {
  if (away?.blackout) {
    const { devices, back } = away.blackout;
    return `part of a blackout of ${devices}${back > 0 ? ` (${back} are back)` : ""}`;
  }
  if (presence === "stopped") return "agent stopped";
  if (away?.how === "killed") return "agent killed";
  return away?.how === "lost" ? "host or network lost" : "offline";
}

/** "online", "agent killed, last seen 3 min ago", "revoked". */
export function presenceWords(device: Device, nowMs: number): string {
  if (device.trust === "revoked") return "revoked";
  const seen = device.lastSeenMs === undefined ? "" : `, last seen ${agoWords(device.lastSeenMs, nowMs)}`;
  switch (device.presence) {
    case "online":
      return "online";
    case "offline":
    case "stopped":
      return `${awayWords(device)}${seen}`;
    case "never":
      return "enrolled, never connected";
  }
}

/** Whether anything keeps us from watching this device. */
export const isDark = (device: Device) => device.trust === "enrolled" && device.presence !== "online";

export type IsolationView = "no" | "isolating" | "isolated" | "releasing" | "self-released";

/** What was ordered beside what the device says: they need not agree yet. */
export function isolationOf(device: Device): IsolationView {
  const state = device.status?.isolation.state ?? "off";
  if (state === "isolated") return device.isolationWanted ? "isolated" : "releasing";
  if (state === "released-by-dead-man" && device.isolationWanted) return "self-released";
  return device.isolationWanted ? "isolating" : "no";
}

/** Like `isolationOf`, for a column. */
export const isolationWords: Record<IsolationView, string> = {
  no: "-",
  isolating: "isolating…",
  isolated: "ISOLATED",
  releasing: "releasing…",
  "self-released": "let go by timer",
};

/** "100 %" only when nothing was lost: never rounded up. */
export function coverageWords(coverage: { stored: number; lost: number; ratio: number }): string {
  if (coverage.lost === 0) return coverage.stored === 0 ? "no data" : "100 %";
  const percent = Math.min(99.99, Math.floor(coverage.ratio * 10_000) / 100);
  return `${percent} %`;
}

export type CommandOutcome = "pending" | "done" | "failed";
export type CommandView = { readonly outcome: CommandOutcome; readonly words: string };

const doneWords: Record<string, string> = {
  isolate: "is isolated: only its connection to the site is left",
  release: "is released: its network is back",
  scan: "has read the memory",
};

/** Where a command is, in words. `device` is as last known, for the reason why it waits. */
export function commandView(command: CommandRecord, device: Device | undefined, nowMs: number): CommandView {
  const { result } = command;
  if (result) {
    if (result.ok && result.code === "done")
      return { outcome: "done", words: `${command.device} ${doneWords[command.act] ?? "has done it"}` };
    const detail = result.message ? `: ${result.message}` : "";
    if (result.code === "rolled-back")
      return { outcome: "failed", words: `${command.device} rolled the ${command.act} back, nothing changed${detail}` };
    if (result.code === "failed") return { outcome: "failed", words: `${command.device} could not ${command.act}${detail}` };
    return { outcome: "failed", words: `${command.device} refused to ${command.act} (${result.code})${detail}` };
  }
  switch (command.state) {
    case "expired":
      return { outcome: "failed", words: `${command.device} never fetched the order to ${command.act}; it has expired` };
    case "answered":
      return { outcome: "failed", words: `${command.device} answered, but the site lost the answer` };
    case "sent":
      return { outcome: "pending", words: `${command.device} has the order, waiting for its answer` };
    case "waiting":
      return { outcome: "pending", words: waitingWords(command.device, device, nowMs) };
  }
}

function waitingWords(name: string, device: Device | undefined, nowMs: number): string {
  if (!device || device.presence === "online") return `waiting for ${name}`;
  return `waiting for ${name} (${presenceWords(device, nowMs)}); it obeys when it is back`;
}

/** "south", or "south (vouched for by north)" for a site that is no peer of ours. */
export const originWords = ({ site, via, trust }: AlertOrigin): string => (trust === "peer" ? site : `${site} (vouched for by ${via})`);

const sentence = (text: string) => (/[.!?]$/.test(text) ? text : `${text}.`);

/** Why something does not work, and what to do. */
export const whyWords = ({ why, todo }: Pick<Capability, "why" | "todo">): string => (todo ? `${sentence(why)} To do: ${todo}` : why);

/** Which settings from the site a device runs: "version 4 for the whole site, version 1 of its own; its own configuration keeps canaryS". `refused`: not all that was set for it. */
export function settingsWords({ packs, held = [] }: Pick<OnlineStatus, "packs" | "held">): { words: string; refused: boolean } {
  if (!packs) return { words: "its agent knows no settings from the site: upgrade it", refused: false };
  const ofSettings = packs
    .filter(({ kind }) => kind === "settings")
    .toSorted((a, b) => Number(b.dev === WHOLE_SITE) - Number(a.dev === WHOLE_SITE));
  const whose = (dev: string) => (dev === WHOLE_SITE ? "for the whole site" : "of its own");
  const runs = ofSettings.filter(({ version }) => version > 0).map(({ dev, version }) => `version ${version} ${whose(dev)}`);
  const refused = ofSettings.flatMap(({ dev, refused }) =>
    refused ? [`REFUSES version ${refused.version} ${whose(dev)}: ${refused.why}`] : [],
  );
  const keeps = held.length > 0 ? [`its own configuration keeps ${held.join(", ")}`] : [];
  return { words: [...refused, runs.join(", ") || "none from the site", ...keeps].join("; "), refused: refused.length > 0 };
}
