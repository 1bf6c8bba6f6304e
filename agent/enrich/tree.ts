// The processes of this device: who started whom, running what, where. Fed by kernel records in order, and by /proc at the start.
import type { Ancestor, Process } from "@picket/protocol/event";
import { MAX_ARGS, MAX_TEXT } from "@picket/protocol/limits";
import { AT_FDCWD, type Executed, type Head, type Processes } from "../processes.ts";
import type { Container } from "./containers.ts";
import { resolvePath } from "./paths.ts";
import type { Proc } from "./proc.ts";
import { type Chain, followScripts, readShebang } from "./script.ts";

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

type MaybeChain = Pick<Chain, "program"> & { readonly argv: Chain["argv"] | undefined };

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
    const { path, chain } = executed.onlyName ? { path: executed.path, chain: undefined } : this.#ran(head, node, executed);
    const given = this.#given(head, path, chain, executed);
    node.exe = (chain ? (this.resolve(head, AT_FDCWD, chain.program) ?? chain.program) : path).slice(0, MAX_TEXT);
    node.argv = given.argv.slice(0, MAX_ARGS).map((text) => text.slice(0, MAX_TEXT));
    node.argvTruncated = executed.truncated || given.argv.length > MAX_ARGS || !given.whole;
    node.kernelThread = false;
    node.directories = undefined;
    node.container = this.#options.container(head.cgroup, node.pid) ?? node.container;
    const ancestors = ancestorsOf(node);
    const process = this.#describe(node, head);
    return ancestors.length > 0 ? { ...process, ancestors } : process;
  }

  exited(head: Head, onlyKnown: boolean): { process: Process; durationMs: number } | undefined {
    const known = this.#live.get(head.pid);
    // Forgotten, or the pid is another process' by now.
    if (onlyKnown && (!known || known.bornNs > head.bootNs)) return undefined;
    const node = this.#node(head);
    this.#live.delete(head.pid);
    if (node.kernelThread) return undefined;
    const durationMs = Math.max(0, Number((head.bootNs - node.bornNs) / 1_000_000n));
    return { process: this.#describe(node, head), durationMs };
  }

  isRunning(pid: number): boolean {
    const { proc } = this.#options;
    // The first thread stays, as a zombie, until the others have ended.
    return proc.threads(pid) > 1 || proc.stat(pid)?.dead === false;
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

  /** The file that was run and, for a script, what became of it; `argv` is undefined in there when the files do not tell any more. */
  #ran(head: Head, node: Node, { path, interpreter }: Executed): { path: string; chain: MaybeChain | undefined } {
    const [, fd, below] = /^\/(?:dev|proc\/(?:self|thread-self|\d+))\/fd\/(\d+)(\/.*)?$/.exec(path) ?? [];
    if (fd !== undefined && below === undefined) return this.#ranByDescriptor(head, node, path, fd, interpreter);
    const named = (fd === undefined ? this.resolve(head, AT_FDCWD, path) : this.resolve(head, Number(fd), `.${below}`)) ?? path;
    return { path: named, chain: this.#chain(head, named, interpreter) };
  }

  #chain(head: Head, path: string, interpreter: string | undefined): MaybeChain | undefined {
    if (this.#options.namesInterpreter && interpreter === undefined) return undefined;
    const read = (at: string) => readShebang(this.visible(head, this.resolve(head, AT_FDCWD, at) ?? at));
    return followScripts(path, read, interpreter) ?? (interpreter === undefined ? undefined : { program: interpreter, argv: undefined });
  }

  /**
   * fexecve(3): the kernel knows a number only, and /proc tells the file, also of one without a name (memfd). But by now the process may have ended, run another
   * program, or opened another file under that number. So what is there has to fit what the kernel said of the moment; else the number stays.
   */
  #ranByDescriptor(
    head: Head,
    node: Node,
    path: string,
    fd: string,
    interpreter: string | undefined,
  ): { path: string; chain: MaybeChain | undefined } {
    const { proc } = this.#options;
    const now = proc.stat(node.pid);
    const lives = now?.startTicks === node.startTicks;
    if (interpreter !== undefined) {
      const file = lives ? plain(proc.link(node.pid, `fd/${fd}`)) : undefined;
      const chain = file === undefined ? undefined : this.#chain(head, file, interpreter);
      return file !== undefined && chain?.argv ? { path: file, chain } : { path, chain: { program: interpreter, argv: undefined } };
    }
    const exe = lives && now.comm === head.comm ? proc.link(node.pid, "exe") : undefined;
    return { path: exe ?? fitting(node.directories?.get(Number(fd)), head.comm) ?? path, chain: undefined };
  }

  /** A script's interpreter gets its own name, its argument and the script's path in place of argv[0]. `whole` is false when something is missing. */
  #given(head: Head, path: string, chain: MaybeChain | undefined, { argv: asked }: Executed): { argv: readonly string[]; whole: boolean } {
    const shown = asked && (!chain || chain.argv) ? undefined : this.#options.proc.argv(head.pid);
    if (!asked) return { argv: shown ?? [], whole: shown !== undefined };
    if (!chain) return { argv: asked, whole: true };
    const [, ...rest] = asked;
    if (chain.argv) return { argv: [...chain.argv, ...rest], whole: true };
    const fits = shown?.[0] === chain.program && rest.every((text, index) => shown.at(index - rest.length) === text);
    return fits ? { argv: shown, whole: true } : { argv: [chain.program, path, ...rest], whole: false };
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
/** A file without a path that was opened under the number, unless the kernel (Linux 6.14) says that it ran one of another name. */
const fitting = (name: string | undefined, comm: string) => (/^\d+$/.test(comm) || name?.startsWith(`/${comm}`) ? name : undefined);
