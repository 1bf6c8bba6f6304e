// The steps below BPF on the kernel this runs on: real programs, what arrives, and what an agent without rights falls back to by itself.
import { chmodSync, closeSync, constants, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { SensorEvent } from "@picket/protocol/event";
import type { Capability } from "@picket/protocol/status";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { collectorNames } from "./bpf/programs.ts";
import { cannotRun, type Rig, rig, run } from "./collectors/testing/rig.ts";
import type { Step } from "./sensor.ts";

const dir = mkdtempSync(join(tmpdir(), "pkfall-"));
const watched = join(dir, "watched");
const secrets = join(dir, "secrets");
for (const folder of [watched, secrets, join(dir, "plain")]) mkdirSync(folder);
chmodSync(dir, 0o755);
writeFileSync(join(secrets, "key"), "x");
afterAll(() => rmSync(dir, { recursive: true }));

const children: { kill(signal: "SIGKILL"): void }[] = [];
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
});
const start = (command: readonly string[], env: Record<string, string> = {}) => {
  const child = Bun.spawn([...command], { stdin: "ignore", stdout: "ignore", stderr: "ignore", env: { ...process.env, ...env } });
  children.push(child);
  return child;
};

const options = { watchRead: [join(secrets, "k"), join(dir, "later/")], watchWrite: [`${watched}/`] };
/** Waits for one that is told to go on, so that who looks once a second sees it. Bash may give up opening a FIFO when a child of its ends. */
const waits = (gate: string) => `until read x < ${gate}; do :; done`;
const fifo = (name: string) => {
  const path = join(dir, name);
  Bun.spawnSync(["mkfifo", path]);
  return path;
};
/** Awaits a reader: an open that waits in the kernel would hold up the whole run when none comes. */
async function goOn(path: string): Promise<void> {
  const fd = await opened(path, performance.now() + 30_000);
  writeSync(fd, "go\n");
  closeSync(fd);
}
async function opened(path: string, untilMs: number): Promise<number> {
  for (;;) {
    try {
      return openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENXIO" || performance.now() > untilMs) throw error;
    }
    await Bun.sleep(5);
  }
}

const steps: readonly { step: Step; exitCode: (code: number) => number; level: string }[] = [
  { step: "proc-connector", exitCode: (code) => code, level: "live" },
  { step: "proc", exitCode: () => -1, level: "degraded" },
];

describe.skipIf(cannotRun !== "").each(steps)(`step $step${cannotRun}`, ({ step, exitCode, level }) => {
  let it: Rig;
  beforeAll(() => {
    it = rig({ ...options, step });
  });
  afterAll(() => it[Symbol.dispose]());

  test("every collector says what it is worth", () => {
    const found = it.sensor.capabilities();
    expect(found.map(({ name }) => name)).toEqual(collectorNames.map((name) => `sensor.${name}`));
    expect(Object.fromEntries(found.map((one) => [one.name.slice("sensor.".length), one.level]))).toEqual({
      "process-tree": "degraded",
      exec: "degraded",
      exit: level,
      file: "degraded",
      net: "degraded",
      dns: "off",
      privilege: "off",
      io_uring: "off",
      kernel: "off",
    });
    for (const one of found)
      if (one.level !== "live") expect(one).toMatchObject({ why: expect.stringMatching(/./), todo: expect.any(String) });
    expect(it.all("sensor.state").map(({ body }) => body.collector)).toEqual(
      collectorNames.filter((name) => name !== "exit" || level !== "live"),
    );
    expect(it.sensor.seesShort("exec")).toBe(false);
    expect(it.sensor.seesShort("file")).toBe(true);
  });

  test("a program: path, arguments, user, parent, grandparents; and its end", async () => {
    const gate = fifo(`exec-${step}`);
    const script = `${waits(gate)}; exit 7`;
    const child = start(["/bin/bash", "-c", script], { LD_PRELOAD: "libnothing.so" });
    const { body } = await it.seen("process.exec", ({ process }) => process.pid === child.pid && process.argv[2] === script);
    expect(body.preload).toBe("LD_PRELOAD=libnothing.so");
    expect(body.process).toMatchObject({
      exe: expect.stringMatching(/\/bin\/bash$/),
      argv: ["/bin/bash", "-c", script],
      ppid: process.pid,
      uid: 0,
      user: "root",
      cwd: process.cwd(),
      parent: { pid: process.pid, argv: expect.any(Array) },
      ancestors: expect.any(Array),
    });
    await goOn(gate);
    const { body: exit } = await it.seen("process.exit", (of) => of.process.pid === child.pid);
    expect(exit).toMatchObject({ exitCode: exitCode(7), signal: 0, process: { startTicks: body.process.startTicks } });
  });

  test("a program that another becomes, and a copy that stays what it was", async () => {
    const gate = fifo(`become-${step}`);
    const child = start(["/bin/bash", "-c", `(${waits(gate)}; :); exec /bin/sleep 30`]);
    await it.seen("process.exec", ({ process }) => process.pid === child.pid && process.argv[0] === "/bin/bash");
    await goOn(gate);
    const { body } = await it.seen("process.exec", ({ process }) => process.pid === child.pid && process.argv[0] === "/bin/sleep");
    expect(body.process.exe).toMatch(/sleep$/);
    expect(it.all("process.exec", ({ process }) => process.ppid === child.pid)).toEqual([]);
    child.kill("SIGKILL");
    const { body: exit } = await it.seen("process.exit", (of) => of.process.pid === child.pid);
    expect(exit.signal).toBe(step === "proc" ? 0 : 9);
  });

  test("a process with threads ends once", async () => {
    const program = 'new Worker(URL.createObjectURL(new Blob(["setInterval(() => {}, 1000)"]))); setTimeout(() => process.exit(3), 1500)';
    const child = start([process.execPath, "-e", program]);
    await child.exited;
    await it.seen("process.exit", (of) => of.process.pid === child.pid);
    it.sensor.poll();
    expect(it.all("process.exit", (of) => of.process.pid === child.pid)).toHaveLength(1);
  });

  test("files: made, written, renamed, made to run, removed, read; not those beside", async () => {
    const [one, two] = [join(watched, "one"), join(watched, "two")];
    const next = (what: string, type: "file.create" | "file.modify" | "file.rename" | "file.chmod" | "file.delete") => ({ what, type });
    const gates = Array.from({ length: 5 }, (_, at) => fifo(`files-${step}-${at}`));
    const parts = [
      next(`echo > ${one}; echo > ${dir}/plain/beside`, "file.create"),
      next(`echo >> ${one}`, "file.modify"),
      next(`mv ${one} ${two}`, "file.rename"),
      next(`chmod 4755 ${two}`, "file.chmod"),
      next(`rm ${two}`, "file.delete"),
    ];
    const child = start(["/bin/bash", "-c", parts.map(({ what }, at) => `${what}; ${waits(gates[at]!)}`).join("; ")]);
    for (const [at, { type }] of parts.entries()) {
      const { body } = await it.seen(type, ({ file }) => file.path === one || file.path === two);
      if (type === "file.create" || type === "file.modify")
        expect(body.process).toMatchObject({ pid: child.pid, exe: expect.stringMatching(/bash$/) });
      if (type === "file.rename") expect(body.file).toEqual({ path: one, to: two });
      if (type === "file.chmod") expect(body.file).toEqual({ path: two, mode: 0o4755 });
      await goOn(gates[at]!);
    }
    expect(it.drafts.filter(({ body }) => "file" in body && body.file.path.includes("beside"))).toEqual([]);
  });

  test("a secret is read; also one in a folder that came later", async () => {
    const later = join(dir, "later");
    await run(["/bin/cat", join(secrets, "key")]);
    const { body } = await it.seen("file.open", ({ file }) => file.path === join(secrets, "key"));
    expect(body.file.flags).toBe(0);
    rmSync(later, { recursive: true, force: true });
    // By another process: what this one does is not looked at.
    await run(["/bin/mkdir", later]);
    await run(["/bin/sh", "-c", `echo secret > ${later}/token`]);
    it.sensor.poll();
    it.sensor.poll();
    await run(["/bin/cat", join(later, "token")]);
    await it.seen("file.open", ({ file, process }) => file.path === join(later, "token") && process.argv[0] !== "/bin/sh");
  });

  test("a name that a moved folder had is not told any more", async () => {
    const [from, to] = [join(watched, `from-${step}`), join(watched, `to-${step}`)];
    await run(["/bin/sh", "-c", `mkdir ${from}; echo > ${from}/x`]);
    await it.seen("file.create", ({ file }) => file.path === `${from}/x`);
    await run(["/bin/sh", "-c", `mv ${from} ${to}; echo > ${to}/y`]);
    await it.seen("file.create", ({ file }) => file.path === `${to}/y`);
    expect(it.all("file.create", ({ file }) => file.path === `${from}/y`)).toEqual([]);
  });

  test("connections: who listens, who connects, who is connected to", async () => {
    const script = `use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0); bind($s, pack_sockaddr_in(0, INADDR_LOOPBACK)); listen($s, 1);
      socket(my $c, PF_INET, SOCK_STREAM, 0); connect($c, getsockname($s)); accept(my $n, $s);
      socket(my $u, PF_INET, SOCK_DGRAM, 0); connect($u, pack_sockaddr_in(9, INADDR_LOOPBACK)); sleep 60;`;
    const child = start(["/usr/bin/perl", "-e", script]);
    const of = ({ process }: { process: { pid: number } }) => process.pid === child.pid;
    const { body: listen } = await it.seen("net.listen", of);
    expect(listen.net).toMatchObject({ proto: "tcp", ip: "127.0.0.1" });
    const { port } = listen.net;
    const { body: connect } = await it.seen("net.connect", (body) => of(body) && body.net.proto === "tcp");
    expect(connect.net).toEqual({ proto: "tcp", dstIp: "127.0.0.1", dstPort: port });
    expect(connect.process.exe).toMatch(/perl$/);
    const { body: accept } = await it.seen("net.accept", of);
    expect(accept.net).toMatchObject({ ip: "127.0.0.1", port, srcIp: "127.0.0.1" });
    const { body: datagram } = await it.seen("net.connect", (body) => of(body) && body.net.proto === "udp");
    expect(datagram.net).toEqual({ proto: "udp", dstIp: "127.0.0.1", dstPort: 9 });
    child.kill("SIGKILL");
  });

  test("events are what the protocol says", () => {
    for (const draft of it.drafts) {
      const parsed = SensorEvent.safeParse({ v: 1, device: "d", epoch: "aaaaaaaa", seq: 0, ...draft });
      expect(parsed.error, JSON.stringify(draft)).toBeUndefined();
    }
  });
});

describe.skipIf(cannotRun !== "")(`more than the proc connector's socket holds${cannotRun}`, () => {
  test("the rest is counted, what is held is told, and what comes later is seen", async () => {
    using it = rig({ step: "proc-connector", ringBytes: 64 << 10 });
    // Each processor numbers its own messages, and must have been heard before and after.
    const everywhere = async () => {
      for (let cpu = 0; cpu < availableParallelism(); cpu++) {
        const { pid } = start(["/usr/bin/taskset", "-c", String(cpu), "/bin/true"]);
        await it.seen("process.exit", ({ process }) => process.pid === pid);
      }
    };
    await everywhere();
    // Nothing is taken meanwhile. A start, a program and an end each: three messages.
    const count = 400;
    Bun.spawnSync(["/bin/bash", "-c", `for ((i = 0; i < ${count}; i++)); do /bin/true; done`]);
    // What is held comes first; until then there is no room for more.
    await expect.poll(() => it.all("process.exec").length, { timeout: 20_000 }).toBeGreaterThan(10);
    it.sensor.poll();
    await everywhere();
    const told = it.all("process.exec").length;
    const lost = it.all("sensor.lost").reduce((sum, { body }) => sum + body.count, 0);
    expect(told).toBeGreaterThan(10);
    expect(lost).toBeGreaterThan(0);
    expect(it.sensor.lost()).toEqual({ kernel: lost });
    expect(3 * told + lost).toBeGreaterThanOrEqual(3 * count);
  });
});

describe.skipIf(cannotRun !== "")(`by itself${cannotRun}`, () => {
  /** A sensor in a process that was started like this: what it says of itself, and whether it saw a program. */
  function underRights(...command: readonly string[]) {
    const script = `
      const { startSensor, checkHost } = await import(${JSON.stringify(new URL("./sensor.ts", import.meta.url).pathname)});
      let seen;
      using sensor = startSensor({ ignorePid: process.pid, watchRead: [], watchWrite: ["${watched}/"] }, ({ type, body }) => {
        if (type === "process.exec" && body.process.argv[1] === "86399") seen = body.process;
      });
      const child = Bun.spawn(["/bin/sleep", "86399"]);
      while (!seen) await Bun.sleep(5);
      child.kill();
      console.log(JSON.stringify({ seen, check: checkHost(), capabilities: sensor.capabilities() }));
      process.exit(0);`;
    const { stdout, stderr } = Bun.spawnSync([...command, process.execPath, "-e", script], { cwd: "/", timeout: 20_000 });
    expect(stdout.toString(), stderr.toString()).toContain("{");
    type Said = { seen: { exe: string; argv: string[] }; check: Capability[]; capabilities: Capability[] };
    return JSON.parse(stdout.toString()) as Said;
  }
  const level = (list: readonly Capability[], name: string) => list.find((one) => one.name === `sensor.${name}`)?.level;

  test("bpf(2) is refused: the proc connector tells of programs, and check says so", () => {
    const { seen, check, capabilities } = underRights(
      "/usr/sbin/capsh",
      "--drop=cap_bpf,cap_perfmon,cap_sys_admin",
      "--shell=/usr/bin/env",
      "--",
    );
    expect(seen).toMatchObject({ exe: expect.stringMatching(/sleep$/), argv: ["/bin/sleep", "86399"] });
    expect(level(check, "bpf")).toBe("off");
    const exec = check.find(({ name }) => name === "sensor.exec")!;
    expect(exec).toMatchObject({
      level: "degraded",
      why: expect.stringContaining("proc connector"),
      todo: expect.stringContaining("root"),
    });
    expect(check.find(({ name }) => name === "sensor.file")).toMatchObject({
      level: "off",
      todo: expect.stringContaining("CAP_SYS_ADMIN"),
    });
    expect(capabilities.map(({ name, level }) => [name, level])).toEqual(
      check.filter(({ name }) => !/libbpf|tracefs|sensor\.bpf/.test(name)).map(({ name, level }) => [name, level]),
    );
  });

  test("in a network namespace of its own, and without rights: /proc is looked at", () => {
    const { seen, check } = underRights(
      "/usr/bin/unshare",
      "--net",
      "/usr/bin/setpriv",
      "--bounding-set=-bpf,-perfmon,-sys_admin",
      "--inh-caps=-bpf,-perfmon,-sys_admin",
      "--",
    );
    expect(seen.exe).toMatch(/sleep$/);
    expect(check.find(({ name }) => name === "sensor.exec")).toMatchObject({
      level: "degraded",
      why: expect.stringContaining("looked at every second (no proc connector here"),
    });
  });
});
