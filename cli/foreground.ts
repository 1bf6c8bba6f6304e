/** Something that runs until it is disposed. */
type Running = AsyncDisposable;

/**
 * Runs a program of the site in the foreground. SIGINT and SIGTERM end it cleanly; SIGHUP starts it again with `start`, which reads the
 * configuration anew: when that cannot be used, `complain` hears why and the program goes on as it was.
 */
export async function runInForeground(
  start: (check: boolean) => Promise<Running | undefined>,
  complain: (error: unknown) => void,
): Promise<void> {
  for (let next = waitForSignal(); ; next = waitForSignal()) {
    const running = await start(false);
    let again = false;
    for (let signal = await next; ; signal = await waitForSignal()) {
      if (signal !== "SIGHUP") break;
      again = await start(true).then(
        () => true,
        (error: unknown) => {
          complain(error);
          return false;
        },
      );
      if (again) break;
    }
    await running?.[Symbol.asyncDispose]();
    if (!again) return;
  }
}

const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

function waitForSignal(): Promise<(typeof signals)[number]> {
  return new Promise((resolve) => {
    const listeners = signals.map((signal) => [signal, () => done(signal)] as const);
    const done = (signal: (typeof signals)[number]) => {
      for (const [name, listener] of listeners) process.off(name, listener);
      resolve(signal);
    };
    for (const [name, listener] of listeners) process.on(name, listener);
  });
}
