// Where the storm rages: two folders of files, a program to start, and the storm itself, compiled where there is a compiler.
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { undoneAtEnd } from "../leftovers.ts";
import { installed } from "../program.ts";
import { note } from "../result.ts";

const FILES = 64;

export type Scene = Disposable & {
  readonly dir: string;
  /** The executable whose opens count. */
  readonly exe: string;
  /** Folders, without a slash at the end. */
  readonly plain: string;
  readonly watched: string;
  readonly program: string;
  /** The executable whose connections count. */
  readonly deeds: string;
  /** Does `count` of them one after another: starts `program`, or connects to itself. Undefined where there is no C compiler. */
  readonly deed: ((what: "exec" | "connect", count: number) => Promise<Deeds>) | undefined;
  storm(of: { opens: number; every: number; execs: number }): Promise<Storm>;
};
/** What one storm took; `watched` opens and `execs` are what a watcher should have seen. */
export type Storm = { readonly seconds: number; readonly cpuSeconds: number; readonly watched: number; readonly execs: number };

/** What some deeds took, children included. */
export type Deeds = { readonly seconds: number; readonly cpuSeconds: number };

/** Not below /tmp, where the shipped rules are suspicious of programs. Disposing removes it. */
export function createScene(): Scene {
  const dir = mkdtempSync("/var/lib/picket-bench-");
  const remove = () => rmSync(dir, { recursive: true, force: true });
  const removed = undoneAtEnd(remove);
  const [plain, watched, program] = [join(dir, "plain"), join(dir, "secret"), join(dir, "program")];
  for (const folder of [plain, watched]) {
    mkdirSync(folder);
    for (let file = 0; file < FILES; file++) writeFileSync(join(folder, String(file)), "");
  }
  if (!compiled("tiny.c", program, ["-static", "-Os"])) copyFileSync("/bin/true", program);
  chmodSync(program, 0o755);
  const { command, exe } = compile(dir);
  const deeds = join(dir, "deeds");
  const deed = compiled("deeds.c", deeds, ["-O2"])
    ? async (what: "exec" | "connect", count: number) => {
        const [wall, user, system] = await printed([deeds, what, String(count), program]);
        return { seconds: wall! / 1e9, cpuSeconds: (user! + system!) / 1e9 };
      }
    : undefined;
  return {
    ...{ dir, exe, plain, watched, program, deeds, deed },
    storm: (of) => run([...command, String(of.opens), String(of.every), plain, watched, String(of.execs), program], of.execs),
    [Symbol.dispose]: () => {
      remove();
      removed();
    },
  };
}

function compile(dir: string): { command: string[]; exe: string } {
  const exe = join(dir, "storm");
  if (compiled("storm.c", exe, ["-O2"])) return { command: [exe], exe };
  note("kernel: no C compiler: the storm is a Bun script, which opens files several times slower");
  copyFileSync(process.execPath, exe);
  return { command: [exe, new URL("storm.ts", import.meta.url).pathname], exe };
}

function compiled(source: string, out: string, flags: readonly string[]): boolean {
  const compiler = installed("clang") ?? installed("gcc") ?? installed("cc");
  if (compiler === undefined) return false;
  const { exitCode, stderr } = Bun.spawnSync([compiler, ...flags, "-o", out, new URL(source, import.meta.url).pathname], {
    stderr: "pipe",
  });
  if (exitCode !== 0) note(`kernel: ${compiler} cannot compile ${source}: ${stderr.toString().trim()}`);
  return exitCode === 0;
}

async function run(command: string[], execs: number): Promise<Storm> {
  const [wall, user, system, watched] = await printed(command);
  return { seconds: wall! / 1e9, cpuSeconds: (user! + system!) / 1e9, watched: watched!, execs };
}

/** The numbers a program prints. Rejects when it fails. */
async function printed(command: string[]): Promise<number[]> {
  const child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
  const text = await new Response(child.stdout).text();
  if ((await child.exited) !== 0) throw new Error(`${command.join(" ")}: ended with ${child.exitCode}`);
  return text.trim().split(" ").map(Number);
}
