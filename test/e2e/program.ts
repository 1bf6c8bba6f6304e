// A real process whose lines a test can wait for.
const PATIENCE_MS = 45_000;

export type Program = AsyncDisposable & {
  readonly pid: number;
  readonly lines: readonly string[];
  /** The first line, past or future, that matches. Rejects, with what was printed, when none comes. */
  line(pattern: RegExp): Promise<string>;
  kill(signal?: NodeJS.Signals): Promise<number>;
  /** Its exit code, once it has ended and all it printed was read. */
  readonly exited: Promise<number>;
};

/** Starts `argv`; stdout and stderr are read line by line, and kept unless `heard` takes them. Disposing kills it. */
export function start(
  argv: readonly string[],
  options: { cwd?: string; env?: Record<string, string>; heard?: (line: string) => void } = {},
): Program {
  const child = Bun.spawn([...argv], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...options.env },
    ...(options.cwd ? { cwd: options.cwd } : {}),
  });
  const lines: string[] = [];
  const listeners = new Set<(line: string) => void>();
  const take = async (stream: ReadableStream<Uint8Array>) => {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const chunk of stream) {
      const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
      rest = parts.pop() ?? "";
      for (const part of parts) {
        if (options.heard) options.heard(part);
        else lines.push(part);
        for (const listener of listeners) listener(part);
      }
    }
  };
  const reading = Promise.all([take(child.stdout), take(child.stderr)]);
  const kill = async (signal: NodeJS.Signals = "SIGTERM") => {
    child.kill(signal);
    const code = await child.exited;
    await reading;
    return code;
  };
  return {
    pid: child.pid,
    lines,
    kill,
    exited: Promise.all([child.exited, reading]).then(([code]) => code),
    line(pattern) {
      const before = lines.find((line) => pattern.test(line));
      if (before !== undefined) return Promise.resolve(before);
      return new Promise((resolve, reject) => {
        const listener = (line: string) => {
          if (!pattern.test(line)) return;
          clearTimeout(timer);
          listeners.delete(listener);
          resolve(line);
        };
        const timer = setTimeout(() => {
          listeners.delete(listener);
          reject(new Error(`${argv.join(" ")}: no line ${pattern} in ${PATIENCE_MS} ms, but:\n${lines.slice(-20).join("\n")}`));
        }, PATIENCE_MS);
        listeners.add(listener);
      });
    },
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) await kill("SIGKILL");
    },
  };
}

/** Runs `argv` to its end. */
export async function run(argv: readonly string[], options: { env?: Record<string, string>; stdin?: string; timeoutMs?: number } = {}) {
  const child = Bun.spawn([...argv], {
    stdin: options.stdin === undefined ? "ignore" : new TextEncoder().encode(options.stdin),
    stdout: "pipe",
    stderr: "pipe",
    env: { ...process.env, ...options.env },
    timeout: options.timeoutMs ?? 60_000,
  });
  const [stdout, stderr, code] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text(), child.exited]);
  return { code, stdout, stderr };
}

/** Asks again until `ask` gives something. Rejects, with what it last gave, after `patienceMs`. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined | false> | T | undefined | false,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const until = performance.now() + patienceMs;
  let last: unknown;
  for (;;) {
    try {
      const found = await ask();
      if (found !== undefined && found !== false) return found;
      last = found;
    } catch (error) {
      last = error;
    }
    if (performance.now() > until) throw new Error(`${what}: not within ${patienceMs} ms; last: ${String(last)}`);
    await Bun.sleep(50);
  }
}
