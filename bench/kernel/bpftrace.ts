import { installed, start } from "../program.ts";
import type { Scene } from "./scene.ts";
import type { Seen, Watcher } from "./watcher.ts";

let runs = 0;

/** It wants tracefs below debugfs, where many hosts do not mount it. The same process goes on as bpftrace. */
const mounts = "mount -t debugfs debugfs /sys/kernel/debug && mount -t tracefs tracefs /sys/kernel/debug/tracing";
const inOwnMounts = ["unshare", "--mount", "sh", "-c", `${mounts}; exec "$@"`, "sh"];

/** bpftrace printing a line an event, its filter in the kernel too. Undefined when it is not installed. */
export function bpftrace(): Watcher | undefined {
  const program = installed("bpftrace");
  if (program === undefined) return undefined;
  return {
    name: "bpftrace",
    start: async (scene) => {
      const output = `${scene.dir}/bpftrace-${runs++}.txt`;
      const prefix = `${scene.watched}/`;
      const script = `
        BEGIN { printf("watching\\n"); }
        tracepoint:syscalls:sys_enter_openat /strncmp(str(args->filename), "${prefix}", ${prefix.length}) == 0/ {
          printf("open %d %s %s\\n", pid, comm, str(args->filename));
        }
        tracepoint:syscalls:sys_enter_connect /comm == "deeds"/ { printf("connect %d %s\\n", pid, comm); }
        tracepoint:syscalls:sys_exit_accept4 /comm == "deeds"/ { printf("accept %d %s\\n", pid, comm); }
        tracepoint:sched:sched_process_exec { printf("exec %d %s\\n", pid, str(args->filename)); }`;
      // Written out at once, or its buffer hides what it has seen.
      const running = start([...inOwnMounts, program, "-B", "line", "-e", script], { stdout: output });
      try {
        await printed(output, "watching");
      } catch (error) {
        await running.end("SIGKILL");
        throw error;
      }
      return { pids: [running.pid], output, seen: () => seenIn(scene, output), [Symbol.asyncDispose]: () => running.end("SIGINT") };
    },
  };
}

async function printed(output: string, text: string): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    if ((await Bun.file(output).exists()) && (await Bun.file(output).text()).includes(text)) return;
    await Bun.sleep(100);
  }
  throw new Error("kernel: bpftrace did not begin to watch within 20 s");
}

async function seenIn(scene: Scene, output: string): Promise<Seen> {
  const text = await Bun.file(output).text();
  const count = (pattern: RegExp) => text.match(pattern)?.length ?? 0;
  const lost = [...text.matchAll(/Lost (\d+) events/g)].reduce((sum, [, lost]) => sum + Number(lost), 0);
  return {
    opens: count(new RegExp(`^open \\d+ storm ${scene.watched}/`, "gm")),
    execs: count(new RegExp(`^exec \\d+ ${scene.program}$`, "gm")),
    connects: count(/^connect /gm),
    accepts: count(/^accept /gm),
    lost,
  };
}
