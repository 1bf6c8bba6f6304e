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
  const listen = async () => {
    const errors = new Response(child.stderr).text();
    for await (const line of lines(child.stdout)) {
      log.push(line);
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
          if (said !== undefined) done(() => resolve(said));
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

/** Switches a machine on and waits until it has reported `ready`; when it does not, it is off again. */
export async function startMachine(
  argv: readonly string[],
  ready: string,
  signal: AbortSignal,
): Promise<{ machine: Machine; startMs: number }> {
  signal.throwIfAborted();
  const startedMs = performance.now();
  const machine = switchOn(argv, signal);
  try {
    await machine.reported(ready, START_MS);
    return { machine, startMs: Math.round(performance.now() - startedMs) };
  } catch (error) {
    await machine.off();
    throw error;
  }
}
