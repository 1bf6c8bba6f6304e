// The agent watches what it takes of the machine itself, and gives way: events are let go of, least valuable first, and memory is given back.
import type { Capability } from "@picket/protocol/status";
import type { Strain } from "./shed.ts";

export type Limits = {
  /** Of one core, on average between two looks. */
  readonly cpuPercent: number;
  readonly rssBytes: number;
};

export type OwnState = { readonly level: "live" | "degraded"; readonly why: string };

/** Looks without strain before some of it is taken back: the load that caused it usually comes again. */
const CALM_LOOKS = 3;
/** Of the limit: below it is calm. */
const CALM = 0.7;

const given: Record<Strain, string> = { 0: "nothing", 1: "events of files, ends and logs", 2: "all events without hits" };

export type OwnUse = {
  /** To be called now and then, every ten seconds say. */
  look(): void;
  /** How it stands with the limits. */
  capability(): Capability;
};

/** What the agent would do on reaching its limits, where none runs. */
export const withinLimits = ({ cpuPercent, rssBytes }: Limits): Capability => ({
  name: "agent",
  level: "live",
  why: `keeps to ${cpuPercent} % of a core and ${megabytes(rssBytes)}; beyond that it lets go of events, least valuable first`,
});

/**
 * Watches what the agent takes, and has it give way. `cpuMs`: CPU time used so far; `nowMs`: a clock that never jumps;
 * `trim` gives back what memory it can. `onState` is told when a limit is passed, when what is done about it changes, and when all is well again.
 */
export function watchOwnUse(of: {
  readonly limits: Limits;
  readonly cpuMs: () => number;
  readonly rss: () => number;
  readonly nowMs: () => number;
  readonly trim: () => void;
  readonly onStrain: (strain: Strain) => void;
  readonly onState: (state: OwnState) => void;
}): OwnUse {
  const { limits } = of;
  let last = { cpuMs: of.cpuMs(), nowMs: of.nowMs() };
  let strain: Strain = 0;
  let calm = 0;
  let large = false;
  let [ofCpu, ofMemory] = ["", ""];

  /** What has become of the strain, or undefined when nothing has. */
  const lookAtCpu = (): string | undefined => {
    const now = { cpuMs: of.cpuMs(), nowMs: of.nowMs() };
    const percent = ((now.cpuMs - last.cpuMs) / Math.max(1, now.nowMs - last.nowMs)) * 100;
    last = now;
    calm = percent < limits.cpuPercent * CALM ? calm + 1 : 0;
    const next = percent > limits.cpuPercent ? Math.min(2, strain + 1) : calm >= CALM_LOOKS ? Math.max(0, strain - 1) : strain;
    if (next === strain) return undefined;
    calm = 0;
    strain = next as Strain;
    of.onStrain(strain);
    return `took ${Math.round(percent)} % of a core (limit ${limits.cpuPercent} %): lets go of ${given[strain]}`;
  };
  const lookAtMemory = (): string | undefined => {
    if (of.rss() > limits.rssBytes) of.trim();
    const rss = of.rss();
    if (rss > limits.rssBytes === large) return undefined;
    large = !large;
    return `has ${megabytes(rss)} of memory, limit ${megabytes(limits.rssBytes)}`;
  };
  return {
    look: () => {
      const [cpu, memory] = [lookAtCpu(), lookAtMemory()];
      [ofCpu, ofMemory] = [cpu ?? ofCpu, memory ?? ofMemory];
      const why = [cpu, memory].filter((text) => text !== undefined).join("; ");
      if (why !== "") of.onState({ level: strain > 0 || large ? "degraded" : "live", why });
    },
    capability: () => {
      const why = [...(strain > 0 ? [ofCpu] : []), ...(large ? [ofMemory] : [])].join("; ");
      return why === "" ? withinLimits(limits) : { name: "agent", level: "degraded", why, todo };
    },
  };
}

const todo =
  "see what keeps this device so busy, or what of it need not be watched (watch.*); or allow more (own.cpuPercent, own.rssBytes)";
const megabytes = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;
