// What a minute is remembered by: programs, who started whom, networks, ports and places written to, as short names without what differs every time.
import { processOf, type SensorEvent } from "@picket/protocol/event";

/** What rarity is counted of. */
export const kinds = ["program", "pair", "destination", "port", "place"] as const;
export type Kind = (typeof kinds)[number];

export type Key = { readonly kind: Kind; readonly name: string; readonly hash: number };

/** Longest name kept, in UTF-16 units; longer ones are cut after they were hashed. */
const MAX_NAME = 120;
const MAX_CACHED = 4096;
const MAX_CACHED_CHARS = 256;
const PLACE_DEPTH = 4;

/** The keys of one event; most have one or two. */
export function keysOf(event: SensorEvent): readonly Key[] {
  switch (event.type) {
    case "process.exec": {
      const { exe, parent } = event.body.process;
      const program = programName(exe);
      const of = key("program", program);
      return parent ? [of, key("pair", `${programName(parent.exe)} > ${program}`)] : [of];
    }
    case "net.connect": {
      const { proto, dstIp, dstPort } = event.body.net;
      const network = networkOf(dstIp);
      return [key("destination", network), key("port", `${proto}/${dstPort}${network === LOOPBACK ? " on loopback" : ""}`)];
    }
    case "net.listen":
      return [key("port", `listen ${event.body.net.proto}/${event.body.net.port >= EPHEMERAL ? "high" : event.body.net.port}`)];
    case "auth.login":
      return event.body.ok && event.body.remoteIp !== undefined ? [key("destination", `from ${networkOf(event.body.remoteIp)}`)] : [];
    case "file.rename":
      return [key("place", placeBy(event.body.process.exe, event.body.file.to))];
    case "file.create":
    case "file.modify":
    case "file.chmod":
      return [key("place", placeBy(event.body.process.exe, event.body.file.path))];
    default: {
      const exe = processOf(event)?.exe;
      return exe === undefined ? [] : [key("program", programName(exe))];
    }
  }
}

const cache = new Map<string, Key>();

/** A key and its hash. The hash keeps tables small and unreadable at a glance; whoever guesses a name can still look it up. */
function key(kind: Kind, name: string): Key {
  const full = `${kind}\0${name}`;
  const known = cache.get(full);
  if (known) return known;
  const made = { kind, name: name.length > MAX_NAME ? `${name.slice(0, MAX_NAME - 1)}…` : name, hash: Bun.hash.xxHash32(full) };
  if (cache.size >= MAX_CACHED) cache.clear();
  if (full.length <= MAX_CACHED_CHARS) cache.set(full, made);
  return made;
}

/** First port that clients are given by the system (net.ipv4.ip_local_port_range). */
const EPHEMERAL = 32_768;
const LOOPBACK = "loopback";
const RANDOM = /^(?:[0-9a-f]{8,}|[0-9a-f]{8}-[0-9a-f-]{27}|\.?tmp[._-]?[A-Za-z0-9_]{6,})$/i;

/** They write anywhere, other files each time. What their packages then run is judged like anything else. */
const PACKAGERS = new Set(["/usr/bin/dpkg", "/usr/bin/rpm", "/usr/bin/rpm-ostree", "/usr/bin/opkg", "/sbin/apk", "/usr/bin/pacman"]);
const placeBy = (exe: string, path: string): string => (PACKAGERS.has(exe) ? "what packages install" : placeOf(path));

const part = (text: string): string => (/^\d+$/.test(text) ? "#" : RANDOM.test(text) ? "*" : text);

/** Path of a program; what differs at every start (numbers, random names) is "#" or "*". */
export function programName(exe: string): string {
  if (exe.startsWith("/memfd:")) return "memfd:";
  if (exe.startsWith("/var/lib/dpkg/info/")) return `/var/lib/dpkg/info/*${exe.slice(exe.lastIndexOf("."))}`;
  return exe
    .replace(/ \(deleted\)$/, "")
    .replace(/^\/(s?bin)\//, "/usr/$1/")
    .split("/")
    .map(part)
    .join("/");
}

/** The folder of a path, at most four deep, homes as "/home/~"; with the file's name where that says more: in /etc, and dot files of a home. */
export function placeOf(path: string): string {
  const parts = path.split("/").map(part);
  if (parts[1] === "home" && parts.length > 3) parts[2] = "~";
  const file = (parts.pop() ?? "").replaceAll(/\d+/g, "#");
  const folder = parts.slice(0, PLACE_DEPTH + 1).join("/");
  const says = parts[1] === "etc" || (file.startsWith(".") && (folder === "/root" || folder === "/home/~"));
  return says ? `${folder}/${file}` : folder || "/";
}

/** /24 of an IPv4 address, /64 of an IPv6 address, "loopback". */
export function networkOf(ip: string): string {
  const v4 = /^(?:::ffff:)?(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.\d{1,3}$/i.exec(ip);
  if (v4) return v4[1] === "127" ? LOOPBACK : `${v4[1]}.${v4[2]}.${v4[3]}.0/24`;
  if (ip === "::1") return LOOPBACK;
  const [head = "", tail] = ip.toLowerCase().split("%")[0]!.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const groups = tail === undefined ? left : [...left, ...Array(Math.max(0, 8 - left.length - right.length)).fill("0"), ...right];
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":")}::/64`;
}
