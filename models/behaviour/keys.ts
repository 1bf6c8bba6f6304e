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
      return parent ? [programKey(exe), pairKey(`${parent.exe}\0${exe}`)] : [programKey(exe)];
    }
    case "net.connect": {
      const { proto, dstIp, dstPort } = event.body.net;
      const network = networkKey(dstIp);
      return [network, portKey(`${proto}/${dstPort}${network.name === LOOPBACK ? " on loopback" : ""}`)];
    }
    case "net.listen":
      return [portKey(`listen ${event.body.net.proto}/${event.body.net.port >= EPHEMERAL ? "high" : event.body.net.port}`)];
    case "auth.login":
      return event.body.ok && event.body.remoteIp !== undefined ? [loginKey(event.body.remoteIp)] : [];
    case "file.rename":
      return [placeBy(event.body.process.exe, event.body.file.to)];
    case "file.create":
    case "file.modify":
    case "file.chmod":
      return [placeBy(event.body.process.exe, event.body.file.path)];
    default: {
      const exe = processOf(event)?.exe;
      return exe === undefined ? [] : [programKey(exe)];
    }
  }
}

/**
 * Makes keys of a kind by what an event says. What came last is remembered: naming and hashing cost more than all the rest of a minute. The hash keeps tables
 * small and unreadable at a glance; whoever guesses a name can still look it up.
 */
function keyMaker(kind: Kind, nameOf: (text: string) => string): (text: string) => Key {
  const known = new Map<string, Key>();
  return (text) => {
    const there = known.get(text);
    if (there) return there;
    const full = nameOf(text);
    const name = full.length > MAX_NAME ? `${full.slice(0, MAX_NAME - 1)}…` : full;
    const made = { kind, name, hash: Bun.hash.xxHash32(`${kind}\0${full}`) };
    if (known.size >= MAX_CACHED) known.clear();
    if (text.length <= MAX_CACHED_CHARS) known.set(text, made);
    return made;
  };
}

const programKey = keyMaker("program", (exe) => programName(exe));
const pairKey = keyMaker("pair", (pair) => pair.split("\0").map(programName).join(" > "));
const networkKey = keyMaker("destination", (ip) => networkOf(ip));
const loginKey = keyMaker("destination", (ip) => `from ${networkOf(ip)}`);
const portKey = keyMaker("port", (port) => port);
const placeKey = keyMaker("place", (path) => placeOf(path));
const packagerKey = keyMaker("place", () => "what packages install");

/** First port that clients are given by the system (net.ipv4.ip_local_port_range). */
const EPHEMERAL = 32_768;
const LOOPBACK = "loopback";
const RANDOM = /^(?:[0-9a-f]{8,}|[0-9a-f]{8}-[0-9a-f-]{27}|\.?tmp[._-]?[A-Za-z0-9_]{6,})$/i;

/** They write anywhere, other files each time. What their packages then run is judged like anything else. */
const PACKAGERS = new Set(["/usr/bin/dpkg", "/usr/bin/rpm", "/usr/bin/rpm-ostree", "/usr/bin/opkg", "/sbin/apk", "/usr/bin/pacman"]);
const placeBy = (exe: string, path: string): Key => (PACKAGERS.has(exe) ? packagerKey("") : placeKey(path));

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
