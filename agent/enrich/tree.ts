// The processes of this device: who started whom, running what, where. Fed by kernel records in order, and by /proc at the start.
import type { Ancestor, Process } from "@picket/protocol/event";
import { MAX_ARGS, MAX_TEXT } from "@picket/protocol/limits";
import { AT_FDCWD, type Executed, type Head, type Processes } from "../processes.ts";
import type { Container } from "./containers.ts";
import { resolvePath } from "./paths.ts";
import type { Proc } from "./proc.ts";
import { readShebang, type Shebang } from "./script.ts";

const TICK_NS = 10_000_000n; // USER_HZ is 100 on every architecture Linux has for user space.
/** Ancestors reported, and kept after they are gone. */
const MAX_ANCESTORS = 16;
const MAX_DIRECTORIES = 256;

type Node = {
  readonly pid: number;
  readonly startTicks: number;
  readonly bornNs: bigint;
  readonly ppid: number;
  parent: Node | undefined;
  exe: string;
  /** Given out with every event: replaced, never changed. */
  argv: string[];
  argvTruncated: boolean;
  cwd: string | undefined;
  directories: Map<number, string> | undefined;
  container: Container | undefined;
  kernelThread: boolean;
};

export type TreeOptions = {
  readonly proc: Proc;
  readonly user: (uid: number) => string | undefined;
  readonly container: (cgroup: bigint, pid: number) => Container | undefined;
  /** Told where a process is when it is first seen or has moved; undefined when that is not known. `near` is 0 where the kernel side has no doubt. */
  readonly onMove: (pid: number, cwd: string | undefined, near: number) => void;
  /** The kernel names the interpreter of a script itself, so a program is no script unless it said so. */
  readonly namesInterpreter: boolean;
};

export class ProcessTree implements Processes {
  readonly #live = new Map<number, Node>();
  readonly #options: TreeOptions;

  constructor(options: TreeOptions) {
    this.#options = options;
  }

  /** Takes in everything that runs now. Call it after the kernel side has started, so that nothing falls between. */
  seed(): void {
    for (const pid of this.#options.proc.pids()) this.#adopt(pid);
  }

  /** Drops processes that are gone: their exit did not fit into the ring. */
  sweep(): void {
    const running = new Set(this.#options.proc.pids());
    for (const pid of this.#live.keys()) if (!running.has(pid)) this.#live.delete(pid);
  }

  /** Processes known to run. */
  get size(): number {
    return this.#live.size;
  }

  forked(head: Head, child: number, sibling: boolean): void {
    const caller = this.#node(head);
    const parent = sibling ? (caller.parent ?? caller) : caller;
    const node: Node = {
      pid: child,
      startTicks: this.#ticks(child, head.bootNs),
      bornNs: head.bootNs,
      ppid: parent.pid,
      parent,
      exe: caller.exe,
      argv: caller.argv,
      argvTruncated: caller.argvTruncated,
      cwd: caller.cwd,
      directories: caller.directories && new Map(caller.directories),
      container: caller.container,
      kernelThread: caller.kernelThread,
    };
    this.#live.set(child, node);
    forgetAfter(node, MAX_ANCESTORS);
  }

  executed(head: Head, executed: Executed): Process {
    const node = this.#node(head);
    const path = executed.onlyName ? executed.path : this.#ranPath(head, node, executed.path, executed.interpreter !== undefined);
    const script = executed.onlyName ? undefined : this.#script(head, path, executed.interpreter);
    const given = executed.argv ?? this.#options.proc.argv(node.pid);
    node.exe = (script?.interpreter ?? path).slice(0, MAX_TEXT);
    // A script's interpreter gets its own name, its argument and the script's path in place of argv[0].
    const argv =
      script && executed.argv ? [script.interpreter, ...optional(script.argument), path, ...executed.argv.slice(1)] : (given ?? []);
    node.argv = argv.slice(0, MAX_ARGS).map((text) => text.slice(0, MAX_TEXT));
    node.argvTruncated = executed.truncated || argv.length > MAX_ARGS || given === undefined;
    node.kernelThread = false;
    node.directories = undefined;
    node.container = this.#options.container(head.cgroup, node.pid) ?? node.container;
    const ancestors = ancestorsOf(node);
    const process = this.#describe(node, head);
    return ancestors.length > 0 ? { ...process, ancestors } : process;
  }

  exited(head: Head, onlyKnown: boolean): { process: Process; durationMs: number } | undefined {
    if (onlyKnown && !this.#live.has(head.pid)) return undefined;
    const node = this.#node(head);
    this.#live.delete(head.pid);
    if (node.kernelThread) return undefined;
    const durationMs = Math.max(0, Number((head.bootNs - node.bornNs) / 1_000_000n));
    return { process: this.#describe(node, head), durationMs };
  }

  hasThreads(pid: number): boolean {
    return this.#options.proc.threads(pid) > 1;
  }

  describe(head: Head): Process {
    return this.#describe(this.#node(head), head);
  }

  resolve(head: Head, dirFd: number, path: string): string | undefined {
    return resolvePath(path, dirFd, {
      directory: (fd) => this.#directory(head, fd),
      cwd: (pid) => this.#live.get(pid)?.cwd ?? this.#options.proc.link(pid, "cwd"),
    });
  }

  opened(head: Head, fd: number): string | undefined {
    return plain(this.#options.proc.link(head.pid, `fd/${fd}`));
  }

  visible(head: Head, path: string): string {
    return this.#live.get(head.pid)?.container ? `/proc/${head.pid}/root${path}` : path;
  }

  movedTo(head: Head, path: string | undefined, near: number): void {
    const node = this.#node(head);
    node.cwd = path ?? this.#options.proc.link(head.pid, "cwd");
    this.#options.onMove(head.pid, node.cwd, near);
  }

  openedDirectory(head: Head, fd: number, path: string): void {
    const node = this.#node(head);
    node.directories ??= new Map();
    node.directories.delete(fd);
    node.directories.set(fd, path);
    if (node.directories.size > MAX_DIRECTORIES) node.directories.delete(node.directories.keys().next().value!);
  }

  openedFile(head: Head, fd: number, name: string): void {
    this.openedDirectory(head, fd, name);
  }

  duplicated(head: Head, from: number, to: number): void {
    const path = this.#node(head).directories?.get(from);
    if (path !== undefined) this.openedDirectory(head, to, path);
  }

  #directory(head: Head, fd: number): string | undefined {
    const node = this.#node(head);
    if (fd !== AT_FDCWD) return node.directories?.get(fd) ?? plain(this.#options.proc.link(head.pid, `fd/${fd}`));
    node.cwd ??= plain(this.#options.proc.link(head.pid, "cwd"));
    return node.cwd;
  }

  #node(head: Head): Node {
    return this.#live.get(head.pid) ?? this.#adopt(head.pid) ?? this.#unknown(head);
  }

  /** A process nobody told us of, from /proc. */
  #adopt(pid: number): Node | undefined {
    const known = this.#live.get(pid);
    if (known) return known;
    const { proc } = this.#options;
    const stat = proc.stat(pid);
    if (!stat) return undefined;
    const exe = proc.link(pid, "exe")?.replace(/ \(deleted\)$/, "");
    const argv = proc.argv(pid);
    const node: Node = {
      pid,
      startTicks: stat.startTicks,
      bornNs: BigInt(stat.startTicks) * TICK_NS,
      ppid: stat.ppid,
      parent: undefined,
      exe: (exe ?? stat.comm).slice(0, MAX_TEXT),
      argv: (argv ?? []).slice(0, MAX_ARGS).map((text) => text.slice(0, MAX_TEXT)),
      argvTruncated: (argv?.length ?? 0) > MAX_ARGS,
      cwd: plain(proc.link(pid, "cwd")),
      directories: undefined,
      container: undefined,
      kernelThread: stat.kernelThread,
    };
    this.#live.set(pid, node);
    if (stat.ppid > 0 && stat.ppid !== pid) node.parent = this.#adopt(stat.ppid);
    this.#options.onMove(pid, node.cwd, 0);
    return node;
  }

  /** A process that is gone, whose fork did not fit into the ring: what the record itself tells. */
  #unknown(head: Head): Node {
    const node: Node = {
      pid: head.pid,
      startTicks: Number(head.bootNs / TICK_NS),
      bornNs: head.bootNs,
      ppid: 0,
      parent: undefined,
      exe: head.comm,
      argv: [],
      argvTruncated: true,
      cwd: undefined,
      directories: undefined,
      container: undefined,
      kernelThread: false,
    };
    this.#live.set(head.pid, node);
    return node;
  }

  // The kernel stamps the start some microseconds before it tells us: only just after a tick can the two differ, and then /proc decides.
  #ticks(pid: number, forkNs: bigint): number {
    const derived = Number(forkNs / TICK_NS);
    return forkNs % TICK_NS < 300_000n ? (this.#options.proc.stat(pid)?.startTicks ?? derived) : derived;
  }

  /** `script`: the kernel went on to an interpreter, so what runs by then is not what was named. */
  #ranPath(head: Head, node: Node, path: string, script: boolean): string {
    // fexecve(3): the kernel knows a number only; the link tells the file, also of one without a name (memfd), and what was opened does when the process is gone.
    const byFd = /^\/(?:dev|proc\/(?:self|thread-self|\d+))\/fd\/(\d+)(\/.*)?$/.exec(path);
    if (!byFd) return this.resolve(head, AT_FDCWD, path) ?? path;
    if (byFd[2]) return this.resolve(head, Number(byFd[1]), `.${byFd[2]}`) ?? path;
    return this.#options.proc.link(node.pid, script ? `fd/${byFd[1]}` : "exe") ?? node.directories?.get(Number(byFd[1])) ?? path;
  }

  #script(head: Head, path: string, interpreter: string | undefined): Shebang | undefined {
    if (this.#options.namesInterpreter && interpreter === undefined) return undefined;
    const written = readShebang(this.visible(head, path));
    if (interpreter === undefined) return written;
    const resolved = this.resolve(head, AT_FDCWD, interpreter) ?? interpreter;
    return { interpreter: resolved, argument: written?.interpreter === interpreter ? written.argument : undefined };
  }

  #describe(node: Node, head: Head): Process {
    const user = this.#options.user(head.uid);
    const { parent } = node;
    return {
      pid: node.pid,
      startTicks: node.startTicks,
      ppid: node.ppid,
      uid: head.uid,
      ...(user === undefined ? {} : { user }),
      exe: node.exe,
      argv: node.argv,
      ...(node.argvTruncated ? { argvTruncated: true } : {}),
      ...(node.cwd === undefined ? {} : { cwd: node.cwd }),
      ...(node.container ? { container: node.container } : {}),
      ...(parent ? { parent: ancestor(parent) } : {}),
    };
  }
}

function ancestorsOf(node: Node): Ancestor[] {
  const list: Ancestor[] = [];
  for (let at = node.parent?.parent; at && list.length < MAX_ANCESTORS; at = at.parent) list.push(ancestor(at));
  return list;
}

const ancestor = ({ pid, startTicks, exe, argv }: Node): Ancestor => ({ pid, startTicks, exe, argv });

/** A process that starts its successor and ends, for ever, must not keep all its forebears in memory. */
function forgetAfter(node: Node, generations: number): void {
  let at: Node | undefined = node;
  for (let depth = 0; at && depth <= generations; depth++) at = at.parent;
  if (at) at.parent = undefined;
}

/** A link of /proc that names a directory, not a pipe or something deleted. */
const plain = (link: string | undefined) => (link?.startsWith("/") ? link.replace(/ \(deleted\)$/, "") : undefined);
const optional = (text: string | undefined) => (text === undefined ? [] : [text]);
