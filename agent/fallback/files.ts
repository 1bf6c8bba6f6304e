// file.* without BPF: fanotify on the file systems that hold watched paths. It tells what was done to which name by whom, when it is done.
import { readdirSync, readlinkSync, statSync } from "node:fs";
import { dirname } from "node:path";
import type { EventDraft } from "@picket/protocol/event";
import { errorText } from "../bpf/libc.ts";
import type { Head, Processes } from "../processes.ts";
import { Unsupported } from "../unsupported.ts";
import { type FanEvent, fan, type Place, parseFanEvents } from "./file-events.ts";
import { closeFd, filesystemId, markFilesystem, markInode, openDirectory, openFanotify, openHandle, readInto } from "./libc.ts";

export type FileWatch = { readonly read: readonly string[]; readonly write: readonly string[] };

export type FileOptions = {
  readonly watch: FileWatch;
  readonly ignorePid: number;
  readonly processes: Pick<Processes, "describe">;
  readonly head: (pid: number) => Head;
  readonly now: () => number;
  readonly emit: (draft: EventDraft) => void;
  /** More was done than the kernel could keep for us. */
  readonly onOverflow: () => void;
};

export type Files = Disposable & {
  /** What cannot be watched, in words. */
  readonly lacks: readonly string[];
  /** Takes what waits. False when nothing did. */
  drain(): boolean;
};

const CHANGES = fan.create | fan.delete | fan.closeWrite | fan.attrib | fan.onDir;
const READS = fan.open | fan.onChild | fan.onDir;
const READ_BYTES = 64 << 10;
const MAX_READS = 64;
const MAX_DIRECTORIES = 1024;
const MAX_MARKS = 1024;
const MAX_NEW = 1024;
const EPERM = 1;

/** Opens the group and marks what holds the watched paths. Throws `Unsupported` when this kernel has none for us. */
export function openFiles(options: FileOptions): Files {
  const group = openFanotify();
  if (group < 0) throw refused(group);
  const watched = new WatchedFiles(group, options);
  if (watched.filesystems > 0) return watched;
  try {
    // A group is given to everybody; a file system only to those who may watch others.
    probeFiles();
    const [lack] = watched.lacks;
    if (lack !== undefined) throw new Unsupported(`no file system can be watched: ${lack}`);
    return watched;
  } catch (error) {
    watched[Symbol.dispose]();
    throw error;
  }
}

/** Tries it, for `picket-agent check`. Throws `Unsupported`. */
export function probeFiles(): void {
  const group = openFanotify();
  if (group < 0) throw refused(group);
  const error = markFilesystem(group, CHANGES, "/");
  closeFd(group);
  if (error < 0) throw refused(error);
}

function refused(error: number): Unsupported {
  if (error === -EPERM) return new Unsupported("fanotify is not permitted", "run as root, or with CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH");
  return new Unsupported(`fanotify cannot name files here: ${errorText(error)}`, "Linux 5.9 or newer with CONFIG_FANOTIFY is needed");
}

class WatchedFiles implements Files {
  readonly lacks: string[] = [];
  readonly #group: number;
  readonly #options: FileOptions;
  /** A descriptor on each file system, by its id. */
  readonly #mounts = new Map<string, number>();
  readonly #directories = new Map<string, string>();
  readonly #marked = new Set<string>();
  /** Made, and not yet closed by who made it: that is one event, not two. */
  readonly #new = new Set<string>();
  readonly #buffer = new Uint8Array(READ_BYTES);
  #readsChanged = false;
  #closed = false;

  constructor(group: number, options: FileOptions) {
    this.#group = group;
    this.#options = options;
    for (const prefix of [...options.watch.write, ...options.watch.read]) this.#markFilesystemOf(prefix);
    this.#markReads();
  }

  get filesystems(): number {
    return this.#mounts.size;
  }

  drain(): boolean {
    if (this.#closed) return false;
    let some = false;
    for (let reads = 0; reads < MAX_READS; reads++) {
      const length = readInto(this.#group, this.#buffer);
      if (length <= 0) break;
      some = true;
      for (const event of parseFanEvents(this.#buffer.subarray(0, length))) this.#take(event);
    }
    if (this.#readsChanged) this.#markReads();
    return some;
  }

  [Symbol.dispose](): void {
    if (this.#closed) return;
    this.#closed = true;
    closeFd(this.#group);
    for (const fd of this.#mounts.values()) closeFd(fd);
  }

  #markFilesystemOf(prefix: string): void {
    const path = existing(prefix);
    const id = filesystemId(path);
    if (id === undefined || this.#mounts.has(id)) return;
    // Before Linux 5.17 a rename comes as a name that went and one that came.
    const error = markFilesystem(this.#group, CHANGES | fan.rename, path) && this.#markOld(path);
    if (error < 0) {
      const why = `${path} cannot be watched (${errorText(error)})`;
      if (!this.lacks.includes(why)) this.lacks.push(why);
      return;
    }
    const fd = openDirectory(path);
    if (fd >= 0) this.#mounts.set(id, fd);
  }

  #markOld(path: string): number {
    const error = markFilesystem(this.#group, CHANGES | fan.movedFrom | fan.movedTo, path);
    const why = "a rename is told as a file that goes and one that comes";
    if (error === 0 && !this.lacks.includes(why)) this.lacks.push(why);
    return error;
  }

  /** Reading is asked for file by file: a whole file system is read all the time. */
  #markReads(): void {
    this.#readsChanged = false;
    this.#marked.clear();
    for (const prefix of this.#options.watch.read) {
      for (const path of matching(prefix)) this.#markRead(path);
    }
  }

  #markRead(path: string): void {
    if (this.#marked.size >= MAX_MARKS) {
      const why = `only the first ${MAX_MARKS} files and folders below watch.read are watched`;
      if (!this.lacks.includes(why)) this.lacks.push(why);
      return;
    }
    if (this.#marked.has(path)) return;
    this.#marked.add(path);
    const directory = isDirectory(path);
    markInode(this.#group, directory ? READS : fan.open, path);
    if (!directory) return;
    for (const child of directoriesIn(path)) this.#markRead(child);
  }

  #take(event: FanEvent): void {
    const { mask, pid, place } = event;
    if (mask & fan.overflow) this.#options.onOverflow();
    // Directories that were moved or removed are not where they were.
    const moved = mask & fan.onDir && mask & (fan.rename | fan.movedFrom | fan.movedTo | fan.delete);
    if (moved) this.#directories.clear();
    if (!place || pid === this.#options.ignorePid) return;
    const path = this.#pathOf(place);
    const to = event.to && this.#pathOf(event.to);
    if (path !== undefined) this.#judge(mask, pid, path, to);
  }

  #judge(mask: number, pid: number, path: string, to: string | undefined): void {
    const { watch } = this.#options;
    const directory = (mask & fan.onDir) !== 0;
    const writes = within(path, watch.write);
    for (const place of [path, to]) {
      if (place !== undefined && mask & (fan.create | fan.movedTo | fan.rename) && leadsTo(place, watch.read)) this.#readsChanged = true;
    }
    const key = `${pid} ${path}`;
    const made = mask & (fan.create | fan.movedTo);
    const removed = mask & (fan.delete | fan.movedFrom);
    // Both in one event: what is still there came last.
    const removedFirst = made && removed && exists(path);
    if (removed && removedFirst && writes && !directory) this.#tell("file.delete", pid, { path });
    if (made && writes && !directory) {
      this.#tell("file.create", pid, { path });
      if (mask & fan.create) remember(this.#new, key);
    }
    const created = this.#new.has(key);
    if (mask & fan.open && !created && within(directory ? `${path}/` : path, watch.read)) this.#tell("file.open", pid, { path, flags: 0 });
    if (mask & fan.closeWrite && !this.#new.delete(key) && writes) this.#tell("file.modify", pid, { path });
    if (mask & fan.attrib && !directory) this.#changedMode(pid, path, writes);
    if (mask & fan.rename && to !== undefined && (writes || within(to, watch.write))) this.#tell("file.rename", pid, { path, to });
    if (removed && !removedFirst && writes && !directory) this.#tell("file.delete", pid, { path });
  }

  /** The kernel says that something about the file changed, not what: of interest are those that run, or run as their owner. */
  #changedMode(pid: number, path: string, watched: boolean): void {
    const mode = modeOf(path);
    if (mode === undefined || !(mode & SETS_ID || (watched && mode & EXECUTABLE))) return;
    this.#tell("file.chmod", pid, { path, mode });
  }

  #tell<T extends FileType>(type: T, pid: number, file: EventDraft<T>["body"]["file"]): void {
    const process = this.#options.processes.describe(this.#options.head(pid));
    this.#options.emit({ type, timeMs: this.#options.now(), body: { process, file } } as EventDraft);
  }

  #pathOf({ filesystem, handle, name }: Place): string | undefined {
    const key = `${filesystem}${Buffer.from(handle).toString("latin1")}`;
    let directory = this.#directories.get(key);
    if (directory === undefined) {
      directory = this.#directoryOf(filesystem, handle);
      if (directory === undefined) return undefined;
      if (this.#directories.size >= MAX_DIRECTORIES) this.#directories.delete(this.#directories.keys().next().value!);
      this.#directories.set(key, directory);
    }
    if (name === ".") return directory;
    return `${directory === "/" ? "" : directory}/${name}`.slice(0, 4096);
  }

  #directoryOf(filesystem: string, handle: Uint8Array): string | undefined {
    const mount = this.#mounts.get(filesystem);
    if (mount === undefined) return undefined;
    const fd = openHandle(mount, handle);
    if (fd < 0) return undefined;
    try {
      const path = readlinkSync(`/proc/self/fd/${fd}`);
      return path.startsWith("/") ? path.replace(/ \(deleted\)$/, "") : undefined;
    } catch {
      return undefined;
    } finally {
      closeFd(fd);
    }
  }
}

type FileType = "file.open" | "file.create" | "file.modify" | "file.rename" | "file.delete" | "file.chmod";

const SETS_ID = 0o6000;
const EXECUTABLE = 0o111;

const within = (path: string, prefixes: readonly string[]) => prefixes.some((prefix) => path.startsWith(prefix));
/** Below a watched prefix, or on the way to one. */
const leadsTo = (path: string, prefixes: readonly string[]) =>
  prefixes.some((prefix) => path.startsWith(prefix) || prefix.startsWith(`${path}/`) || prefix === path);

function remember(set: Set<string>, key: string): void {
  set.add(key);
  if (set.size > MAX_NEW) set.delete(set.keys().next().value!);
}

/** The longest beginning of a path that is there. */
function existing(prefix: string): string {
  let path = prefix.endsWith("/") ? prefix.slice(0, -1) || "/" : prefix;
  while (path !== "/" && !exists(path)) path = dirname(path);
  return path;
}

/** What begins with a prefix now: a folder itself, or names in one. */
function matching(prefix: string): string[] {
  if (prefix.endsWith("/")) return exists(prefix) ? [prefix.slice(0, -1) || "/"] : [];
  const folder = dirname(prefix);
  return list(folder)
    .map(({ name }) => `${folder === "/" ? "" : folder}/${name}`)
    .filter((path) => path.startsWith(prefix));
}

const directoriesIn = (path: string) => list(path).flatMap((entry) => (entry.isDirectory() ? [`${path}/${entry.name}`] : []));

function list(path: string) {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch {
    return [];
  }
}

const stat = (path: string) => {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    return undefined;
  }
};
const exists = (path: string) => stat(path) !== undefined;
const isDirectory = (path: string) => stat(path)?.isDirectory() ?? false;
const modeOf = (path: string) => {
  const mode = stat(path)?.mode;
  return mode === undefined ? undefined : mode & 0o7777;
};
