// Rare and telling system calls, really made on the kernel this runs on, and what becomes of them.
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EventDraft, EventType } from "@picket/protocol/event";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cannotRun, type Rig, rig, run } from "./collectors/testing/rig.ts";
import type { Step } from "./sensor.ts";

const dir = mkdtempSync(join(tmpdir(), "pkdeeds-"));
const deeds = join(dir, "deeds");
const watched = join(dir, "watched");
mkdirSync(watched);
afterAll(() => rmSync(dir, { recursive: true }));

const noModules = existsSync("/proc/modules") ? "" : " (skipped: this kernel has no modules)";

describe.skipIf(cannotRun !== "").each<Step>(["bpf", "perf"])(`on this kernel, step %s${cannotRun}`, (step) => {
  let it: Rig;
  beforeAll(() => {
    const source = new URL("collectors/testing/deeds.c", import.meta.url).pathname;
    const { exitCode, stderr } = Bun.spawnSync(["clang", "-O1", "-o", deeds, source], { stderr: "pipe" });
    if (exitCode !== 0) throw new Error(`clang: ${stderr}`);
    it = rig({ step, watchWrite: [`${watched}/`] });
  });
  afterAll(() => it[Symbol.dispose]());

  /** Runs a deed to its end and returns what the sensor made of it. */
  async function done(...args: string[]): Promise<{ of: <T extends EventType>(type: T) => EventDraft<T>["body"][]; pid: number }> {
    const { pid, exitCode } = await run([deeds, ...args]);
    expect(exitCode).toBe(0);
    await it.seen("process.exit", ({ process }) => process.pid === pid);
    const of = <T extends EventType>(type: T) =>
      it.all(type, (body) => "process" in body && body.process?.pid === pid).map(({ body }) => body as EventDraft<T>["body"]);
    return { of, pid };
  }

  test("attaching to a process, told once however often its memory is written", async () => {
    const { of } = await done("attach");
    const seen = of("process.ptrace");
    expect(seen.map(({ request }) => request)).toEqual(["PTRACE_ATTACH", "PTRACE_POKEDATA"]);
    expect(seen[0]).toMatchObject({ process: { exe: deeds, argv: [deeds, "attach"] }, targetPid: seen[1]!.targetPid });
    const target = seen[0]!.targetPid;
    await it.seen("process.exit", ({ process }) => process.pid === target && process.exe === deeds);
  });

  test("what was told of a program, or as another user, is told again of the same process", async () => {
    const twice = (await done("attach-again")).of("process.ptrace");
    expect(twice.map(({ request, process }) => [request, process.argv[1]])).toEqual([
      ["PTRACE_ATTACH", "attach-again"],
      ["PTRACE_ATTACH", "attach-to"],
    ]);
    expect(twice[0]!.targetPid).toBe(twice[1]!.targetPid);
    expect((await done("bpf-as-root-again")).of("kernel.bpf")).toMatchObject([{ cmd: "BPF_PROG_LOAD" }, { cmd: "BPF_PROG_LOAD" }]);
  });

  test("writing into another process without ptrace", async () => {
    expect((await done("inject")).of("process.ptrace")).toMatchObject([{ request: "process_vm_writev", targetPid: expect.any(Number) }]);
  });

  test("a program that exists in memory only: made, and run", async () => {
    const { of } = await done("fileless", "pk-fileless");
    expect(of("process.memfd")).toMatchObject([{ name: "pk-fileless", process: { exe: deeds } }]);
    expect(of("process.exec").at(-1)).toMatchObject({ process: { exe: "/memfd:pk-fileless (deleted)", argv: ["harmless"] } });
  });

  test.each(["setuid", "setresuid"])("%s", async (deed) => {
    expect((await done(deed, "65534")).of("process.setuid")).toMatchObject([
      { from: 0, to: 65534, process: { uid: 0, argv: [deeds, deed, "65534"] } },
    ]);
    expect((await done(deed, "0")).of("process.setuid")).toEqual([]);
  });

  test("a BPF program that is refused is an attempt", async () => {
    expect((await done("bpf")).of("kernel.bpf")).toMatchObject([{ cmd: "BPF_PROG_LOAD", process: { exe: deeds } }]);
  });

  test.skipIf(noModules !== "")(`modules that are refused are attempts${noModules}`, async () => {
    expect((await done("module")).of("kernel.module")).toMatchObject([{ name: "(from memory)", process: { exe: deeds } }]);
    const file = join(dir, "rootkit.ko");
    writeFileSync(file, "no module");
    expect((await done("module-file", file)).of("kernel.module")).toMatchObject([{ name: "rootkit" }]);
  });

  test("a kernel without modules lacks nothing", () => {
    expect(it.sensor.capabilities().filter(({ level }) => level !== "live")).toEqual([]);
  });

  test("mounts, the old way and the new, in a mount namespace of their own", async () => {
    const [disk, bind] = [join(dir, `disk-${step}`), join(dir, `bind-${step}`)];
    for (const path of [disk, bind]) mkdirSync(path);
    await run([
      "unshare",
      "--mount",
      "sh",
      "-c",
      `mount -t tmpfs pk-disk ${disk} && mount --bind ${disk} ${bind} && mount -o remount,ro ${disk}`,
    ]);
    await it.seen("kernel.mount", ({ fsType }) => fsType === "remount");
    const seen = it
      .all("kernel.mount", ({ target }) => [disk, bind].includes(target))
      .map(({ body: { source, target, fsType } }) => [source, target, fsType]);
    expect(seen).toEqual([
      ["pk-disk", disk, "tmpfs"],
      [disk, bind, "bind"],
      [expect.anything(), disk, "remount"],
    ]);
  });

  test("modes: below a watched prefix, and set-user-id anywhere", async () => {
    const [inside, outside] = [join(watched, "run"), join(dir, "shell")];
    for (const path of [inside, outside]) writeFileSync(path, "");
    await run(["chmod", "755", inside, outside]);
    await run(["chmod", "4755", outside]);
    await run([deeds, "fchmod", outside, "02711"]);
    const { pid } = await run(["/bin/true"]);
    await it.seen("process.exit", ({ process }) => process.pid === pid);
    const seen = it
      .all("file.chmod", ({ file }) => file.path.startsWith(dir))
      .map(({ body: { file } }) => [file.path, file.mode.toString(8)]);
    expect(seen).toEqual([
      [inside, "755"],
      [outside, "4755"],
    ]);
  });

  test("set-group-id by descriptor, while the process runs", async () => {
    const path = join(dir, "by-descriptor");
    writeFileSync(path, "");
    const script = `const fs = require("node:fs"); fs.fchmodSync(fs.openSync(${JSON.stringify(path)}), 0o2755); setTimeout(() => {}, 60000)`;
    const child = Bun.spawn([process.execPath, "-e", script], { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
    try {
      expect((await it.seen("file.chmod", ({ file }) => file.path === path)).body.file.mode).toBe(0o2755);
    } finally {
      child.kill("SIGKILL");
    }
  });

  test("DNS queries, each way a resolver sends them, each name once", async () => {
    const names = ["one.picket.example", "two.picket.example", "three.picket.example", "four.picket.example"];
    const { of } = await done("ask", ...names);
    expect(of("net.dns").map(({ net }) => net.query)).toEqual(names);
    expect(
      (await done("ask", "same.example", "same.example", "same.example", "Same.example")).of("net.dns").map(({ net }) => net.query),
    ).toEqual(["same.example", "Same.example"]);
  });

  test("DNS queries in pieces, and written as to a file", async () => {
    const names = ["pieces.picket.example", "written.picket.example"];
    expect((await done("ask-in-pieces", ...names)).of("net.dns").map(({ net }) => net.query)).toEqual(names);
  });

  test("DNS queries over TCP, the length apart; what is written to a file that took the descriptor is no query", async (context) => {
    const { server, port } = await listening(53).catch(() => context.skip("something listens at port 53 of 127.0.0.1"));
    expect(port).toBe(53);
    const names = ["stream.picket.example", "apart.picket.example"];
    try {
      expect((await done("ask-stream", ...names)).of("net.dns").map(({ net }) => net.query)).toEqual(names);
    } finally {
      server.close();
    }
  });

  test.each([[], ["by the kernel's own thread"]])("a file opened and a connection made by io_uring %s", async (...way) => {
    const { server, port } = await listening(0);
    try {
      const { of } = await done("ring", join(dir, "by-ring"), String(port), ...way);
      expect(new Set(of("process.io_uring").map(({ op }) => op))).toEqual(new Set(["setup", "openat", "connect"]));
      // The one by the ring and the one by connect(2), each once.
      expect(of("net.connect").map(({ net }) => net)).toEqual([
        { proto: "tcp", dstIp: "127.0.0.1", dstPort: port },
        { proto: "tcp", dstIp: "127.0.0.1", dstPort: port },
      ]);
    } finally {
      server.close();
    }
  });

  test.skipIf(process.arch !== "x64").each(["fast-open", "connect-as-32-bit"])(
    "a connection without the connect of 64-bit programs: %s",
    async (deed) => {
      const { server, port } = await listening(0);
      try {
        const { of } = await done(deed, String(port));
        expect(of("net.connect").map(({ net }) => net)).toEqual([{ proto: "tcp", dstIp: "127.0.0.1", dstPort: port }]);
      } finally {
        server.close();
      }
    },
  );

  test("accepted connections, whether the program asks who it is or not", async () => {
    const child = Bun.spawn([deeds, "serve"], { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
    const mine = ({ process }: { process: { pid: number } }) => process.pid === child.pid;
    const listening = await it.seen("net.listen", mine);
    await expect.poll(() => it.all("net.accept", mine).length).toBe(2);
    for (const { body } of it.all("net.accept", mine)) {
      expect(body.net).toMatchObject({ proto: "tcp", ip: "127.0.0.1", port: listening.body.net.port, srcIp: "127.0.0.1" });
      expect(body.net.srcPort).toBeGreaterThan(0);
    }
    child.kill("SIGKILL");
  });

  test("a library that is loaded before a program's own, and the next program without one", async () => {
    const env = { A: "1", LD_PRELOAD: "/nonexistent/pk.so" };
    const child = Bun.spawn(["/bin/true", "preloaded"], { env, stdin: "ignore", stdout: "ignore", stderr: "ignore" });
    await child.exited;
    const { body } = await it.seen("process.exec", ({ process }) => process.pid === child.pid);
    expect(body.preload).toBe("LD_PRELOAD=/nonexistent/pk.so");
    const plain = await run(["/bin/true"]);
    expect((await it.seen("process.exec", ({ process }) => process.pid === plain.pid)).body.preload).toBeUndefined();
  });

  test("a shell whose input and output are a connection, and one that has a pipe", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" && address ? address.port : 0;
    const script = `exec 3<>/dev/tcp/127.0.0.1/${port}; /bin/sh -c 'read line' <&3 >&3 2>/dev/null`;
    const child = Bun.spawn(["bash", "-c", script], { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
    try {
      const { body } = await it.seen("process.exec", ({ process }) => process.parent?.pid === child.pid && process.argv[1] === "-c");
      expect(body.stdio).toEqual({ fds: [0, 1], ip: "127.0.0.1", port });
      const piped = Bun.spawn(["/bin/sh", "-c", "read line"], { stdin: "pipe", stdout: "ignore", stderr: "ignore" });
      expect((await it.seen("process.exec", ({ process }) => process.pid === piped.pid)).body.stdio).toBeUndefined();
      piped.kill("SIGKILL");
    } finally {
      child.kill("SIGKILL");
      server.close();
    }
  });
});

async function listening(at: number): Promise<{ server: Server; port: number }> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(at, "127.0.0.1", resolve));
  const address = server.address();
  return { server, port: typeof address === "object" && address ? address.port : 0 };
}
