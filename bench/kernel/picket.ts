import { AgentConfig } from "../../agent/config.ts";
import { agentEnvironment } from "../agent.ts";
import { rssBytes, start } from "../program.ts";
import type { Scene } from "./scene.ts";
import type { Seen, Watcher } from "./watcher.ts";

let runs = 0;

/** `picket-agent run --stdout` with its own defaults, and the storm's watched folder added to what it watches. `eventsPerS`: its limits, undefined for the defaults. */
export const picket = (agent: string, eventsPerS?: number): Watcher => ({
  name: "picket",
  start: async (scene) => {
    const output = `${scene.dir}/picket-${runs++}.ndjson`;
    const read = [...AgentConfig.parse({}).watch.read, `${scene.watched}/`];
    const env = {
      ...agentEnvironment(),
      PICKET_WATCH_READ: JSON.stringify(read),
      ...(eventsPerS === undefined ? {} : unlimited(eventsPerS)),
    };
    const program = start([agent, "run", "--stdout"], { env, stdout: output });
    try {
      await untilItSees(scene.dir, output);
    } catch (error) {
      await program.end("SIGKILL");
      throw error;
    }
    return { pids: [program.pid], output, seen: () => seenIn(scene, output), [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() };
  },
});

const unlimited = (perS: number) => ({
  PICKET_EVENTS_PER_S: String(perS),
  PICKET_EVENTS_PER_PROCESS_PER_S: String(perS),
  PICKET_OWN_CPU_PERCENT: "1600",
});

/** Its first events come before its sensor watches: a program of another name shows when it does. */
async function untilItSees(dir: string, output: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    Bun.spawnSync(["/bin/true", dir]);
    await Bun.sleep(50);
    const text = await Bun.file(output).text();
    if (text.includes(`"argv":["/bin/true","${dir}"]`)) return;
  }
  throw new Error("kernel: picket-agent printed no event within 10 s");
}

async function seenIn(scene: Scene, output: string): Promise<Seen> {
  let [opens, execs, connects, accepts, lost] = [0, 0, 0, 0, 0];
  for (const line of (await Bun.file(output).text()).split("\n")) {
    if (line.includes('"type":"file.open"') && line.includes(`"file":{"path":"${scene.watched}/`)) opens++;
    else if (line.includes('"type":"process.exec"') && line.includes(`"exe":"${scene.program}"`)) execs++;
    else if (line.includes('"type":"net.connect"') && line.includes(`"exe":"${scene.deeds}"`)) connects++;
    else if (line.includes('"type":"net.accept"') && line.includes(`"exe":"${scene.deeds}"`)) accepts++;
    else if (line.includes('"type":"sensor.lost"')) lost += JSON.parse(line).body.count;
  }
  return { opens, execs, connects, accepts, lost };
}

export const rssMegabytes = (pid: number) => Number((rssBytes(pid) / 2 ** 20).toFixed(1));
