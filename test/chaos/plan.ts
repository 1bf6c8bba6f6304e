// What goes wrong and when, drawn from a seed: the same seed gives the same plan.
import { seeded } from "../../protocol/seeded.ts";

/** How the proxy between a fleet and the broker behaves; see proxy.ts. */
export const wireModes = ["stall", "half-open", "deaf", "reset", "trickle", "delay"] as const;
export type WireMode = (typeof wireModes)[number];

/** Programs are `broker`, `detector`, `agent` and `fleet-0`, `fleet-1`, ...: a fleet is one process with several simulated devices. */
export type Fault =
  | { readonly kind: "kill"; readonly program: string; readonly downMs: number }
  | { readonly kind: "freeze"; readonly program: string; readonly ms: number }
  | { readonly kind: "cut"; readonly program: string; readonly ms: number }
  | { readonly kind: "loss"; readonly program: string; readonly percent: number; readonly ms: number }
  | { readonly kind: "wire"; readonly program: string; readonly mode: WireMode; readonly ms: number }
  | { readonly kind: "full"; readonly program: string; readonly ms: number }
  | { readonly kind: "jump"; readonly program: string; readonly seconds: number };
export type Step = { readonly atMs: number; readonly fault: Fault };

export type World = {
  readonly fleets: number;
  /** Whether a real agent takes part. */
  readonly agent: boolean;
  /** Whether clocks can be moved (libfaketime). */
  readonly clocks: boolean;
};

/**
 * `steps` faults in the order of their beginning, `everyMs` apart on average. They are drawn like cards: none comes again before all others
 * came, so that a short plan has many kinds.
 */
export function makePlan(of: { readonly seed: number; readonly steps: number; readonly everyMs: number; readonly world: World }): Step[] {
  const random = seeded(of.seed);
  const between = (low: number, high: number) => Math.round(low + random() * (high - low));
  const fleet = () => `fleet-${between(0, of.world.fleets - 1)}`;
  const deck = cards({ between, fleet, pick: (list) => list[between(0, list.length - 1)]!, world: of.world });
  let left: (() => Fault)[] = [];
  let atMs = 0;
  return Array.from({ length: of.steps }, () => {
    atMs += between(of.everyMs / 2, of.everyMs * 1.5);
    if (left.length === 0) left = [...deck];
    const [draw] = left.splice(between(0, left.length - 1), 1);
    return { atMs, fault: draw!() };
  });
}

type Draw = {
  between(low: number, high: number): number;
  fleet(): string;
  pick<T>(list: readonly T[]): T;
  readonly world: World;
};

function cards({ between, fleet, pick, world }: Draw): (() => Fault)[] {
  const kill = (program: () => string) => (): Fault => ({ kind: "kill", program: program(), downMs: between(0, 3000) });
  const full = (program: () => string) => (): Fault => ({ kind: "full", program: program(), ms: between(1000, 6000) });
  // Hours and not days: certificates stay valid, and nothing is old enough to be forgotten.
  const jump = (program: () => string) => (): Fault => ({ kind: "jump", program: program(), seconds: pick([-1, 1]) * between(2, 7200) });
  const agent = () => "agent";
  const broker = () => "broker";
  return [
    kill(broker),
    kill(broker),
    kill(() => "detector"),
    kill(fleet),
    kill(fleet),
    full(broker),
    full(fleet),
    () => ({ kind: "freeze", program: pick(["broker", "detector"]), ms: between(500, 8000) }),
    () => ({ kind: "cut", program: pick(["broker", fleet()]), ms: between(500, 8000) }),
    () => ({ kind: "loss", program: pick(["broker", fleet()]), percent: between(2, 30), ms: between(1000, 8000) }),
    ...wireModes.map((mode) => (): Fault => ({ kind: "wire", program: fleet(), mode, ms: between(1000, 8000) })),
    ...(world.agent ? [kill(agent), (): Fault => ({ kind: "cut", program: "agent", ms: between(500, 8000) })] : []),
    ...(world.clocks ? [jump(fleet), jump(broker)] : []),
  ];
}

/** One line for people. */
export function describe({ atMs, fault }: Step): string {
  const at = `${(atMs / 1000).toFixed(1).padStart(7)} s  `;
  switch (fault.kind) {
    case "kill":
      return `${at}kill -9 ${fault.program}, back after ${fault.downMs} ms`;
    case "freeze":
      return `${at}${fault.program} stands still (SIGSTOP) for ${fault.ms} ms`;
    case "cut":
      return `${at}the link of ${fault.program} is down for ${fault.ms} ms`;
    case "loss":
      return `${at}${fault.percent} % of what reaches ${fault.program} is dropped for ${fault.ms} ms`;
    case "wire":
      return `${at}the way of ${fault.program} to the broker is ${fault.mode} for ${fault.ms} ms`;
    case "full":
      return `${at}the disk of ${fault.program} is full for ${fault.ms} ms`;
    case "jump":
      return `${at}the clock of ${fault.program} jumps by ${fault.seconds} s`;
  }
}
