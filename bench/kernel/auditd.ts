// auditd with a private configuration. The kernel has one audit system: what it was set to is put back afterwards, rule by rule.
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { undoneAtEnd } from "../leftovers.ts";
import { installed, start } from "../program.ts";
import { note } from "../result.ts";
import type { Scene } from "./scene.ts";
import type { Seen, Watcher } from "./watcher.ts";

let runs = 0;

/** Debian's rules file sets these (/etc/audit/rules.d/audit.rules). */
const BACKLOG = "8192";
const BACKLOG_WAIT = "60000";

/** Undefined, with a note, when it is not installed, the kernel refuses it, or somebody else uses the audit system. */
export function auditd(): Watcher | undefined {
  const [program, auditctl] = [installed("auditd"), installed("auditctl")];
  if (program === undefined || auditctl === undefined) {
    note("kernel: auditd is not installed (apt-get install auditd): no comparison with it");
    return undefined;
  }
  const before = statusOf(auditctl);
  const rules = Bun.spawnSync([auditctl, "-l"]).stdout.toString().trim();
  if (!before) note("kernel: the kernel refuses the audit system (auditctl -s failed): no comparison with auditd");
  else if (before.enabled !== "0" || before.pid !== "0" || rules !== "No rules")
    note("kernel: the audit system of this host is in use: left alone, no comparison with auditd");
  else return { name: "auditd", start: (scene) => startAuditd({ program, auditctl, scene, before }) };
  return undefined;
}

type Status = Record<string, string>;
function statusOf(auditctl: string): Status | undefined {
  const { exitCode, stdout } = Bun.spawnSync([auditctl, "-s"], { stderr: "ignore" });
  if (exitCode !== 0) return undefined;
  return Object.fromEntries(
    stdout
      .toString()
      .trim()
      .split("\n")
      .map((line) => line.split(" ", 2) as [string, string]),
  );
}

async function startAuditd(of: { program: string; auditctl: string; scene: Scene; before: Status }) {
  const { program, auditctl, scene, before } = of;
  const dir = `${scene.dir}/auditd-${runs++}`;
  const output = `${dir}/audit.log`;
  mkdirSync(`${dir}/plugins.d`, { recursive: true, mode: 0o750 });
  writeFileSync(`${dir}/auditd.conf`, configuration(dir, output), { mode: 0o640 });
  const control = (...args: string[]) => {
    const { exitCode, stderr } = Bun.spawnSync([auditctl, ...args], { stdout: "ignore", stderr: "pipe" });
    if (exitCode !== 0) throw new Error(`auditctl ${args.join(" ")}: ${stderr.toString().trim()}`);
  };
  const rules = [
    ["-F", "arch=b64", "-S", "open,openat", "-F", `dir=${scene.watched}`, "-F", "key=picket-bench-open"],
    ["-F", "arch=b64", "-S", "execve,execveat", "-F", "key=picket-bench-exec"],
    ["-F", "arch=b64", "-S", "connect", "-F", `exe=${scene.deeds}`, "-F", "key=picket-bench-connect"],
    ["-F", "arch=b64", "-S", "accept4", "-F", `exe=${scene.deeds}`, "-F", "key=picket-bench-accept"],
  ];
  const running = start([program, "-n", "-c", dir]);
  const switchOff = () => {
    for (const rule of rules) Bun.spawnSync([auditctl, "-d", "always,exit", ...rule], { stdout: "ignore", stderr: "ignore" });
    control("-e", "0");
  };
  const limitsBack = () => {
    control("-b", before.backlog_limit!);
    control("--backlog_wait_time", before.backlog_wait_time!);
  };
  const done = undoneAtEnd(() => {
    switchOff();
    running.tell("SIGTERM");
    for (let tries = 0; tries < 100 && statusOf(auditctl)?.pid !== "0"; tries++) Bun.sleepSync(50);
    limitsBack();
  });
  const putBack = async () => {
    switchOff();
    await running.end();
    limitsBack();
    done();
    const left = statusOf(auditctl);
    if (left?.enabled !== "0" || left.pid !== "0")
      throw new Error("kernel: the audit system could not be switched off again: auditctl -e 0");
  };
  try {
    for (let tries = 0; statusOf(auditctl)?.pid !== String(running.pid); tries++) {
      if (tries > 100) throw new Error("kernel: auditd did not register with the kernel within 10 s");
      await Bun.sleep(100);
    }
    control("-b", BACKLOG);
    control("--backlog_wait_time", BACKLOG_WAIT);
    control("-e", "1");
    for (const rule of rules) control("-a", "always,exit", ...rule);
  } catch (error) {
    await putBack();
    throw error;
  }
  const lostBefore = Number(statusOf(auditctl)?.lost ?? 0);
  return {
    pids: [running.pid, ...pidsNamed("kauditd")],
    output,
    seen: async (): Promise<Seen> => ({ ...(await seenIn(scene, output)), lost: Number(statusOf(auditctl)?.lost ?? 0) - lostBefore }),
    [Symbol.asyncDispose]: putBack,
  };
}

/** Debian's auditd.conf, but for places, and a log large enough not to be rotated. */
const configuration = (dir: string, log: string) => `local_events = yes
write_logs = yes
log_file = ${log}
log_group = root
log_format = ENRICHED
flush = INCREMENTAL_ASYNC
freq = 50
max_log_file = 4000
num_logs = 5
max_log_file_action = IGNORE
priority_boost = 4
name_format = NONE
space_left = 75
space_left_action = IGNORE
admin_space_left = 50
admin_space_left_action = IGNORE
disk_full_action = IGNORE
disk_error_action = IGNORE
overflow_action = SYSLOG
q_depth = 2000
plugin_dir = ${dir}/plugins.d
`;

async function seenIn(scene: Scene, output: string): Promise<Omit<Seen, "lost">> {
  let [opens, execs, connects, accepts] = [0, 0, 0, 0];
  for (const line of (await Bun.file(output).text()).split("\n")) {
    if (!line.startsWith("type=SYSCALL")) continue;
    if (line.includes('key="picket-bench-open"') && line.includes(`exe="${scene.exe}"`)) opens++;
    else if (line.includes('key="picket-bench-exec"') && line.includes(`exe="${scene.program}"`)) execs++;
    else if (line.includes('key="picket-bench-connect"')) connects++;
    else if (line.includes('key="picket-bench-accept"')) accepts++;
  }
  return { opens, execs, connects, accepts };
}

const pidsNamed = (name: string): number[] =>
  readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry) && commOf(entry) === name)
    .map(Number);

function commOf(pid: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim();
  } catch {
    return undefined;
  }
}
