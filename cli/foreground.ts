import { watchConfigFile } from "@picket/protocol/config-file";

/** Something that runs until it is disposed. */
type Running = AsyncDisposable;

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** How often a supervisor is told that the event loop still turns. */
const ALIVE_MS = 10_000;

/** Tells `picket up`, where it started us: it ends and restarts a program that says nothing any more. */
function sayAlive(everyMs: number): Disposable {
  const say = () => {
    // A supervisor that has gone takes us with it.
    if (process.connected) process.send?.("alive", undefined, undefined, () => {});
  };
  say();
  const timer = setInterval(say, everyMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/**
 * Runs a program of the site in the foreground. SIGINT and SIGTERM end it cleanly; SIGHUP or a change of `file` starts it again with
 * `start`, which reads the configuration anew: when that cannot be used, `complain` hears why and the program goes on as it was.
 */
export async function runInForeground(
  start: (check: boolean) => Promise<Running | undefined>,
  complain: (error: unknown) => void,
  file: string,
): Promise<void> {
  using asked = listen(file);
  using saying = new DisposableStack();
  for (let first = true; ; first = false) {
    const running = await start(false);
    // From then on also while it starts anew.
    if (first) saying.use(sayAlive(ALIVE_MS));
    while ((await asked.next()) === "reload") {
      const usable = await start(true).then(
        () => true,
        (error: unknown) => {
          complain(error);
          return false;
        },
      );
      if (usable) break;
    }
    // The second Ctrl-C ends at once what does not end cleanly.
    if (asked.toEnd()) asked[Symbol.dispose]();
    await running?.[Symbol.asyncDispose]();
    if (asked.toEnd()) return;
  }
}

/** What the signals and changes since the last look ask for. None is lost in between, and an end outranks a reload: a closed terminal sends both at once. */
function listen(file: string) {
  let end = false;
  let reload = false;
  let wake: () => void = () => undefined;
  const listeners = signals.map((signal) => {
    const listener = () => {
      if (signal === "SIGHUP") reload = true;
      else end = true;
      wake();
    };
    process.on(signal, listener);
    return [signal, listener] as const;
  });
  const watching = watchConfigFile(file, () => {
    reload = true;
    wake();
  });
  return {
    async next(): Promise<"end" | "reload"> {
      while (!end && !reload)
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      reload = false;
      return end ? "end" : "reload";
    },
    toEnd: () => end,
    [Symbol.dispose]: () => {
      watching[Symbol.dispose]();
      for (const [signal, listener] of listeners) process.off(signal, listener);
    },
  };
}
