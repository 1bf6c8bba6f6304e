// What simulated devices do: how much, of which kind, and what the events look like.
import type { EventDraft } from "../../protocol/event.ts";
import type { Kind } from "./diary.ts";

/** The rule that the site knows and devices do not. */
export const SITE_RULE = "c4a05000-0000-4000-8000-000000000001";
/** "Program run from a temporary folder", which the agent ships. */
export const LOCAL_RULE = "b82cbaa7-cb20-578b-81de-d389b6930e58";
export const SITE_MARK = "/opt/chaos-mark/";
const LOCAL_MARK = "/tmp/chaos-local/";

export const siteRule = `title: Chaos mark
id: ${SITE_RULE}
status: test
logsource:
  category: process_creation
  product: linux
detection:
  selection:
    Image|contains: "/chaos-mark/"
  condition: selection
level: medium
`;

/** How a device lives. */
export type Habit = {
  /** Log lines a second, on average. */
  readonly perS: number;
  /** This many lines at once, each minute or so. */
  readonly burst: number;
  /** Of the agent's configuration. */
  readonly config: { readonly eventsPerS?: number; readonly buffer?: { readonly maxEvents: number } };
};

/** Most devices are quiet; some have a buffer that is soon full, some a rate that is soon exceeded. */
export function habitOf(device: number): Habit {
  if (device % 5 === 1) return { perS: 20, burst: 1500, config: { buffer: { maxEvents: 1000 } } };
  if (device % 5 === 3) return { perS: 20, burst: 2500, config: { eventsPerS: 100 } };
  return { perS: 20, burst: 0, config: {} };
}

export type Make = { readonly kind: Kind; readonly group: number };
const BURST_TICKS = 300;
/** Ticks between two marks, and marks that are about the same program and so grow one alert. */
const MARK_TICKS = 20;
const GROUP = 4;

/** What a device does in its `tick`th tenth of a second. */
export function* makes(habit: Habit, tick: number, random: () => number): Generator<Make> {
  const lines = Math.floor((habit.perS / 10) * 2 * random()) + (habit.burst > 0 && tick % BURST_TICKS === 150 ? habit.burst : 0);
  for (let at = 0; at < lines; at++) yield { kind: "plain", group: 0 };
  const mark = Math.floor(tick / MARK_TICKS);
  if (tick % MARK_TICKS === 10) yield { kind: mark % 2 === 0 ? "site" : "local", group: Math.floor(mark / 2 / GROUP) };
}

/** The event for an attempt in the diary: the same for whoever makes it and for whoever checks it. */
export function draftOf(of: { device: string; timeMs: number; kind: Kind; what: string }): EventDraft {
  const { timeMs, kind, what, device } = of;
  if (kind === "plain") return { type: "log.line", timeMs, body: { source: "chaos", message: `${device} ${what}` } };
  const exe = `${kind === "site" ? SITE_MARK : LOCAL_MARK}${what}`;
  const [, group = "0"] = what.split(".");
  const process = {
    pid: 10_000 + Number(group) * 2 + (kind === "site" ? 0 : 1),
    startTicks: ticksOf(what),
    ppid: 1,
    uid: 0,
    exe,
    argv: [exe],
  };
  return { type: "process.exec", timeMs, body: { process } };
}

/** A time of start of its own for each program, or two runs' programs would be one process. */
const ticksOf = (what: string) => [...what].reduce((sum, letter) => (sum * 33 + letter.charCodeAt(0)) % 1_000_000_007, 5381) + 1;
