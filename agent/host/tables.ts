// The tables of the inventory, read from /proc and /etc. `root` is "/" but in tests.
import { createHash } from "node:crypto";
import { closeSync, lstatSync, openSync, readdirSync, readFileSync, readlinkSync, readSync, statSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type InventoryTable, settings } from "@picket/protocol/settings";
import { parseSockets } from "../socket-table.ts";
import type { Row, Table } from "./inventory.ts";
import { readUserFile } from "./user-file.ts";

const MAX_TEXT = 1024;

/** How each table is read; `Record`, so that a table that can be set from the site is one that there is. */
const readers = (root: string): Record<InventoryTable, Table["rows"]> => ({
  processes: () => processes(root),
  listening_ports: () => listeningPorts(root),
  crontabs: () => crontabs(root),
  neighbours: () => neighbours(root),
  users: () => users(root),
  groups: () => groups(root),
  authorized_keys: () => authorizedKeys(root),
  systemd_units: () => systemdUnits(root),
  kernel_modules: () => kernelModules(root),
  mounts: () => mounts(root),
  interfaces,
  packages: packages(root),
  suid_files: () => suidFiles(root),
});

/** All of them, each as often as nobody has set it otherwise (protocol/settings.ts). */
export const tablesOf = (root = "/"): Table[] =>
  Object.entries(readers(root)).map(([name, rows]) => ({
    name,
    everyS: settings[`inventory.${name as InventoryTable}`].standard,
    dear: dear.includes(name),
    rows,
  }));

/** Megabytes to read, or all files of the device to look at. */
const dear = ["packages", "suid_files"];

const cut = (text: string) => text.slice(0, MAX_TEXT);

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    // Where there is no such file there is nothing to tell of; one that must not be read is a problem.
    if (/^(ENOENT|ENOTDIR|ESRCH|EISDIR)$/.test((error as NodeJS.ErrnoException).code ?? "")) return "";
    throw error;
  }
}

function list(path: string): string[] {
  try {
    return readdirSync(path).sort();
  } catch {
    return [];
  }
}

function link(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}

const lines = (text: string) => text.split("\n").filter((line) => line.trim() !== "" && !line.trimStart().startsWith("#"));

/** Seconds a process must have run to be told of: what comes and goes is told by process.exec. */
const SETTLED_S = 60;
const TICKS_PER_S = 100; // USER_HZ is 100 on every architecture Linux has for user space.

function* processes(root: string): Iterable<Row> {
  const uptimeS = Number.parseFloat(read(join(root, "proc/uptime")));
  for (const pid of list(join(root, "proc")).filter((name) => /^\d+$/.test(name))) {
    const dir = join(root, "proc", pid);
    const exe = link(join(dir, "exe"));
    const stat = read(join(dir, "stat"));
    const start = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
    if (exe === undefined || !(uptimeS - start / TICKS_PER_S >= SETTLED_S)) continue;
    const command = read(join(dir, "cmdline")).replaceAll("\0", " ").trim();
    const uid = Number(/^Uid:\s+(\d+)/m.exec(read(join(dir, "status")))?.[1] ?? -1);
    yield {
      pid: Number(pid),
      startTicks: start,
      exe: cut(exe.replace(/ \(deleted\)$/, "")),
      deleted: exe.endsWith(" (deleted)"),
      command: cut(command),
      uid,
    };
  }
}

// include/net/tcp_states.h; a datagram socket that is not connected is "closed".
const LISTEN = 10;
const UNCONNECTED = 7;

function listeningPorts(root: string): Row[] {
  const found = new Map<string, Row>();
  for (const [proto, table, wanted] of [
    ["tcp", "tcp", LISTEN],
    ["tcp", "tcp6", LISTEN],
    ["udp", "udp", UNCONNECTED],
    ["udp", "udp6", UNCONNECTED],
  ] as const) {
    for (const { local, state, inode } of parseSockets(read(join(root, "proc/net", table))))
      if (state === wanted && !(proto === "udp" && ephemeral(local.port))) found.set(inode, { proto, ip: local.ip, port: local.port });
  }
  return owners(root, found);
}

/** A client's datagram socket looks like a server's, but for the port it was given. */
const ephemeral = (port: number) => port >= 32_768;

/** Adds the program that holds each socket, where it can be told. */
function owners(root: string, sockets: ReadonlyMap<string, Row>): Row[] {
  const held = new Map<string, string>();
  for (const pid of list(join(root, "proc")).filter((name) => /^\d+$/.test(name))) {
    for (const fd of list(join(root, "proc", pid, "fd"))) {
      const inode = /^socket:\[(\d+)\]$/.exec(link(join(root, "proc", pid, "fd", fd)) ?? "")?.[1];
      if (inode !== undefined && sockets.has(inode) && !held.has(inode)) held.set(inode, link(join(root, "proc", pid, "exe")) ?? "");
    }
  }
  return [...sockets].map(([inode, row]) => ({ ...row, exe: cut(held.get(inode) ?? "") }));
}

function* crontabs(root: string): Iterable<Row> {
  const folders = ["etc/cron.d", "var/spool/cron/crontabs"].flatMap((dir) => list(join(root, dir)).map((name) => `${dir}/${name}`));
  for (const path of ["etc/crontab", ...folders])
    for (const line of lines(read(join(root, path)))) yield { path: `/${path}`, line: cut(line.trim()) };
  for (const dir of ["hourly", "daily", "weekly", "monthly"])
    for (const name of list(join(root, `etc/cron.${dir}`)))
      if (name !== ".placeholder") yield { path: `/etc/cron.${dir}/${name}`, line: "" };
}

function* neighbours(root: string): Iterable<Row> {
  for (const line of read(join(root, "proc/net/arp")).split("\n").slice(1)) {
    const [ip = "", , flags, mac = "", , name = ""] = line.split(/\s+/);
    if (flags !== undefined && flags !== "0x0") yield { ip, mac, interface: name };
  }
}

function* interfaces(): Iterable<Row> {
  for (const [name, addresses] of Object.entries(networkInterfaces()))
    for (const { address, netmask, mac, internal } of addresses ?? []) if (!internal) yield { name, address, netmask, mac };
}

type User = { readonly name: string; readonly uid: number; readonly home: string };

function* users(root: string): Iterable<Row> {
  for (const line of lines(read(join(root, "etc/passwd")))) {
    const [name = "", , uid, gid, , home = "", shell = ""] = line.split(":");
    yield { name: cut(name), uid: Number(uid), gid: Number(gid), home: cut(home), shell: cut(shell) };
  }
}

function* groups(root: string): Iterable<Row> {
  for (const line of lines(read(join(root, "etc/group")))) {
    const [name = "", , gid, members = ""] = line.split(":");
    yield { name: cut(name), gid: Number(gid), members: cut(members) };
  }
}

const keyTypes = /(?:^|\s)((?:ssh|ecdsa|sk)-[\w@.-]+)\s+([A-Za-z0-9+/=]+)(?:\s+(.*))?$/s;
/** Of one file. What is more is said, and must not crowd out the keys of others. */
const MAX_KEY_BYTES = 256 << 10;
const MAX_KEYS = 500;

function* authorizedKeys(root: string): Iterable<Row> {
  for (const user of users(root) as Iterable<User>)
    for (const file of ["authorized_keys", "authorized_keys2"]) yield* keysIn(root, user, join(user.home, ".ssh", file));
}

function* keysIn(root: string, { name, uid }: User, path: string): Iterable<Row> {
  const file = readUserFile(join(root, path), uid, MAX_KEY_BYTES);
  if (!file) return;
  const besides = (options: string): Row => ({ user: name, path, type: "", fingerprint: "", comment: "", options });
  if ("why" in file) {
    yield besides(`(not read: ${file.why})`);
    return;
  }
  const found = lines(file.text);
  for (const line of found.slice(0, MAX_KEYS)) {
    const [, type = "", key = "", comment = ""] = keyTypes.exec(line) ?? [];
    // As ssh-keygen -l prints it; the key itself is public, but long.
    const fingerprint =
      key === "" ? "" : `SHA256:${createHash("sha256").update(Buffer.from(key, "base64")).digest("base64").replace(/=+$/, "")}`;
    const options = type === "" ? line : line.slice(0, line.indexOf(type)).trim();
    yield { user: name, path, type: cut(type), fingerprint, comment: cut(comment), options: cut(options) };
  }
  if (file.cut || found.length > MAX_KEYS) yield besides("(there is more than is read)");
}

/** Where administrators and intruders put units; those of packages change with the packages. */
const unitFolders = ["etc/systemd/system", "etc/systemd/user", "run/systemd/system", "usr/local/lib/systemd/system"];

function* systemdUnits(root: string): Iterable<Row> {
  for (const folder of unitFolders) {
    for (const name of list(join(root, folder))) {
      const path = join(root, folder, name);
      if (name.endsWith(".wants") || name.endsWith(".requires")) {
        for (const unit of list(path)) yield { path: `/${folder}/${name}/${unit}`, link: cut(link(join(path, unit)) ?? ""), exec: "" };
      } else if (/\.(service|timer|socket|path|mount|target)$/.test(name)) {
        const exec = [...read(path).matchAll(/^Exec(?:Start|StartPre|StartPost)=(.*)$/gm)].map(([, command]) => command).join("; ");
        yield { path: `/${folder}/${name}`, link: cut(link(path) ?? ""), exec: cut(exec) };
      }
    }
  }
}

function* kernelModules(root: string): Iterable<Row> {
  for (const line of lines(read(join(root, "proc/modules")))) {
    const [name = "", size, , , , , taints = ""] = line.split(" ");
    yield { name, size: Number(size), taints };
  }
}

function* mounts(root: string): Iterable<Row> {
  for (const line of lines(read(join(root, "proc/self/mounts")))) {
    const [source = "", target = "", type = "", options = ""] = line.split(" ");
    yield { source: cut(source), target: cut(target), type, options: cut(options) };
  }
}

/** dpkg's database is megabytes: read again only when it changed. */
function packages(root: string): () => Row[] | undefined {
  const path = join(root, "var/lib/dpkg/status");
  let told: number | undefined;
  return () => {
    const mtimeMs = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
    if (mtimeMs === told) return undefined;
    const rows = [...installed(linesOf(path))];
    told = mtimeMs;
    return rows;
  };
}

/** Fields of dpkg's paragraphs that are told (deb-control(5)); an empty line ends a paragraph. */
function* installed(lines: Iterable<string>): Iterable<Row> {
  let field = new Map<string, string>();
  for (const line of lines) {
    const [, name, value = ""] = /^(Package|Status|Version|Architecture): (.*)$/.exec(line) ?? [];
    if (name !== undefined) field.set(name, cut(value));
    if (line !== "") continue;
    if (field.get("Status")?.endsWith(" installed"))
      yield { name: field.get("Package") ?? "", version: field.get("Version") ?? "", architecture: field.get("Architecture") ?? "" };
    field = new Map();
  }
}

const CHUNK_BYTES = 64 << 10;

/** Lines of a file, and an empty one at its end, without holding all of it: what is read at once is never given back whole. */
function* linesOf(path: string): Iterable<string> {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  try {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    let rest = "";
    // Names and versions are ASCII (deb-version(7)): a character cut in two is in nothing that is told.
    for (let length = readSync(fd, chunk); length > 0; length = readSync(fd, chunk)) {
      const parts = (rest + chunk.toString("latin1", 0, length)).split("\n");
      rest = parts.pop()?.slice(0, CHUNK_BYTES) ?? "";
      yield* parts;
    }
    yield* [rest, ""];
  } finally {
    closeSync(fd);
  }
}

const suidRoots = ["bin", "sbin", "usr", "opt", "srv", "home", "root", "tmp", "var", "dev/shm", "etc", "boot"];
const SETS_ID = 0o6000;
/** Files looked at before there is a pause, in which garbage of the look is collected too. Milliseconds. */
const TURN_FILES = 200;
const PAUSE_MS = 10;

/** Of one owner, and places that could not be looked at: users can make any number of both. */
const MAX_OF_OWNER = 1000;
const MAX_UNSEEN = 20;

/** Set-user-id and set-group-id programs. Other file systems mounted below are left out: they may be slow, and of others. */
async function suidFiles(root: string): Promise<Row[]> {
  const rows: Row[] = [];
  const ofOwner = new Map<number, number>();
  let looked = 0;
  let unseen = 0;
  const walk = async (dir: string, device: number): Promise<void> => {
    for (const name of list(join(root, dir))) {
      if (++looked % TURN_FILES === 0) await sleep(PAUSE_MS);
      const path = `${dir}/${name}`;
      const stat = look(join(root, path));
      if (typeof stat === "string") {
        // A path that is too long, or a user's own file system, which is closed to root.
        if (++unseen <= MAX_UNSEEN) rows.push({ path: cut(`/${path}`), mode: `unknown: ${stat}`, uid: -1, gid: -1 });
        if (stat === "ENAMETOOLONG") return;
      } else if (stat?.isDirectory()) {
        if (stat.dev === device) await walk(path, device);
      } else if (stat?.isFile() && (stat.mode & SETS_ID) !== 0) {
        const count = (ofOwner.get(stat.uid) ?? 0) + 1;
        ofOwner.set(stat.uid, count);
        if (count <= MAX_OF_OWNER)
          rows.push({ path: cut(`/${path}`), mode: (stat.mode & 0o7777).toString(8), uid: stat.uid, gid: stat.gid });
      }
    }
  };
  for (const dir of suidRoots) {
    const stat = look(join(root, dir));
    if (typeof stat === "object" && stat.isDirectory()) await walk(dir, stat.dev);
  }
  for (const [uid, count] of ofOwner)
    if (count > MAX_OF_OWNER) rows.push({ path: "", mode: `${count - MAX_OF_OWNER} more of this owner`, uid, gid: -1 });
  return rows;
}

/** The file itself, not where it leads; why it cannot be looked at; undefined when it is gone. */
function look(path: string) {
  try {
    return lstatSync(path, { throwIfNoEntry: false });
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? "unknown";
  }
}
