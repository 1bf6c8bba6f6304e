// The sensor on the kernel this runs on: real programs, real system calls, what arrives.
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EventDraft, SensorEvent } from "@picket/protocol/event";
import type { Capability } from "@picket/protocol/status";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { collectorNames } from "./bpf/programs.ts";
import { cannotRun, type Rig, rig, run } from "./collectors/testing/rig.ts";
import { parseStat } from "./enrich/proc.ts";
import type { Step } from "./sensor.ts";

const dir = mkdtempSync(join(tmpdir(), "pksens-"));
const secrets = join(dir, "secrets");
const watched = join(dir, "watched");
mkdirSync(secrets);
mkdirSync(watched);
mkdirSync(join(dir, "plain"));
writeFileSync(join(secrets, "shadow"), "x");
writeFileSync(join(secrets, "sudoers"), "x");
afterAll(() => rmSync(dir, { recursive: true }));

/** Prefixes of every length that the kernel tells apart by their first bytes. Few programs have names like these. */
const shortPrefixes = ["/mnt/", "/tmp/~", "/tmp/+a", "/tmp/=ab", "/tmp/@abc", "/tmp/%abcdef", "/tmp/,abcdefg"];

const steps: readonly Step[] = ["bpf", "perf"];

describe.skipIf(cannotRun !== "").each(steps)(`on this kernel, step %s${cannotRun}`, (step) => {
  let it: Rig;
  beforeAll(() => {
    it = rig({ step, watchRead: [join(secrets, "shadow"), join(dir, "keys/"), ...shortPrefixes], watchWrite: [`${watched}/`] });
  });
  afterAll(() => it[Symbol.dispose]());

  const children: { kill(signal: "SIGKILL"): void }[] = [];
  afterAll(() => {
    for (const child of children) child.kill("SIGKILL");
  });
  const start = (command: readonly string[], argv0?: string) => {
    const child = Bun.spawn([...command], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
      ...(argv0 === undefined ? {} : { argv0 }),
    });
    children.push(child);
    return child;
  };

  const sh = (script: string, cwd?: string) => run(["/bin/sh", "-c", script], cwd === undefined ? {} : { cwd });
  const execOf = (pid: number) => it.seen("process.exec", ({ process }) => process.pid === pid);

  test("every collector is live", () => {
    expect(it.sensor.capabilities().map(({ name, level }) => [name, level])).toEqual(
      collectorNames.map((name) => [`sensor.${name}`, "live"]),
    );
  });

  test("an exec: path, arguments, parent, start", async () => {
    const child = start(["/bin/sleep", "30"], "not-sleep");
    const stat = parseStat(readFileSync(`/proc/${child.pid}/stat`, "utf8"))!;
    const { body } = await execOf(child.pid);
    child.kill("SIGKILL");
    expect(body.process).toMatchObject({
      exe: "/bin/sleep",
      argv: ["not-sleep", "30"],
      ppid: process.pid,
      uid: 0,
      user: "root",
      startTicks: stat.startTicks,
      cwd: process.cwd(),
      parent: { pid: process.pid },
    });
    const { body: exit } = await it.seen("process.exit", ({ process }) => process.pid === child.pid);
    expect(exit).toMatchObject({ signal: 9, exitCode: 137, process: { startTicks: stat.startTicks } });
  });

  test("a prefix is found whatever its length", async () => {
    const paths = shortPrefixes.map((prefix) => `${prefix}${process.pid}`);
    for (const path of paths) writeFileSync(path, "");
    const { pid } = await sh(`cat ${paths.join(" ")} /tmp/-${process.pid} 2>/dev/null; cat /dev/null`);
    for (const path of paths) rmSync(path);
    await it.seen("process.exit", ({ process }) => process.pid === pid);
    for (const path of paths) await it.seen("file.open", ({ file }) => file.path === path);
  });

  test("events are what the protocol says", async () => {
    const { pid } = await sh("cat /dev/null");
    await it.seen("process.exit", ({ process }) => process.pid === pid);
    for (const draft of it.drafts) {
      const parsed = SensorEvent.safeParse({ v: 1, device: "d", epoch: "aaaaaaaa", seq: 0, ...draft });
      expect(parsed.error, JSON.stringify(draft)).toBeUndefined();
    }
  });

  test("execveat on a descriptor without a name is the file behind it", async () => {
    // memfd_create and execveat by number, as a fileless dropper does.
    const numbers = process.arch === "arm64" ? { memfd: 279, execveat: 281 } : { memfd: 319, execveat: 322 };
    const script = `
      open(my $in, "<", "/bin/true"); binmode $in; local $/; my $code = <$in>;
      my $name = "pksens"; my $fd = syscall(${numbers.memfd}, $name, 0);
      open(my $out, ">&=", $fd); binmode $out; print $out $code; $out->flush;
      my $empty = ""; my ($zero, $one) = ("fileless", "-x"); my $argv = pack("ppx8", $zero, $one); my $env = pack("x8");
      syscall(${numbers.execveat}, $fd, $empty, $argv, $env, 0x1000);`;
    const { pid } = await run(["/usr/bin/perl", "-MIO::Handle", "-e", script]);
    const { body } = await it.seen("process.exec", ({ process }) => process.pid === pid && process.argv[0] === "fileless");
    expect(body.process.argv).toEqual(["fileless", "-x"]);
    expect(body.process.exe).toMatch(/memfd:pksens|^\/dev\/fd\/\d+$/);
  });

  test("a script: the interpreter really ran, even when the script deletes itself", async () => {
    const script = join(dir, "job");
    writeFileSync(script, '#!/bin/sh\nrm -- "$0"\n');
    chmodSync(script, 0o755);
    const { pid } = await run([script, "one"]);
    const { body } = await execOf(pid);
    expect(body.process.exe).toBe("/bin/sh");
    expect(body.process.argv).toEqual(["/bin/sh", script, "one"]);
  });

  test.each([
    { name: "33 arguments", args: Array.from({ length: 32 }, (_, index) => `a${index}`), kept: 32, truncated: true },
    { name: "32 arguments", args: Array.from({ length: 31 }, (_, index) => `a${index}`), kept: 32, truncated: undefined },
    { name: "one argument of 5,000 bytes", args: ["b".repeat(5_000)], kept: 2, truncated: true },
    // 10 bytes for "/bin/true" and its NUL, one for the last NUL.
    { name: "exactly 4 KiB", args: ["c".repeat(4_096 - 10 - 1)], kept: 2, truncated: undefined },
    { name: "one byte more", args: ["c".repeat(4_096 - 10)], kept: 2, truncated: true },
    { name: "an empty argument and one in Chinese", args: ["", "\u4f60\u597d"], kept: 3, truncated: undefined },
  ])("arguments: $name", async ({ args, kept, truncated }) => {
    const { pid } = await run(["/bin/true", ...args]);
    const { process } = (await execOf(pid)).body;
    expect(process.argv).toHaveLength(kept);
    expect(process.argvTruncated).toBe(truncated);
    const whole = ["/bin/true", ...args];
    for (const [index, arg] of process.argv.entries()) expect(whole[index]!.startsWith(arg)).toBe(true);
    if (!truncated) expect(process.argv).toEqual(whole);
  });

  test.each([
    { name: "a status", script: "exit 7", exitCode: 7, signal: 0 },
    { name: "SIGTERM", script: "kill -TERM $$", exitCode: 143, signal: 15 },
    { name: "SIGKILL", script: "kill -KILL $$", exitCode: 137, signal: 9 },
    { name: "SIGABRT", script: "kill -ABRT $$", exitCode: 134, signal: 6 },
    { name: "a handled signal", script: "trap 'exit 3' TERM; kill -TERM $$; exit 4", exitCode: 3, signal: 0 },
  ])("exit by $name", async ({ script, exitCode, signal }) => {
    const { pid } = await sh(script);
    const { body } = await it.seen("process.exit", ({ process }) => process.pid === pid);
    expect(body).toMatchObject({ exitCode, signal });
  });

  test("a process with threads ends once, by the signal that was sent", async () => {
    const program = 'new Worker(URL.createObjectURL(new Blob(["setInterval(() => {}, 1000)"])))';
    const child = start([process.execPath, "-e", program]);
    await expect.poll(() => readdirSync(`/proc/${child.pid}/task`).length, { timeout: 20_000 }).toBeGreaterThan(1);
    child.kill("SIGTERM");
    const { pid } = child;
    const { body } = await it.seen("process.exit", ({ process }) => process.pid === pid);
    expect(body.signal).toBe(15);
    await child.exited;
    it.sensor.poll();
    expect(it.all("process.exit", ({ process }) => process.pid === pid)).toHaveLength(1);
  });

  const opened = (path: string, pid: number) => it.seen("file.open", ({ file, process }) => file.path === path && process.pid === pid);
  const shadow = join(secrets, "shadow");

  test.each([
    { name: "by its path", script: `cat ${shadow}` },
    { name: "after cd", script: `cd ${secrets}; cat shadow` },
    { name: "after cd in steps", script: `cd ${dir}; cd secrets; cat ./shadow` },
    { name: "with dots", script: `cat ${dir}/plain/../secrets//./shadow` },
    { name: "from beside it", script: `cd ${dir}/plain; cat ../secrets/shadow` },
    { name: "through /proc/self/root", script: `cat /proc/self/root${shadow}` },
    { name: "through /proc/self/cwd", script: `cd ${secrets}; cat /proc/self/cwd/shadow` },
    { name: "through a directory descriptor (grep -r)", script: `grep -r x ${secrets}` },
    { name: "through descriptors from the root (tar)", script: `tar -cf - -C / ${shadow.slice(1)} | cat` },
    { name: "with the built-in of a shell", script: `read x < ${shadow}` },
  ])("a secret is read $name", async ({ script }) => {
    const before = it.all("file.open", ({ file }) => file.path === shadow).length;
    await sh(script);
    await expect.poll(() => it.all("file.open", ({ file }) => file.path === shadow).length, { timeout: 5_000 }).toBe(before + 1);
    expect(it.all("file.open", ({ file }) => file.path.endsWith("sudoers"))).toEqual([]);
  });

  test("openat from a directory that was opened before", async () => {
    const script = `
      opendir(my $d, "${secrets}"); my $name = "shadow";
      syscall(${process.arch === "arm64" ? 56 : 257}, fileno($d), $name, 0, 0);`;
    const { pid } = await run(["/usr/bin/perl", "-MIO::Dir", "-e", script]);
    expect((await opened(shadow, pid)).body.process.exe).toBe("/usr/bin/perl");
  });

  test("a read that is refused is no open", async () => {
    chmodSync(dir, 0o755);
    chmodSync(shadow, 0o600);
    const { pid } = await run(["/usr/bin/setpriv", "--reuid=65534", "--clear-groups", "/bin/cat", shadow]);
    await it.seen("process.exit", ({ process }) => process.pid === pid);
    expect(it.all("file.open", ({ process }) => process.pid === pid)).toEqual([]);
  });

  test("create, modify, rename and delete in a watched folder; not beside it", async () => {
    const { pid } = await run([
      "/bin/bash",
      "-c",
      `echo > ${watched}/a; echo >> ${watched}/a; echo > ${dir}/plain/b; exec mv ${watched}/a ${watched}/c`,
    ]);
    await it.seen("file.rename", ({ process }) => process.pid === pid);
    const { pid: remover } = await run(["/bin/rm", "-r", `${watched}/c`]);
    await it.seen("file.delete", ({ process }) => process.pid === remover);
    const changes = it.drafts.flatMap(({ type, body }) =>
      type.startsWith("file.") && "process" in body && "file" in body && [pid, remover].includes(body.process?.pid ?? 0)
        ? [[type, body.file]]
        : [],
    );
    expect(changes).toEqual([
      ["file.create", { path: `${watched}/a` }],
      ["file.modify", { path: `${watched}/a` }],
      ["file.rename", { path: `${watched}/a`, to: `${watched}/c` }],
      ["file.delete", { path: `${watched}/c` }],
    ]);
  });

  test.each([
    { name: "cp into the folder (a descriptor of it)", script: `cp /etc/hostname ${watched}/`, path: "hostname" },
    { name: "a relative path after cd", script: `cd ${watched}; echo > relative`, path: "relative" },
    { name: "a symbolic link", script: `ln -s /bin/true ${watched}/link`, path: "link" },
    { name: "a hard link", script: `ln /etc/hostname ${watched}/hard || cp /etc/hostname ${watched}/hard`, path: "hard" },
  ])("a file comes into a watched folder: $name", async ({ script, path }) => {
    rmSync(join(watched, path), { force: true });
    await sh(script);
    const { body } = await it.seen("file.create", ({ file }) => file.path === join(watched, path));
    expect(body.file.path).toBe(join(watched, path));
  });

  describe("network", () => {
    const servers: Server[] = [];
    const listen = async (host: string) => {
      const server = createServer((socket) => socket.end());
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(0, host, resolve));
      return (server.address() as { port: number }).port;
    };
    afterAll(() => servers.forEach((server) => void server.close()));

    test.each([
      { name: "IPv4", host: "127.0.0.1" },
      { name: "IPv6", host: "::1" },
    ])("connect over $name", async ({ host }) => {
      const port = await listen(host);
      const { pid } = await run(["/bin/bash", "-c", `exec 3<>/dev/tcp/${host}/${port}`]);
      const { body } = await it.seen("net.connect", ({ process }) => process.pid === pid);
      expect(body.net).toEqual({ proto: "tcp", dstIp: host, dstPort: port });
      expect(body.process).toMatchObject({ exe: "/bin/bash", ppid: process.pid });
    });

    test("a connect that is refused was tried", async () => {
      const { pid } = await run(["/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/1"]);
      expect((await it.seen("net.connect", ({ process }) => process.pid === pid)).body.net.dstPort).toBe(1);
    });

    test("a datagram socket is udp", async () => {
      const { pid } = await run(["/bin/bash", "-c", "exec 3<>/dev/udp/127.0.0.1/9"]);
      expect((await it.seen("net.connect", ({ process }) => process.pid === pid)).body.net).toEqual({
        proto: "udp",
        dstIp: "127.0.0.1",
        dstPort: 9,
      });
    });

    const perlListen = (address: string) =>
      `use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0); ${address} listen($s, 1); print "up\\n"; $| = 1; sleep 30;`;

    test.each([
      { name: "bound to a port the kernel chose", bind: 'bind($s, pack_sockaddr_in(0, inet_aton("127.0.0.1")));', ip: "127.0.0.1" },
      { name: "never bound", bind: "", ip: "0.0.0.0" },
    ])("listen: $name", async ({ bind, ip }) => {
      const child = start(["/usr/bin/perl", "-e", perlListen(bind)]);
      const { body } = await it.seen("net.listen", ({ process }) => process.pid === child.pid);
      child.kill();
      expect(body.net).toMatchObject({ proto: "tcp", ip });
      expect(body.net.port).toBeGreaterThan(1023);
    });

    test("listen on a given port, by a program that is gone at once", async () => {
      const port = await listen("127.0.0.1");
      servers.pop()!.close();
      const script = `use Socket; socket(my $s, PF_INET, SOCK_STREAM, 0); bind($s, pack_sockaddr_in(${port}, INADDR_ANY)) or die; listen($s, 1);`;
      const { pid } = await run(["/usr/bin/perl", "-e", script]);
      expect((await it.seen("net.listen", ({ process }) => process.pid === pid)).body.net).toEqual({ proto: "tcp", ip: "0.0.0.0", port });
    });

    test("a datagram socket bound to a port serves", async () => {
      const script =
        "use Socket; socket(my $s, PF_INET, SOCK_DGRAM, 0); bind($s, pack_sockaddr_in(0, INADDR_ANY)); bind($s, pack_sockaddr_in(5, INADDR_ANY));";
      const { pid } = await run([
        "/usr/bin/perl",
        "-e",
        `${script} socket(my $t, PF_INET, SOCK_DGRAM, 0); bind($t, pack_sockaddr_in(40971, INADDR_LOOPBACK));`,
      ]);
      const { body } = await it.seen("net.listen", ({ process }) => process.pid === pid);
      expect(body.net).toEqual({ proto: "udp", ip: "127.0.0.1", port: 40971 });
    });

    test("AF_UNIX is none of our business", async () => {
      const script = `use Socket; socket(my $s, PF_UNIX, SOCK_STREAM, 0); bind($s, pack_sockaddr_un("${dir}/sock")); listen($s, 1); connect($s, pack_sockaddr_un("${dir}/none"));`;
      const { pid } = await run(["/usr/bin/perl", "-e", script]);
      await it.seen("process.exit", ({ process }) => process.pid === pid);
      expect(it.drafts.filter(({ type, body }) => type.startsWith("net.") && "process" in body && body.process?.pid === pid)).toEqual([]);
    });
  });

  test("what this process does itself is not reported", async () => {
    readFileSync(shadow);
    writeFileSync(join(watched, "own"), "");
    const { pid } = await sh(`cat ${shadow}; :`);
    await it.seen("process.exit", (body) => body.process.pid === pid);
    expect(it.drafts.filter(({ type, body }) => type !== "process.exec" && "process" in body && body.process?.pid === process.pid)).toEqual(
      [],
    );
  });

  test("2,000 programs in a row: none is missed, none twice", async () => {
    const { pid } = await sh("i=0; while [ $i -lt 2000 ]; do /bin/true burst $i; i=$((i+1)); done");
    await it.seen("process.exit", ({ process }) => process.pid === pid);
    const numbers = it
      .all("process.exec", ({ process }) => process.ppid === pid && process.argv[1] === "burst")
      .map(({ body }) => Number(body.process.argv[2]));
    expect(numbers).toEqual(Array.from({ length: 2_000 }, (_, index) => index));
    expect(it.all("process.exit", ({ process }) => process.ppid === pid && process.argv[1] === "burst")).toHaveLength(2_000);
    it.sensor.poll();
    expect(it.sensor.lost(), `of which collector: ${JSON.stringify(it.all("sensor.lost").map(({ body }) => body))}`).toEqual({ kernel: 0 });
  }, 60_000);
});

describe.skipIf(cannotRun !== "")(`on a kernel that has less${cannotRun}`, () => {
  test.each(steps)("no syscalls tracepoints (an old Raspberry Pi OS): everything is seen through raw_syscalls (step %s)", async (step) => {
    using it = rig({ step, without: ["syscalls/"], watchRead: [join(secrets, "shadow")], watchWrite: [`${watched}/`] });
    expect(it.sensor.capabilities()).toEqual(
      collectorNames.map((name) => ({ name: `sensor.${name}`, level: "live", why: expect.stringContaining("raw_syscalls") })),
    );
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" && address ? address.port : 0;
    const script = `cat ${secrets}/shadow; echo x > ${watched}/raw; rm ${watched}/raw; exec 3<>/dev/tcp/127.0.0.1/${port}; exit 7`;
    const { pid } = await run(["bash", "-c", script]);
    const { body } = await it.seen("process.exit", ({ process }) => process.pid === pid);
    server.close();
    expect(body).toMatchObject({ exitCode: 7, process: { argv: ["bash", "-c", script] } });
    await it.seen("file.open", ({ file, process }) => file.path === join(secrets, "shadow") && process.ppid === pid);
    await it.seen("file.create", ({ file }) => file.path === join(watched, "raw"));
    await it.seen("file.delete", ({ file }) => file.path === join(watched, "raw"));
    await it.seen("net.connect", ({ process, net }) => process.pid === pid && net.dstPort === port);
  });

  test("neither syscalls nor raw_syscalls tracepoints: programs and their ends are still seen", async () => {
    using it = rig({ without: ["syscalls/", "raw_syscalls/", "prepare_exec"] });
    expect(Object.fromEntries(it.sensor.capabilities().map(({ name, level }) => [name, level]))).toEqual({
      "sensor.process-tree": "degraded",
      "sensor.exec": "degraded",
      "sensor.exit": "degraded",
      "sensor.io_uring": "degraded",
      ...Object.fromEntries(["file", "net", "dns", "privilege", "kernel"].map((name) => [`sensor.${name}`, "off"])),
    });
    expect(it.all("sensor.state").map(({ body }) => body.collector)).toEqual(collectorNames);
    const child = Bun.spawn(["/bin/sleep", "30"]);
    const { body } = await it.seen("process.exec", ({ process }) => process.pid === child.pid);
    child.kill("SIGTERM");
    expect(body.process).toMatchObject({ exe: "/bin/sleep", argv: ["/bin/sleep", "30"] });
    const { body: exit } = await it.seen("process.exit", ({ process }) => process.pid === child.pid);
    expect(exit.signal).toBe(15);
  });

  test("the kernel does not tell the last thread (before 6.16): one exit a process", async () => {
    using it = rig({ without: ["exitGroupDead", "prepare_exec"] });
    const script = join(dir, "old-kernel");
    writeFileSync(script, "#!/bin/sh\nexit 5\n");
    chmodSync(script, 0o755);
    const { pid } = await run([script]);
    const { body } = await it.seen("process.exit", ({ process }) => process.pid === pid);
    expect(body).toMatchObject({ exitCode: 5, process: { exe: "/bin/sh", argv: ["/bin/sh", script] } });

    // exit(2) of the only thread, not exit_group(2).
    const { pid: alone } = await run(["/usr/bin/perl", "-e", `syscall(${process.arch === "arm64" ? 93 : 60}, 6)`]);
    expect((await it.seen("process.exit", ({ process }) => process.pid === alone)).body.exitCode).toBe(6);

    // The first thread ends alone; the others go on until they are killed.
    const program = `
      const worker = new Worker(URL.createObjectURL(new Blob(["setInterval(() => {}, 1000); postMessage('runs')"])));
      const { symbols } = require("bun:ffi").dlopen("libc.so.6", { syscall: { args: ["i64", "i64"], returns: "i64" } });
      worker.onmessage = () => symbols.syscall(${process.arch === "arm64" ? 93 : 60}, 0);`;
    const child = Bun.spawn([process.execPath, "-e", program], { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
    await expect.poll(() => readFileSync(`/proc/${child.pid}/stat`, "latin1"), { timeout: 20_000 }).toContain(") Z ");
    expect(it.all("process.exit", ({ process }) => process.pid === child.pid)).toEqual([]);
    process.kill(child.pid, "SIGKILL");
    const { body: last } = await it.seen("process.exit", ({ process }) => process.pid === child.pid);
    expect(last.signal).toBe(9);
    it.sensor.poll();
    expect(it.all("process.exit", ({ process }) => process.pid === child.pid)).toHaveLength(1);
  });

  test.each(steps)("what does not fit is counted, to the last event (step %s)", async (step) => {
    // Others run programs here, too. A sensor that runs longer and loses nothing knows how many there were at most.
    using witness = rig({});
    const count = 300;
    {
      using it = rig({ step, ringBytes: 1, polling: false });
      const { pid } = await run(["/bin/sh", "-c", `i=0; while [ $i -lt ${count} ]; do /bin/true lost; i=$((i+1)); done`]);
      await witness.seen("process.exit", ({ process }) => process.pid === pid);
      it.sensor.poll();
      const seen = it.all("process.exec").length;
      const lost = it.all("sensor.lost", ({ collector }) => collector === "exec").reduce((sum, { body }) => sum + body.count, 0);
      expect(lost).toBeGreaterThan(0);
      expect(it.sensor.lost().kernel).toBeGreaterThanOrEqual(lost);
      witness.sensor.poll();
      expect(witness.sensor.lost()).toEqual({ kernel: 0 });
      expect(witness.all("process.exec", ({ process }) => process.ppid === pid)).toHaveLength(count);
      expect(seen + lost).toBeGreaterThanOrEqual(count);
      expect(seen + lost).toBeLessThanOrEqual(witness.all("process.exec").length);
    }
  });
});

/** What a process started like this says about its host. */
function checkUnder(...command: readonly string[]) {
  const script = `
    const { checkHost, startSensor } = await import(${JSON.stringify(new URL("./sensor.ts", import.meta.url).pathname)});
    const drafts = [];
    using sensor = startSensor({ ignorePid: 0, watchRead: [], watchWrite: [] }, (draft) => drafts.push(draft));
    console.log(JSON.stringify({ check: checkHost(), drafts }));`;
  const { stdout } = Bun.spawnSync([...command, process.execPath, "-e", script], { cwd: "/" });
  const { check, drafts } = JSON.parse(stdout.toString()) as { check: Capability[]; drafts: EventDraft[] };
  return { check: new Map(check.map((capability) => [capability.name.replace("sensor.", ""), capability])), drafts };
}

const levels = (found: Map<string, Capability>) => Object.fromEntries(collectorNames.map((name) => [name, found.get(name)?.level]));
/** What there is without BPF; without-bpf.test.ts shows what it sees. */
const withoutBpf = {
  "process-tree": "degraded",
  exec: "degraded",
  exit: "live",
  net: "degraded",
  dns: "off",
  privilege: "off",
  io_uring: "off",
  kernel: "off",
};
const told = (drafts: readonly EventDraft[]) =>
  Object.fromEntries(
    drafts.flatMap(({ type, body }) => (type === "sensor.state" && "level" in body ? [[body.collector, body.level]] : [])),
  );
const notLive = (expected: Record<string, string>) => Object.fromEntries(Object.entries(expected).filter(([, level]) => level !== "live"));

describe.skipIf(cannotRun !== "")(`what a host lacks${cannotRun}`, () => {
  test("rights", () => {
    const { check, drafts } = checkUnder("/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--");
    expect(check.get("libbpf")?.level).toBe("live");
    expect(check.get("bpf")).toMatchObject({
      level: "off",
      why: expect.stringContaining("not permitted"),
      todo: expect.stringContaining("root"),
    });
    // Since Linux 6.6 everybody may listen to the proc connector.
    const exit = check.get("exec")?.why.includes("come from the proc connector") ? "live" : "degraded";
    const expected = { ...withoutBpf, exit, file: "off" };
    expect(levels(check)).toEqual(expected);
    expect(check.get("exec")?.todo).toContain("root");
    expect(check.get("file")).toMatchObject({ why: expect.stringContaining("fanotify"), todo: expect.stringContaining("CAP_SYS_ADMIN") });
    expect(told(drafts)).toEqual(notLive(expected));
  });

  test("libbpf", () => {
    const hide = 'for f in /usr/lib/*/libbpf.so*; do [ -f "$f" ] && mount --bind /dev/null "$f"; done; exec "$@"';
    const { check, drafts } = checkUnder("/usr/bin/unshare", "-m", "/bin/sh", "-c", hide, "sh");
    expect(check.get("libbpf")).toMatchObject({ level: "off", why: "libbpf.so.1 is not installed", todo: "apt-get install libbpf1" });
    expect(check.get("tracefs")?.level).toBe("live");
    const expected = { ...withoutBpf, file: "degraded" };
    expect(levels(check)).toEqual(expected);
    expect(check.get("net")?.todo).toBe("apt-get install libbpf1");
    expect(told(drafts)).toEqual(notLive(expected));
  });

  test("a mounted tracefs, as inside `ip netns exec`: it is mounted for the moment, and nothing is missing", () => {
    const { check } = checkUnder("/usr/bin/unshare", "-m", "/bin/sh", "-c", 'mount -t sysfs none /sys; exec "$@"', "sh");
    expect([...check.values()].filter(({ level }) => level !== "live")).toEqual([]);
    expect([...check.keys()]).toEqual(["libbpf", "tracefs", "bpf", ...collectorNames]);
  });
});
