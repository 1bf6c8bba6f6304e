// Hosts and URLs named in the arguments of a program. Cheap: one pass over the characters, and no copy of what is none.
import { parseUrl } from "@picket/protocol/ioc-value";

/** Of one command: what a person types. A script in an argument is looked at as far as this. */
const MAX_CHARS = 8192;
const MAX_NAMED = 64;

/** Endings that are names of files far more often than of hosts: such a word is only a host where a URL, a user or a device file says so. */
const FILE_ENDINGS = new Set(
  `bak bat c cc cfg cgi class conf cpp crt css csv dat db deb env exe gif go gz h html ini iso jar java jpg js json key list lock log
  lua md mov mp3 mp4 o old out pdf pem php pid pl png properties ps py pyc rb rpm rs sh so sock sql svg swp tar tgz tmp toml ts txt wasm xml xz
  yaml yml zip zst`.split(/\s+/),
);

/** Told of each host, and of each URL that names more than its host, in the form of `Indicator`. */
export type Named = { host(name: string): void; url?: ((canonical: string) => void) | undefined };

// What a host name or an address is made of: letters, digits, "-", ".", "_".
const isWord = new Uint8Array(128);
for (const char of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") isWord[char.charCodeAt(0)] = 1;

/** All hosts and URLs of some arguments, in order, each time they are named. */
export function namedIn(argv: readonly string[], named: Named): void {
  let left = MAX_CHARS;
  let count = 0;
  for (const argument of argv) {
    const end = Math.min(argument.length, left);
    left -= end;
    let start = -1;
    let dots = 0;
    for (let at = 0; at <= end; at++) {
      const code = at < end ? argument.charCodeAt(at) : 32;
      if (code < 128 && isWord[code] === 1) {
        if (start < 0) start = at;
        if (code === 46) dots++;
        continue;
      }
      if (start >= 0 && dots > 0 && word(argument, start, at, end, named) && ++count >= MAX_NAMED) return;
      start = -1;
      dots = 0;
    }
    if (argument.includes("[")) bracketed(argument.slice(0, end), named);
    if (left === 0) return;
  }
}

/** A word with a dot in it. True when it was looked up. */
function word(argument: string, start: number, at: number, end: number, named: Named): boolean {
  const before = start > 0 ? argument.charCodeAt(start - 1) : 0;
  const isAfterScheme = before === 47 && argument.charCodeAt(start - 2) === 47 && argument.charCodeAt(start - 3) === 58;
  const isOfUser = before === 64;
  if (before === 47 && !isAfterScheme && !isDevice(argument, start)) return false;
  let text = argument.slice(start, at);
  while (text.endsWith(".")) text = text.slice(0, -1);
  if (!text.includes(".")) return false;
  const ending = text.slice(text.lastIndexOf(".") + 1).toLowerCase();
  const isSaid = isAfterScheme || isOfUser || before === 47;
  if (!isSaid && (text.charCodeAt(0) === 46 || FILE_ENDINGS.has(ending))) return false;
  named.host(text);
  if (!named.url) return true;
  if (isAfterScheme || (isOfUser && argument.lastIndexOf("://", start) >= 0)) url(argument, start, end, named);
  else if (at < end && (argument.charCodeAt(at) === 47 || argument.charCodeAt(at) === 58)) plainUrl(argument, start, end, named);
  return true;
}

/** /dev/tcp/HOST/PORT and /dev/udp/, which bash knows. */
const isDevice = (argument: string, start: number): boolean => {
  const folder = argument.slice(Math.max(0, start - 9), start);
  return folder === "/dev/tcp/" || folder === "/dev/udp/";
};

const URL_END = /[\s"'`<>|;(){}\\]/;

/** The URL around a host that stands at `start`. */
function url(argument: string, start: number, end: number, named: Named): void {
  const scheme = argument.lastIndexOf("://", start);
  let from = scheme;
  while (from > 0 && /[a-z0-9+.-]/i.test(argument[from - 1]!)) from--;
  tell(argument.slice(from, end), named);
}

/** `curl host/path`, without a scheme. */
const plainUrl = (argument: string, start: number, end: number, named: Named): void => tell(`http://${argument.slice(start, end)}`, named);

function tell(text: string, named: Named): void {
  const cut = text.slice(0, 2048);
  const stop = cut.search(URL_END);
  const parsed = parseUrl((stop < 0 ? cut : cut.slice(0, stop)).replace(/[.,)\]]+$/, ""));
  if (parsed && parsed.rest !== "") named.url?.(`${parsed.host}${parsed.port}${parsed.rest}`);
}

/** IPv6 addresses in brackets, as URLs and ssh write them. */
function bracketed(argument: string, named: Named): void {
  for (const [, address, after] of argument.matchAll(/\[([0-9a-f:.]{2,45})\]((?::\d{1,5})?\/\S+)?/gi)) {
    if (!address!.includes(":")) continue;
    named.host(address!);
    if (after !== undefined && named.url) tell(`http://[${address}]${after}`, named);
  }
}
