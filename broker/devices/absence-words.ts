// What alerts about silence say.
import type { OnlineStatus } from "@picket/protocol/status";
import type { How } from "../store/absences.ts";
import { type Gone, KILLED_GRACE_MS } from "./absence.ts";

/** protocol/alert.ts */
const MAX_SUMMARY = 1000;

const iso = (ms: number) => new Date(ms).toISOString();
const seconds = (ms: number) => `${Math.max(0, Math.round(ms / 1000))} s`;

/** One device that went alone. */
export function goneWords({ device, how, goneMs }: Gone, nowMs: number): string {
  const silent = `nothing has been heard of it since ${iso(goneMs)}`;
  switch (how) {
    case "stopped":
      return `The agent on ${device} was stopped; ${silent}.`;
    case "killed":
      return `The agent on ${device} ended without a word at ${iso(goneMs)} and is not back after ${seconds(Math.max(nowMs - goneMs, KILLED_GRACE_MS))}. Its host closed the connection, so the host was up: the agent was killed, or it crashed.`;
    case "lost":
      return `${device} fell silent at ${iso(goneMs)} and its host does not answer either: the host, its power or its network is lost.`;
    case "silent":
      return `${device} has not been heard of since ${iso(goneMs)}.`;
  }
}

/** The same device when it is back. What it says of itself tells what had happened. */
export function backWords(
  device: string,
  of: { how: How; goneMs: number; nowMs: number; before: OnlineStatus | undefined; now: OnlineStatus },
): string {
  const { how, before, now } = of;
  const went = how === "killed" ? "ended without a word" : how === "stopped" ? "was stopped" : "fell silent";
  const again = !before
    ? ""
    : before.boot !== now.boot
      ? ": its host was started again"
      : before.epoch !== now.epoch
        ? ": its agent was started again, its host had run on"
        : ": its agent had run on, only the way to the site was cut";
  return `${device} ${went} at ${iso(of.goneMs)} and is back after ${seconds(of.nowMs - of.goneMs)}${again}.`;
}

type Member = { readonly device: string; readonly how: How; readonly backMs: number | null; readonly network: string };

/** Many that went together: how many, which, what they share, and who is back. */
export function blackoutWords(of: { members: readonly Member[]; base: number; firstMs: number; lastMs: number; nowMs: number }): string {
  const { members, base, firstMs, lastMs } = of;
  const all = members.length >= base;
  const when = lastMs - firstMs < 2000 ? `at ${iso(firstMs)}` : `from ${iso(firstMs)} on, within ${seconds(lastMs - firstMs)}`;
  const away = members.filter(({ backMs }) => backMs === null);
  const back = members.length - away.length;
  const headline = `${members.length} of ${Math.max(base, members.length)} devices went silent ${when}: ${causeOf(members, all)}.${shared(members)}`;
  if (back === members.length) return `${headline} All ${back} are back.`;
  const tail = back === 0 ? " They are: " : ` ${back} of ${members.length} are back. Still away: `;
  return `${headline}${tail}${names(away, MAX_SUMMARY - headline.length - tail.length)}`;
}

function causeOf(members: readonly Member[], all: boolean): string {
  const killed = members.filter(({ how }) => how === "killed").length;
  if (killed === members.length)
    return "their connections were all closed from outside, so the agents were killed, or something on the way cut them";
  const lost = all ? "the site's power or network, or the broker's own, is lost" : "their power or network is lost";
  return killed === 0 ? lost : `${lost}; ${killed} of the connections were closed from outside`;
}

function shared(members: readonly Member[]): string {
  const networks = [...Map.groupBy(members, ({ network }) => network)].sort((a, b) => b[1].length - a[1].length);
  const [network, of] = networks[0] ?? [];
  if (!network || !of || of.length < 2) return "";
  return of.length === members.length ? ` All are in ${network}.` : ` ${of.length} are in ${network}.`;
}

/** As many names as fit into `room` characters, and how many more there are. */
function names(members: readonly Member[], room: number): string {
  const all = members.map(({ device }) => device);
  for (let shown = all.length; shown > 0; shown--) {
    const rest = all.length - shown;
    const text = `${all.slice(0, shown).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}.`;
    if (text.length <= room) return text;
  }
  return `${all.length} devices.`;
}
