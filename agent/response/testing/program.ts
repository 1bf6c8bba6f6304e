// A program in a network namespace that talks JSON lines on stdin and stdout.
import { spawn } from "node:child_process";

export type Program = AsyncDisposable & {
  readonly pid: number;
  /** Everything it has said so far. */
  readonly said: readonly Record<string, unknown>[];
  tell(line: Record<string, unknown>): void;
  /** The first line that fits, said already or yet to come. Rejects when the program ends before. */
  heard(fits: (line: Record<string, unknown>) => boolean): Promise<Record<string, unknown>>;
  /** kill -9, and waits for the end. */
  kill(): Promise<void>;
};

export function startProgram(netns: string, script: URL, options: Record<string, unknown>): Program {
  const child = spawn("ip", ["netns", "exec", netns, process.execPath, script.pathname, JSON.stringify(options)], {
    stdio: ["pipe", "pipe", "pipe"],
  });
  const said: Record<string, unknown>[] = [];
  const waiting = new Set<() => void>();
  let rest = "";
  let errors = "";
  let ended = false;
  const wake = () => {
    for (const look of [...waiting]) look();
  };
  child.stdin.on("error", () => {});
  child.stderr.on("data", (chunk: Buffer) => {
    errors = (errors + chunk).slice(-4000);
  });
  child.stdout.on("data", (chunk: Buffer) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) said.push(JSON.parse(line));
    wake();
  });
  const end = new Promise<void>((resolve) => {
    child.on("close", () => {
      ended = true;
      wake();
      resolve();
    });
  });
  const kill = async () => {
    child.kill("SIGKILL");
    await end;
  };
  return {
    pid: child.pid!,
    said,
    tell: (line) => void child.stdin.write(`${JSON.stringify(line)}\n`),
    heard: (fits) =>
      new Promise((resolve, reject) => {
        const look = () => {
          const line = said.find(fits);
          if (!line && !ended) return;
          waiting.delete(look);
          if (line) resolve(line);
          else reject(new Error(`the program ended without saying it. It said ${JSON.stringify(said)}. ${errors}`));
        };
        waiting.add(look);
        look();
      }),
    kill,
    [Symbol.asyncDispose]: kill,
  };
}
