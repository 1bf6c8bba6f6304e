// What an indicator may say, in the one form in which it is stored, sent and compared; and what no list may say, because it would match everywhere.

export const indicatorKinds = ["sha256", "address", "domain", "url", "path", "name"] as const;
export type IndicatorKind = (typeof indicatorKinds)[number];

export type Indicator = { readonly kind: IndicatorKind; readonly value: string };
/** Why it cannot be used: what is wrong with it, for a person. */
export type Unusable = { readonly why: string };

/** Longest value, in UTF-16 units. */
export const MAX_VALUE = 2048;

/** An address or a range of them. `bytes`: 4 or 16, host bits zero; `bits`: of the prefix. */
export type AddressRange = { readonly bytes: Uint8Array; readonly bits: number };

const no = (why: string): Unusable => ({ why });

/** The canonical form. Never throws, whatever the text. */
export function canonical(kind: IndicatorKind, text: string): Indicator | Unusable {
  const value = text.trim();
  if (value === "") return no("it is empty");
  if (value.length > MAX_VALUE) return no(`it is longer than ${MAX_VALUE} characters`);
  switch (kind) {
    case "sha256":
      return hashOf(value);
    case "address":
      return addressOf(value);
    case "domain":
      return domainOf(value);
    case "url":
      return urlOf(value);
    case "path":
      return pathOf(value);
    case "name":
      return nameOf(value);
  }
}

/** What a value without a kind is, by its looks. */
export function recognise(text: string): Indicator | Unusable {
  const value = text.trim();
  if (/^[a-z][a-z0-9+.-]{1,15}:\/\//i.test(value)) return canonical("url", value);
  if (/^[0-9a-f]{32,128}$/i.test(value)) return canonical("sha256", value);
  if (/^[\d.]+(\/\d+)?$/.test(value) || /^[0-9a-f]*:[0-9a-f:.]*(\/\d+)?$/i.test(value)) return canonical("address", value);
  if (value.startsWith("/")) return canonical("path", value);
  if (/^[a-z]:\\|\\/i.test(value)) return no("a Windows path: nothing on Linux has it");
  const port = /^([\d.]+|\[[0-9a-f:.]+\]):\d{1,5}$/i.exec(value);
  if (port) return canonical("address", port[1]!.replaceAll(/[[\]]/g, ""));
  if (/[/?#]/.test(value) && value.includes(".")) return canonical("url", `http://${value}`);
  return canonical("domain", value.replace(/:\d{1,5}$/, ""));
}

const EVERYBODYS = new Map([
  ["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "it is the hash of an empty file"],
  ["01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b", "it is the hash of a file with one empty line"],
]);

function hashOf(value: string): Indicator | Unusable {
  const hash = value.toLowerCase();
  if (/^[0-9a-f]{32}$/.test(hash)) return no("an MD5 cannot be matched: it needs the SHA-256, which is what devices report");
  if (/^[0-9a-f]{40}$/.test(hash)) return no("a SHA-1 cannot be matched: it needs the SHA-256, which is what devices report");
  if (!/^[0-9a-f]{64}$/.test(hash)) return no("it is no SHA-256 (64 hex digits)");
  if (/^(.)\1+$/.test(hash)) return no("it is no hash of a file: all its digits are the same");
  const everybodys = EVERYBODYS.get(hash);
  return everybodys ? no(`${everybodys}, which every device has`) : { kind: "sha256", value: hash };
}

/** Ranges that belong to no single machine of the internet (RFC 6890); those for documentation do not match anybody either way, and may be used. */
const SHARED = [
  ["0.0.0.0/8", '"this network"'],
  ["10.0.0.0/8", "private"],
  ["100.64.0.0/10", "shared by carriers"],
  ["127.0.0.0/8", "loopback"],
  ["169.254.0.0/16", "link-local"],
  ["172.16.0.0/12", "private"],
  ["192.168.0.0/16", "private"],
  ["224.0.0.0/4", "multicast"],
  ["240.0.0.0/4", "reserved"],
  ["::/127", "unspecified or loopback"],
  ["fc00::/7", "private"],
  ["fe80::/10", "link-local"],
  ["ff00::/8", "multicast"],
].map(([range, what]) => ({ range: parseRange(range!)!, text: range!, what: what! }));

/** Wider ranges than these are no indicator but a mistake. */
const WIDEST = { 4: 8, 16: 20 } as const;

function addressOf(value: string): Indicator | Unusable {
  const range = parseRange(value);
  if (!range) return no("it is no IPv4 or IPv6 address and no range such as 203.0.113.0/24");
  const widest = WIDEST[range.bytes.length as 4 | 16];
  if (range.bits < widest) return no(`it is too wide: a range is at most a /${widest}`);
  const shared = SHARED.find((one) => overlap(one.range, range));
  if (shared) return no(`it is ${shared.what} (${shared.text}), which says nothing about who is there`);
  return { kind: "address", value: rangeText(range) };
}

const overlap = (a: AddressRange, b: AddressRange): boolean => {
  if (a.bytes.length !== b.bytes.length) return false;
  const bits = Math.min(a.bits, b.bits);
  const [left, right] = [masked(a.bytes, bits), masked(b.bytes, bits)];
  return left.every((byte, at) => byte === right[at]);
};

/** A copy with all but the first `bits` zero. */
function masked(bytes: Uint8Array, bits: number): Uint8Array {
  const copy = Uint8Array.from(bytes);
  for (let at = 0; at < copy.length; at++) {
    const left = bits - at * 8;
    if (left <= 0) copy[at] = 0;
    else if (left < 8) copy[at] = copy[at]! & (0xff << (8 - left));
  }
  return copy;
}

/** An address or range in any spelling (RFC 4291, section 2.2); an IPv4 one inside IPv6 is the IPv4 one. Undefined when it is none. */
export function parseRange(text: string): AddressRange | undefined {
  const slash = text.indexOf("/");
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  if (!address) return undefined;
  const all = address.length * 8;
  if (slash < 0) return { bytes: address, bits: all };
  const digits = text.slice(slash + 1);
  if (!/^\d{1,3}$/.test(digits)) return undefined;
  // ::ffff:203.0.113.0/120 is 203.0.113.0/24.
  const bits = Number(digits) - (text.includes(":") && address.length === 4 ? 96 : 0);
  return bits >= 0 && bits <= all ? { bytes: masked(address, bits), bits } : undefined;
}

/** 4 or 16 bytes; undefined when it is no address. */
export function parseAddress(text: string): Uint8Array | undefined {
  if (!text.includes(":")) return parseV4(text);
  if (text.length > 45) return undefined;
  const zone = text.indexOf("%");
  const bytes = parseV6(zone < 0 ? text : text.slice(0, zone));
  if (!bytes) return undefined;
  const isMapped = bytes[10] === 0xff && bytes[11] === 0xff && bytes.subarray(0, 10).every((byte) => byte === 0);
  return isMapped ? bytes.slice(12) : bytes;
}

function parseV4(text: string): Uint8Array | undefined {
  if (text.length < 7 || text.length > 15) return undefined;
  const bytes = new Uint8Array(4);
  let [at, value, digits] = [0, 0, 0];
  for (let index = 0; index <= text.length; index++) {
    const code = index < text.length ? text.charCodeAt(index) : 46;
    if (code === 46) {
      if (digits === 0 || at > 3) return undefined;
      bytes[at++] = value;
      value = digits = 0;
    } else {
      // A leading zero would be octal to some and decimal to others.
      if (code < 48 || code > 57 || (digits > 0 && value === 0)) return undefined;
      value = value * 10 + code - 48;
      digits++;
      if (value > 255) return undefined;
    }
  }
  return at === 4 ? bytes : undefined;
}

function parseV6(text: string): Uint8Array | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const groups = halves.map((half) => groupsOf(half));
  const [head, tail] = groups;
  if (!head || (halves.length === 2 && !tail)) return undefined;
  const given = head.length + (tail?.length ?? 0);
  if (halves.length === 1 ? given !== 8 : given > 7) return undefined;
  const all = [...head, ...new Array<number>(8 - given).fill(0), ...(tail ?? [])];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 0xff]));
}

function groupsOf(half: string): number[] | undefined {
  if (half === "") return [];
  const groups: number[] = [];
  const parts = half.split(":");
  for (const [at, part] of parts.entries()) {
    if (part.includes(".")) {
      const v4 = at === parts.length - 1 ? parseV4(part) : undefined;
      if (!v4) return undefined;
      groups.push((v4[0]! << 8) | v4[1]!, (v4[2]! << 8) | v4[3]!);
    } else if (/^[0-9a-f]{1,4}$/i.test(part)) groups.push(Number.parseInt(part, 16));
    else return undefined;
  }
  return groups;
}

/** As text: the address alone where it is one, else with its prefix length (RFC 5952). */
export function rangeText({ bytes, bits }: AddressRange): string {
  const prefix = bits === bytes.length * 8 ? "" : `/${bits}`;
  if (bytes.length === 4) return bytes.join(".") + prefix;
  const groups = Array.from({ length: 8 }, (_, at) => ((bytes[at * 2]! << 8) | bytes[at * 2 + 1]!).toString(16));
  // The longest run of zeros, the first of equals, becomes "::".
  const runs = [...groups.join(":").matchAll(/(?:^|:)0(?::0)+(?=:|$)/g)].sort((a, b) => b[0].length - a[0].length);
  const text = groups.join(":");
  const run = runs[0];
  if (!run) return text + prefix;
  return `${text.slice(0, run.index)}::${text.slice(run.index + run[0].length).replace(/^:/, "")}${prefix}`;
}

const LABELS = /^(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])$/;
/** Names under which a country hands out names: what is listed must be below them. */
const REGISTRIES = new Set("ac co com ed edu gen go gob gouv gov govt gub ind k12 mil ne net nhs nic nom or org plc res sch".split(" "));
const LOCAL = /(^|\.)(localhost|local|localdomain|internal|lan|home|corp|arpa)$/;

function domainOf(value: string): Indicator | Unusable {
  const bare = value.replace(/^\*?\./, "").replace(/\.$/, "");
  const name = asciiName(bare);
  if (name === undefined || name.length > 253) return no("it is no domain name");
  if (parseAddress(name.replaceAll(/[[\]]/g, ""))) return canonical("address", name.replaceAll(/[[\]]/g, ""));
  if (!name.includes(".")) return no(`it is a top-level domain or a name of one word ("${name}"), which would match everything below it`);
  if (!LABELS.test(name)) return no("it is no domain name");
  if (LOCAL.test(name)) return no("it is a name of a local network");
  const [first, second, third] = name.split(".");
  if (third === undefined && second!.length === 2 && REGISTRIES.has(first!))
    return no(`everybody in the country .${second} may have a name under it, and it would match them all`);
  return { kind: "domain", value: name };
}

/** Lower case, and in the letters of IDNA (RFC 5891): "bücher.example" is "xn--bcher-kva.example". */
function asciiName(name: string): string | undefined {
  if (/^[a-z0-9._-]+$/.test(name)) return name;
  if (/[\s/?#@:%\\<>|^]/.test(name)) return undefined;
  try {
    return new URL(`http://${name}`).hostname;
  } catch {
    return undefined;
  }
}

const DEFAULT_PORTS: Readonly<Record<string, string>> = { "http:": "80", "https:": "443", "ftp:": "21" };

function urlOf(value: string): Indicator | Unusable {
  // Without a scheme it is what this function has made: its port is not the scheme's.
  const parsed = parseUrl(value.includes("://") ? value : `any://${value}`);
  if (!parsed) return no("it is no URL");
  const host = canonical(
    /^[[\d]/.test(parsed.host) && parseAddress(parsed.host.replaceAll(/[[\]]/g, "")) ? "address" : "domain",
    parsed.host.replaceAll(/[[\]]/g, ""),
  );
  if ("why" in host) return no(`its host cannot be used: ${host.why}`);
  return parsed.rest === "" ? host : { kind: "url", value: `${parsed.host}${parsed.port}${parsed.rest}` };
}

/** Host as URLs write it, port unless it is the scheme's, and path with query, "" for the root; without scheme, user and fragment. */
export function parseUrl(text: string): { host: string; port: string; rest: string } | undefined {
  const [, scheme, after] = /^([a-z][a-z0-9+.-]{1,15}:)\/\/(.*)$/is.exec(text) ?? [];
  if (scheme === undefined || after === undefined) return undefined;
  let url: URL;
  try {
    // As if it were http: of other schemes URL keeps the host's letters as they are.
    url = new URL(`http://${after}`);
  } catch {
    return undefined;
  }
  const typed = /^[^/?#]*:(\d{1,5})(?=[/?#]|$)/.exec(after)?.[1] ?? "";
  const port = typed === "" || typed === DEFAULT_PORTS[scheme.toLowerCase()] ? "" : `:${Number(typed)}`;
  const rest = `${url.pathname}${url.search}`;
  return url.hostname === "" ? undefined : { host: url.hostname.replace(/\.$/, ""), port, rest: rest === "/" ? "" : rest };
}

/** Programs that every Linux has: their names say nothing. */
const COMMON = new Set(
  `apt apt-get ash awk base64 bash busybox cat chmod chown cp cron crond crontab curl cut dash date dd df docker dpkg echo env find git go grep
  gunzip gzip head id ifconfig init ip journalctl kill ls make mkdir mount mv nc netstat node openssl perl ping pip ps python python3 rm rpm
  rsync ruby sed sh sleep sort ssh sshd su sudo systemctl systemd tail tar tee top touch uname unzip vi vim wget whoami xargs yum zsh
  index.html index.php index.js main.py main.go main.js setup.py setup.sh install.sh update.sh run.sh start.sh script.sh test.sh config.json
  package.json readme.md makefile passwd shadow hosts`.split(/\s+/),
);
const PROGRAM_FOLDERS = /^\/(usr\/(local\/)?)?s?bin\/[^/]+$/;

function pathOf(value: string): Indicator | Unusable {
  if (/\p{Control}/u.test(value)) return no("it holds control characters");
  if (!value.startsWith("/")) return no("it is no absolute path (one that begins with /)");
  if (/[*?]/.test(value)) return no("a path is matched as it is: for patterns write a Sigma rule");
  const path = value.replaceAll(/\/{2,}/g, "/").replace(/\/$/, "");
  if (path.split("/").some((part) => part === "." || part === "..")) return no("it holds . or .. : name the path as the kernel does");
  if (path.split("/").length < 3) return no("it is the root folder or one just below it");
  if (PROGRAM_FOLDERS.test(path) && COMMON.has(baseOf(path))) return no("it is a program that every Linux has");
  return { kind: "path", value: path };
}

function nameOf(value: string): Indicator | Unusable {
  if (value.includes("\\")) return no("a Windows path: nothing on Linux has it");
  if (value.includes("/")) return canonical("path", value);
  if (/\p{Control}/u.test(value)) return no("it holds control characters");
  if (/[*?]/.test(value)) return no("a file name is matched as it is: for patterns write a Sigma rule");
  if (value.length < 4 || value.length > 255) return no("a file name has 4 to 255 characters, or it would match by chance");
  if (COMMON.has(value.toLowerCase())) return no("many files are called so on every Linux");
  return { kind: "name", value };
}

const baseOf = (path: string) => path.slice(path.lastIndexOf("/") + 1);
