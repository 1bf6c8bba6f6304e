// A machine in emulation that can be switched off in the middle of everything, and on again with the same disk.
import { lines, MARK } from "../kernels/boot.ts";

export type Machine = AsyncDisposable & {
  /** All it said since it was switched on. */
  readonly log: readonly string[];
  /** What it reported under `name`, so far. */
  reports(name: string): readonly string[];
  /** Resolves when a report of that name is there. Rejects when the machine ends without it, or after `limitMs`. */
  reported(name: string, limitMs: number): Promise<string>;
  /** Off, at once: as the fall of a plug, nobody in there gets to know. */
  off(): Promise<void>;
};

/** On a host that is too busy the emulated timer is measured wrongly at boot, and nothing in there wakes up any more: that is no fault of what we test. */
class Stalled extends Error {
  override readonly name = "Stalled";
}
const STALL = /rcu_preempt kthread timer wakeup didn't happen/;
const MOST_STALLS = 4;

const TAIL_LINES = 40;
/** How long a start may take on a machine that does much besides emulating. */
const START_MS = 300_000;

/** Switches a machine on. `argv` is its command (`machineFor`, and devices). It is off when `signal` is aborted, and when we are gone. */
function switchOn(argv: readonly string[], signal: AbortSignal): Machine {
  const child = Bun.spawn(["setpriv", "--pdeathsig", "KILL", ...argv], { stdin: "ignore", stdout: "pipe", stderr: "pipe" });
  const log: string[] = [];
  const reports = new Map<string, string[]>();
  const changed = new EventTarget();
  let isOver = false;
  /** It has said what was waited for: its clock goes. */
  let isUp = false;
  let isStalled = false;
  const listen = async () => {
    const errors = new Response(child.stderr).text();
    for await (const line of lines(child.stdout)) {
      log.push(line);
      if (!isUp && STALL.test(line)) {
        isStalled = true;
        changed.dispatchEvent(new Event("change"));
      }
      const [, name, text = ""] = new RegExp(`^${MARK} (\\S+) ?(.*)$`).exec(line) ?? [];
      if (name === undefined) continue;
      reports.set(name, [...(reports.get(name) ?? []), text]);
      changed.dispatchEvent(new Event("change"));
    }
    await child.exited;
    const said = (await errors).trim();
    if (said) log.push(said);
    isOver = true;
    changed.dispatchEvent(new Event("change"));
  };
  const listening = listen();
  const kill = () => child.kill("SIGKILL");
  signal.addEventListener("abort", kill);
  const off = async () => {
    kill();
    signal.removeEventListener("abort", kill);
    await listening;
  };
  const why = (what: string) => new Error(`${what}\n${log.slice(-TAIL_LINES).join("\n")}`);
  return {
    log,
    reports: (name) => reports.get(name) ?? [],
    reported: (name, limitMs) =>
      new Promise((resolve, reject) => {
        const done = (settle: () => void) => {
          clearTimeout(timer);
          changed.removeEventListener("change", look);
          settle();
        };
        const look = () => {
          const said = reports.get(name)?.at(-1);
          if (said !== undefined) {
            isUp = true;
            done(() => resolve(said));
          } else if (isStalled) done(() => reject(new Stalled(`the machine stalled before it said "${name}": this host is too busy`)));
          else if (isOver) done(() => reject(why(`the machine ended before it said "${name}"`)));
        };
        const timer = setTimeout(() => done(() => reject(why(`the machine did not say "${name}" within ${limitMs / 1000} s`))), limitMs);
        changed.addEventListener("change", look);
        look();
      }),
    off,
    [Symbol.asyncDispose]: off,
  };
}

/** Switches a machine on and waits until it has reported `ready`; when it does not, it is off again. One that stalls gets more tries. */
export async function startMachine(
  argv: readonly string[],
  ready: string,
  signal: AbortSignal,
): Promise<{ machine: Machine; startMs: number }> {
  for (let stalls = 0; ; stalls++) {
    signal.throwIfAborted();
    const startedMs = performance.now();
    const machine = switchOn(argv, signal);
    try {
      await machine.reported(ready, START_MS);
      return { machine, startMs: Math.round(performance.now() - startedMs) };
    } catch (error) {
      await machine.off();
      if (!(error instanceof Stalled) || stalls >= MOST_STALLS) throw error;
    }
  }
}
