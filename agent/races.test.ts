// What really ran, whatever those who start it do: paths that change under way, threads, storms, and names that are no text.
import { chmodSync, copyFileSync, existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EventDraft } from "@picket/protocol/event";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cannotRun, type Rig, rig, run } from "./collectors/testing/rig.ts";

const dir = mkdtempSync(join(tmpdir(), "pkraces-"));
const races = join(dir, "races");
afterAll(() => rmSync(dir, { recursive: true }));

/** What the kernel side takes from the command line and from the environment. */
const ARGS = 32;
const ARGS_BYTES = 4_096;
const ENV_ENTRIES = 64;

describe.skipIf(cannotRun !== "")(`on this kernel${cannotRun}`, () => {
  let it: Rig;
  beforeAll(() => {
    const source = new URL("collectors/testing/races.c", import.meta.url).pathname;
    const { exitCode, stderr } = Bun.spawnSync(["clang", "-O1", "-pthread", "-o", races, source], { stderr: "pipe" });
    if (exitCode !== 0) throw new Error(`clang: ${stderr}`);
    it = rig({});
  });
  afterAll(() => it[Symbol.dispose]());

  const ended = (pid: number) => it.seen("process.exit", ({ process }) => process.pid === pid);
  const execsOf = (pid: number) => it.all("process.exec", ({ process }) => process.pid === pid).map(({ body }) => body.process);
  /** Runs a program to its end; returns what the sensor made of its last exec. */
  async function last(command: readonly string[]): Promise<EventDraft<"process.exec">["body"]> {
    const { pid } = await run(command);
    await ended(pid);
    return it.all("process.exec", ({ process }) => process.pid === pid).at(-1)!.body;
  }
  const script = (name: string, text: string) => {
    const path = join(dir, name);
    writeFileSync(path, text);
    chmodSync(path, 0o755);
    return path;
  };

  test("a second thread changes the path between the call and what the kernel does: the program that ran is told", async () => {
    const [path, times] = [join(dir, "which-a"), 400];
    for (const name of ["which-a", "which-b"]) copyFileSync(races, join(dir, name));
    const child = Bun.spawn([races, "swap", path, String(times)], { stdin: "ignore", stdout: "pipe", stderr: "ignore" });
    const truth = (await new Response(child.stdout).text()).trim().split("\n");
    await ended(child.pid);
    const execs = new Map(
      it
        .all("process.exec", ({ process }) => process.ppid === child.pid && process.argv[1] === "swapped")
        .map(({ body: { process } }) => [process.pid, process]),
    );
    expect(truth).toHaveLength(times);
    expect(
      truth
        .map((line) => line.split(" ")[0])
        .map(Number)
        .map((pid) => `${pid} ${execs.get(pid)?.exe.at(-1)}`),
    ).toEqual(truth);
    // The claim is what it was at the call; were it always the truth, nothing would have been tested.
    expect([...execs.values()].some(({ exe, argv }) => exe !== argv[0])).toBe(true);
  });

  test("a second thread changes the address between the call and what the kernel does: where the connection led is told, each time", async () => {
    const servers = [createServer(), createServer()];
    const ports: number[] = [];
    for (const server of servers) {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      ports.push((server.address() as AddressInfo).port);
    }
    try {
      const times = 2_000;
      let corrected = 0;
      // On a busy machine the two threads seldom run at the same time.
      for (let round = 0; round < 20 && corrected === 0; round++) {
        const child = Bun.spawn([races, "connect-swapped", ...ports.map(String), String(times)], {
          stdin: "ignore",
          stdout: "pipe",
          stderr: "ignore",
        });
        const truth = (await new Response(child.stdout).text()).trim().split("\n").map(Number);
        await ended(child.pid);
        expect(truth).toHaveLength(times);
        const seen = it.all("net.connect", ({ process }) => process.pid === child.pid).map(({ body }) => body.net.dstPort);
        // Each connection is told once, or twice: as claimed, then as it was.
        let at = 0;
        for (const port of truth) {
          if (seen[at] !== port) {
            at++;
            corrected++;
          }
          expect(seen[at]).toBe(port);
          at++;
        }
      }
      expect(corrected).toBeGreaterThan(0);
    } finally {
      for (const server of servers) server.close();
    }
  }, 60_000);

  test("another thread than the first calls exec: the process is the same, its arguments its own", async () => {
    for (let time = 0; time < 20; time++) {
      const { pid } = await run([races, "thread-exec", "/bin/true", "by-thread", String(time)]);
      await ended(pid);
      expect(execsOf(pid).map(({ exe, argv }) => [exe, ...argv.slice(1)])).toEqual([
        [races, "thread-exec", "/bin/true", "by-thread", String(time)],
        ["/bin/true", "by-thread", String(time)],
      ]);
      expect(it.all("process.exit", ({ process }) => process.pid === pid)).toHaveLength(1);
    }
  });

  test("forks that run nothing of their own: ends, each with its status, and no programs", async () => {
    const { pid } = await run([races, "fork-only", "300"]);
    await ended(pid);
    const ends = it.all("process.exit", ({ process }) => process.ppid === pid);
    expect(ends.map(({ body }) => body.exitCode)).toEqual(Array.from({ length: 300 }, (_, index) => index % 100));
    for (const { body } of ends) expect(body.process).toMatchObject({ exe: races, argv: [races, "fork-only", "300"], parent: { pid } });
    expect(it.all("process.exec", ({ process }) => process.ppid === pid)).toEqual([]);
  });

  test("5,000 programs of eight parents at once: none is missed, none twice", async () => {
    const { pid } = await run([races, "storm", "8", "625"]);
    await ended(pid);
    const storm = it.all("process.exec", ({ process }) => process.argv[1] === "storm" && process.argv[0] === "true");
    const numbers = storm.map(({ body }) => Number(body.process.argv[2])).toSorted((a, b) => a - b);
    expect(numbers).toEqual(Array.from({ length: 5_000 }, (_, index) => index));
    for (const { body } of storm)
      expect(body.process).toMatchObject({
        exe: "/bin/true",
        parent: { exe: races },
        ancestors: expect.arrayContaining([expect.objectContaining({ pid })]),
      });
    it.sensor.poll();
    expect(it.sensor.lost(), `of which collector: ${JSON.stringify(it.all("sensor.lost").map(({ body }) => body))}`).toEqual({ kernel: 0 });
  }, 60_000);

  test("an opened file whose name is out of memory at both ends of the call is told, but is no event", async () => {
    const at = join(dir, "name");
    const pipe = join(dir, "pipe");
    writeFileSync(at, `${pipe}\0`.padEnd(4096, "\0"));
    await run(["mkfifo", pipe]);
    const before = it.sensor.lost();
    const told = () => it.all("sensor.lost", ({ collector }) => collector === "file-names").length;
    const { exitCode } = await run([races, "name-out-of-memory", at, pipe]);
    expect(exitCode).toBe(0);
    it.sensor.poll();
    expect(told()).toBeGreaterThan(0);
    expect(it.sensor.lost()).toEqual(before);
  }, 60_000);

  describe("scripts", () => {
    test("with an argument for the interpreter", async () => {
      const path = script("with-argument", "#!/bin/sh -e\n:\n");
      expect((await last([path, "one"])).process).toMatchObject({ exe: "/bin/sh", argv: ["/bin/sh", "-e", path, "one"] });
    });

    test("by a symbolic link: the name it was called by", async () => {
      const path = join(dir, "link");
      symlinkSync(script("linked", "#!/bin/sh\n:\n"), path);
      expect((await last([path])).process).toMatchObject({ exe: "/bin/sh", argv: ["/bin/sh", path] });
    });

    /** Five scripts, each the next one's interpreter: as many as the kernel follows. What the last one prints is what it was given. */
    const chain = () => {
      const first = script("chain-1", '#!/bin/sh -e\nfor word in /bin/sh -e "$0" "$@"; do printf "%s\\n" "$word"; done\n');
      return [2, 3, 4, 5].reduce((interpreter, at) => script(`chain-${at}`, `#!${interpreter} of ${at}\n:\n`), first);
    };

    test.each([[[]], [["prepare_exec"]]])(
      "that are each other's interpreters: the program at the end ran, with all of them (without %j)",
      async (without) => {
        const path = chain();
        using its = rig({ without });
        const child = Bun.spawn([path, "one"], { stdin: "ignore", stdout: "pipe", stderr: "ignore" });
        const given = (await new Response(child.stdout).text()).trimEnd().split("\n");
        expect(given).toHaveLength(12);
        const { body } = await its.seen("process.exec", ({ process }) => process.pid === child.pid);
        expect(body.process).toMatchObject({ exe: "/bin/sh", argv: given });
        expect(body.process.argvTruncated).toBeUndefined();
      },
    );

    test("of which the middle is gone by the time anybody looks: what is known, and that it is not all", async () => {
      const middle = script("middle", "#!/bin/sh\nrm $0\n");
      const path = script("with-middle", `#!${middle}\n:\n`);
      const its = rig({ polling: false });
      try {
        const { pid } = await run([path, "one"]);
        its.sensor.poll();
        const { process } = (await its.seen("process.exec", (body) => body.process.pid === pid)).body;
        expect(process).toMatchObject({ exe: "/bin/sh", argv: ["/bin/sh", path, "one"], argvTruncated: true });
      } finally {
        its[Symbol.dispose]();
      }
    });

    test("by descriptor", async () => {
      const path = script("by-descriptor", "#!/bin/sh\nsleep 1\n");
      const { process } = await last([races, "descriptor", path, "one"]);
      expect(process.exe).toBe("/bin/sh");
      expect(process.argv.slice(-2)).toEqual([path, "one"]);
    });

    test("by descriptor, gone or with another file under its number when somebody looks: the number, and no path", async () => {
      const other = join(dir, "other");
      writeFileSync(other, "no script");
      for (const rest of ["exit", `exec 3< ${other}; sleep 30`]) {
        using its = rig({ polling: false });
        const path = script("by-descriptor-gone", `#!/bin/sh\n: > ${dir}/ran\n${rest}\n`);
        rmSync(join(dir, "ran"), { force: true });
        const child = Bun.spawn([races, "descriptor", path, "one"], { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
        await expect.poll(() => existsSync(join(dir, "ran"))).toBe(true);
        if (rest === "exit") await child.exited;
        else await expect.poll(() => readlinkSync(`/proc/${child.pid}/fd/3`)).toBe(other);
        its.sensor.poll();
        child.kill("SIGKILL");
        const { process } = its.all("process.exec", (body) => body.process.pid === child.pid).at(-1)!.body;
        expect(process.exe).toBe("/bin/sh");
        expect(process.argv).toEqual(["/bin/sh", "/dev/fd/3", "one"]);
        expect(process.argvTruncated).toBe(rest === "exit" ? true : undefined);
      }
    });
  });

  describe("arguments", () => {
    test("64 KiB of them: the first, and that there are more", async () => {
      const args = Array.from({ length: 640 }, (_, index) => String(index).padStart(101, "x"));
      const { process } = await last(["/bin/true", ...args]);
      expect(process.argvTruncated).toBe(true);
      expect(process.argv).toEqual(["/bin/true", ...args.slice(0, ARGS - 1)]);
      const long = (await last(["/bin/true", "y".repeat(65_536)])).process;
      expect(long.argvTruncated).toBe(true);
      expect(long.argv).toEqual(["/bin/true", "y".repeat(ARGS_BYTES - "/bin/true\0".length)]);
    });

    test("none at all", async () => {
      const { process } = await last([races, "no-arguments", "/bin/true"]);
      expect(process.exe).toBe("/bin/true");
      expect(process.argv.join("")).toBe("");
    });

    test("empty ones and ones with newlines keep their places", async () => {
      expect((await last(["/bin/true", "", "a\nb", "", ""])).process.argv).toEqual(["/bin/true", "", "a\nb", "", ""]);
    });

    test("no text, in the path and after it", async () => {
      const quoted = `$'${dir}/new\\nline \\xff'`;
      const { pid } = await run(["bash", "-c", `cp /bin/true ${quoted}; exec ${quoted} $'\\xc3(' $'\\xe4\\xbd'`]);
      await ended(pid);
      expect(execsOf(pid).at(-1)).toMatchObject({ exe: `${dir}/new\nline \ufffd`, argv: [`${dir}/new\nline \ufffd`, "\ufffd(", "\ufffd"] });
    });
  });

  test("a program that is gone before anybody can look at it", async () => {
    const path = join(dir, "gone");
    copyFileSync("/bin/true", path);
    const { pid } = await run(["/bin/sh", "-c", `${path} once; rm ${path}`]);
    await ended(pid);
    expect((await it.seen("process.exec", ({ process }) => process.ppid === pid && process.argv[1] === "once")).body.process.exe).toBe(
      path,
    );
  });

  test("a program without a name any more, run by its descriptor", async () => {
    const path = join(dir, "nameless");
    copyFileSync("/bin/sleep", path);
    const child = Bun.spawn([races, "gone", path, "30"], { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
    try {
      const { body } = await it.seen(
        "process.exec",
        ({ process }) => process.pid === child.pid && process.argv.at(-1) === "30" && process.argv.length === 2,
      );
      expect(body.process.exe).toBe(`${path} (deleted)`);
    } finally {
      child.kill("SIGKILL");
    }
  });

  test("a program run by its descriptor that is another one when somebody looks: the number, and no path", async () => {
    using its = rig({ polling: false });
    const child = Bun.spawn([races, "descriptor", "/bin/sh", "-c", "exec sleep 30"], {
      stdin: "ignore",
      stdout: "ignore",
      stderr: "ignore",
    });
    try {
      await expect.poll(() => readFileSync(`/proc/${child.pid}/comm`, "utf8")).toBe("sleep\n");
      its.sensor.poll();
      const seen = its
        .all("process.exec", ({ process }) => process.pid === child.pid)
        .map(({ body: { process } }) => [process.exe, ...process.argv]);
      expect(seen.slice(-2)).toEqual([
        ["/dev/fd/3", "/bin/sh", "-c", "exec sleep 30"],
        [expect.stringMatching(/\/sleep$/), "sleep", "30"],
      ]);
    } finally {
      child.kill("SIGKILL");
    }
  });

  test("a library loaded first is seen among the environment's first 64 entries only", async () => {
    expect((await last([races, "preload-at", String(ENV_ENTRIES - 1)])).preload).toBe("LD_PRELOAD=/nonexistent/pk.so");
    const beyond = await last([races, "preload-at", String(ENV_ENTRIES)]);
    expect(beyond.process.argv).toEqual(["/bin/true", "preload-at"]);
    expect(beyond.preload).toBeUndefined();
  });
});
