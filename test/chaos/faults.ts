// Carries out what a plan says, and undoes it.

import { bootNowMs } from "../../agent/clock.ts";
import type { Fault, Step } from "./plan.ts";
import type { World } from "./world.ts";

/** Each step at its time. Resolves when the last fault is over; rejects when aborted. */
export async function play(
  world: World,
  plan: readonly Step[],
  of: { readonly signal: AbortSignal; readonly tell: (step: Step) => void },
): Promise<void> {
  const startMs = bootNowMs();
  const running: Promise<void>[] = [];
  for (const step of plan) {
    await sleepUntil(startMs + step.atMs, of.signal);
    of.tell(step);
    running.push(cause(world, step.fault, of.signal));
  }
  await Promise.all(running);
}

async function cause(world: World, fault: Fault, signal: AbortSignal): Promise<void> {
  const host = fault.program;
  const program = world.programs.get(fault.program)!;
  const wait = (ms: number) => sleepUntil(bootNowMs() + ms, signal);
  switch (fault.kind) {
    case "kill":
      program.kill(fault.downMs);
      return wait(fault.downMs);
    case "freeze":
      program.signal("SIGSTOP");
      await wait(fault.ms);
      return program.signal("SIGCONT");
    case "cut":
      world.network.plug(host, "down");
      await wait(fault.ms);
      return world.network.plug(host, "up");
    case "loss":
      world.network.lose(host, fault.percent);
      await wait(fault.ms);
      return world.network.lose(host, 0);
    case "wire":
      world.order({ from: world.network.addressOf(host), mode: fault.mode });
      await wait(fault.ms);
      return world.order({ from: world.network.addressOf(host), mode: "pass" });
    case "full":
      world.disks.get(host)!.fill();
      await wait(fault.ms);
      return world.disks.get(host)!.free();
    case "jump":
      return world.clocks.get(host)!.jump(fault.seconds);
  }
}

/** All faults are over, also those that overlapped and left something behind. */
export function calm(world: World): void {
  for (const disk of world.disks.values()) disk.free();
  for (const [name, program] of world.programs) {
    program.signal("SIGCONT");
    const host = name === "detector" ? "broker" : name;
    world.network.plug(host, "up");
    world.network.lose(host, 0);
    world.order({ from: world.network.addressOf(host), mode: "pass" });
  }
}

function sleepUntil(atMs: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason);
    const timer = setTimeout(
      () => {
        signal.removeEventListener("abort", aborted);
        resolve();
      },
      Math.max(0, atMs - bootNowMs()),
    );
    const aborted = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    signal.addEventListener("abort", aborted, { once: true });
  });
}
