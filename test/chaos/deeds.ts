// What the real agent is to see: a counted number of harmless programs and connections, each with a name of its own.
import { copyFileSync, linkSync, mkdirSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { bootNowMs } from "../../agent/clock.ts";
import type { Supervised } from "./programs.ts";
import { SITE_MARK } from "./workload.ts";

export type Deed = { readonly exe: string; readonly atMs: number };
export type Deeds = AsyncDisposable & {
  /** Each ran once, while the agent was there to see it. */
  readonly done: readonly Deed[];
  /** When each connection to `port` was made. */
  readonly connections: readonly number[];
  readonly port: number;
  /** Resolves when what was begun is over. */
  stop(): Promise<void>;
};

const EVERY_MS = 200;
/** Far fewer alerts in ten minutes than a device may have open. */
const MARK_EVERY = 25;
const MOST = 5000;
const PLAIN = "/opt/chaos-deed/";
/** In a mount namespace of its own, so that the programs have a path outside of /tmp; their names come on standard input. */
const RUNNER = 'mount --bind "$1" /opt && while read -r name; do "$name"; done';

/** Begins, in `dir` and with names that begin with `tag`, since the sensor sees the whole machine: five programs and connections a second, for as long as `agent` runs and is connected. */
export async function startDeeds(of: { readonly dir: string; readonly tag: string; readonly agent: Supervised }): Promise<Deeds> {
  const { dir, tag, agent } = of;
  const done: Deed[] = [];
  const connections: number[] = [];
  const own = join(dir, "deeds");
  for (const folder of [PLAIN, SITE_MARK]) mkdirSync(join(own, folder.replace("/opt/", "")), { recursive: true });
  copyFileSync("/bin/true", join(own, "true"));
  const runner = Bun.spawn(["unshare", "--mount", "sh", "-c", RUNNER, "sh", own], { stdin: "pipe", stdout: "ignore", stderr: "inherit" });
  const server = createServer((socket) => socket.end());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  let working = true;
  const work = async () => {
    for (let nth = 0; working && nth < MOST; ) {
      await Bun.sleep(EVERY_MS);
      if (!agent.ready()) continue;
      const exe = `${nth % MARK_EVERY === 0 ? SITE_MARK : PLAIN}${tag}-${nth++}`;
      linkSync(join(own, "true"), join(own, exe.replace("/opt/", "")));
      runner.stdin.write(`${exe}\n`);
      runner.stdin.flush();
      done.push({ exe, atMs: bootNowMs() });
      connections.push(bootNowMs());
      await new Promise<void>((resolve) =>
        connect(port, "127.0.0.1")
          .on("error", () => {})
          .on("close", () => resolve())
          .resume(),
      );
    }
  };
  const working_ = work();
  const stop = async () => {
    working = false;
    await working_;
    await runner.stdin.end();
    await runner.exited;
    server.close();
  };
  return {
    ...{ done, connections, port, stop },
    [Symbol.asyncDispose]: async () => {
      working = false;
      runner.kill("SIGKILL");
      server.close();
      await working_;
    },
  };
}
