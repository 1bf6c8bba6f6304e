// A real sensor on this kernel, and programs for it to see. Only for tests.
import type { EventDraft, EventType } from "@picket/protocol/event";
import { type Sensor, type SensorOptions, startSensor } from "../../sensor.ts";

/** Why the kernel's part cannot be tested here, or "". */
export const cannotRun = process.getuid?.() === 0 ? "" : " (skipped: needs root for bpf(2))";

/** Far more than a busy machine needs. */
const SEEN_MS = 60_000;

export type Rig = Disposable & {
  readonly sensor: Sensor;
  readonly drafts: EventDraft[];
  /** The first draft of this type that `matches`; waits for it. */
  seen<T extends EventType>(type: T, matches: (body: EventDraft<T>["body"]) => boolean): Promise<EventDraft<T>>;
  /** All drafts of this type so far. */
  all<T extends EventType>(type: T, matches?: (body: EventDraft<T>["body"]) => boolean): EventDraft<T>[];
};

export function rig(options: Partial<SensorOptions>): Rig {
  const drafts: EventDraft[] = [];
  const sensor = startSensor({ ignorePid: process.pid, watchRead: [], watchWrite: [], ...options }, (draft) => void drafts.push(draft));
  const all: Rig["all"] = <T extends EventType>(type: T, matches: (body: EventDraft<T>["body"]) => boolean = () => true) =>
    drafts.filter((draft): draft is EventDraft<T> => draft.type === type && matches(draft.body as EventDraft<T>["body"]));
  return {
    sensor,
    drafts,
    all,
    async seen(type, matches) {
      for (const until = performance.now() + SEEN_MS; performance.now() < until; ) {
        const [found] = all(type, matches);
        if (found) return found;
        await Bun.sleep(5);
      }
      const others = drafts.filter((draft) => draft.type === type || draft.type === "sensor.lost").slice(-5);
      throw new Error(`no such ${type} within ${SEEN_MS / 1000} s; the last of its kind and of losses: ${JSON.stringify(others)}`);
    },
    [Symbol.dispose]: () => sensor[Symbol.dispose](),
  };
}

/** Runs a program to its end; returns its pid. `argv0` and the rest as given. */
export async function run(
  command: readonly string[],
  options: { cwd?: string; argv0?: string } = {},
): Promise<{ pid: number; exitCode: number | null }> {
  const child = Bun.spawn([...command], { stdin: "ignore", stdout: "ignore", stderr: "ignore", ...options });
  await child.exited;
  return { pid: child.pid, exitCode: child.exitCode };
}
