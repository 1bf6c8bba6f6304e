// Keeps the processes of a site running: each restarts by itself, none outlives us.
import { setTimeout as sleep } from "node:timers/promises";

export type Program = { readonly name: string; readonly argv: readonly string[] };
export type Supervised = { readonly failed: Promise<string>; stop(): Promise<void> };

/**
 * Milliseconds: the first wait before a restart and the longest; how long a program ran that started well; how long one may take to stop; and how long one
 * that says that it lives (foreground.ts) may say nothing. Longer than anything a site's program does in one piece.
 */
const timing = { restartMs: 500, restartMaxMs: 30_000, settledMs: 60_000, stopMs: 8_000, hungMs: 120_000 };
/** A look now and then, so that a machine that stood still is not taken for a program that did. */
const LOOKS = 4;
/** A program that dies this often without ever settling will not get better by itself. */
const GIVE_UP_AFTER = 5;

/**
 * Starts `program` and starts it again when it ends, waiting 0.5 s x 2^n up to 30 s.
 * One that hangs is killed, and starts again likewise. `failed` resolves with its last line when it died five times in a row without running for a minute.
 * The kernel ends it when we are killed (prctl(2), PR_SET_PDEATHSIG).
 */
export function supervise(
  program: Program,
  onLine: (name: string, line: string) => void,
  { restartMs, restartMaxMs, settledMs, stopMs, hungMs } = timing,
): Supervised {
  let child: Bun.Subprocess<"ignore", "pipe", "pipe"> | undefined;
  const stopping = new AbortController();
  const failure = Promise.withResolvers<string>();

  const keepRunning = async () => {
    let failures = 0;
    let lastLine = "";
    while (!stopping.signal.aborted) {
      const startedMs = performance.now();
      // Undefined until it has said for the first time that it lives: a start may take its time, and not every program says it.
      let silentLooks: number | undefined;
      const started = Bun.spawn(["setpriv", "--pdeathsig", "TERM", "--", ...program.argv], {
        ...{ stdin: "ignore", stdout: "pipe", stderr: "pipe" },
        ipc: () => {
          silentLooks = 0;
        },
      });
      child = started;
      const watch = setInterval(() => {
        if (silentLooks === undefined || silentLooks++ < LOOKS) return;
        silentLooks = undefined;
        onLine(program.name, JSON.stringify({ level: "error", message: "program hangs, ending it", program: program.name }));
        started.kill("SIGKILL");
      }, hungMs / LOOKS);
      const take = (line: string) => {
        lastLine = line;
        onLine(program.name, line);
      };
      await Promise.all([eachLine(child.stdout, take), eachLine(child.stderr, take)]);
      const code = await child.exited;
      clearInterval(watch);
      if (stopping.signal.aborted) return;
      failures = performance.now() - startedMs > settledMs ? 0 : failures + 1;
      onLine(
        program.name,
        JSON.stringify({
          level: "error",
          message: "program ended, starting it again",
          program: program.name,
          code,
          signal: child.signalCode,
        }),
      );
      if (failures >= GIVE_UP_AFTER) failure.resolve(lastLine);
      await sleep(Math.min(restartMs * 2 ** failures, restartMaxMs), undefined, { signal: stopping.signal }).catch(() => undefined);
    }
  };
  const running = keepRunning();

  return {
    failed: failure.promise,
    async stop() {
      stopping.abort();
      child?.kill("SIGTERM");
      const late = setTimeout(() => child?.kill("SIGKILL"), stopMs);
      await running;
      clearTimeout(late);
    },
  };
}

async function eachLine(stream: ReadableStream<Uint8Array>, take: (line: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line) take(line);
  }
  if (rest) take(rest);
}
