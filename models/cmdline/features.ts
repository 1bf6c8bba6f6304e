// What the command-line model sees of a program start. The same code makes the features in training and at a site.
import { payloads, unwrap } from "./unwrap.ts";

/** Rows of the model's table. Row 0 stands for nothing. */
export const ROWS = 1 << 17;
/** Most features of one view; a longer one keeps its first. */
export const MAX_FEATURES = 768;
/** Most views of one line. */
export const MAX_VIEWS = 16;

/** Sparse features of one text: `rows[i]` of the table counts `weights[i]`. */
export type Features = { readonly rows: Int32Array; readonly weights: Float32Array };

/** A program start as the model is given it. */
export type Sight = {
  readonly argv: readonly string[];
  /** The path the kernel ran. */
  readonly exe?: string | undefined;
  /** Path of the program that started it. */
  readonly parent?: string | undefined;
};

/** A part of a line that is scored by itself: the highest score of all views is the line's. */
export type View = {
  readonly text: string;
  readonly signs: readonly string[];
  /** Taken off its logit: a line of many commands has many chances to look bad. */
  readonly handicap: number;
};

const PART_HANDICAP = 0.5;

/** Sign of what a line decodes. */
export const DECODED = "!decoded";

const SHELL = /^(?:.*\/)?(?:ba|da|z|k|a|c|tc|fi)?sh$/;
const MAX_SEGMENT_VIEWS = 8;
const WINDOW = 4;

/** The text a program start is judged by: `sh -c TEXT` is TEXT. */
export function lineOf({ argv, exe }: Sight): string {
  const [first = "", flag = "", command] = argv;
  if (command !== undefined && (SHELL.test(first) || (exe !== undefined && SHELL.test(exe))) && /^-[a-z]*c$/.test(flag)) {
    return [command, ...argv.slice(3)].join(" ");
  }
  return argv.length === 0 ? (exe ?? "") : argv.join(" ");
}

/** The whole line, each of its commands, runs of them, and what it decodes. Bounded. */
export function viewsOf(sight: Sight): View[] {
  const line = lineOf(sight);
  const parent = signsOfParent(sight.parent);
  const views = viewsOfText(line, parent);
  for (const payload of payloads(line)) for (const view of viewsOfText(payload, [DECODED])) if (views.length < MAX_VIEWS) views.push(view);
  return views;
}

function viewsOfText(line: string, signs: readonly string[]): View[] {
  const { segments, tricks } = unwrap(line);
  const all = [...signs, ...tricks.map((trick) => `!${trick}`)];
  const views: View[] = [{ text: segments.join(" ; "), signs: all, handicap: 0 }];
  if (segments.length < 2) return views;
  const ends = [...segments.slice(0, MAX_SEGMENT_VIEWS / 2), ...segments.slice(MAX_SEGMENT_VIEWS / 2).slice(-MAX_SEGMENT_VIEWS / 2)];
  for (const text of ends) views.push({ text, signs: all, handicap: PART_HANDICAP });
  for (let at = 0; at + WINDOW <= segments.length && segments.length > WINDOW && views.length < MAX_VIEWS - 4; at += WINDOW / 2)
    views.push({ text: segments.slice(at, at + WINDOW).join(" ; "), signs: all, handicap: PART_HANDICAP });
  return views;
}

const SERVER =
  /^(?:nginx|apache2|httpd|lighttpd|caddy|php[\w.-]*|java|node|tomcat\w*|postgres|mysqld|mariadbd|redis-server|mosquitto|gunicorn|uwsgi|named|vsftpd|smbd|telnetd|dropbear|proftpd)$/;
const PACKAGES = /^(?:dpkg|apt|apt-get|rpm|snapd|pip3?|npm|unattended-upgr\w*|\w+\.(?:postinst|prerm|preinst|postrm)|ucf|deb-systemd-\w+)$/;

function signsOfParent(parent: string | undefined): string[] {
  if (parent === undefined) return [];
  const name = parent.slice(parent.lastIndexOf("/") + 1).toLowerCase();
  if (SERVER.test(name)) return ["^server"];
  if (PACKAGES.test(name)) return ["^packages"];
  return [];
}

const ENDS_IN_SHELL = /(?:^|[\s'"=!:,])(?:\/(?:usr\/)?bin\/)?(?:ba|da|z|k|a|tc|c)?sh(?: -[a-z]{1,3})?$/;
const NAMES = /(?<![^\s/=])\.?([a-z0-9]{5,40})(?:\.[a-z0-9]{1,6})?(?![^\s;|])/g;
const CONSONANTS = /[bcdfghjklmnpqrstvwxz]{4}|q[^u]|[jxz][bcdfghjkmpqrstvwxz]/;
const MAX_NAMES = 24;

/** Signs that no single word shows: a program given a shell to run, names that nobody would choose. */
function signsOf(text: string): string[] {
  const signs: string[] = [];
  if (text.includes(" ") && ENDS_IN_SHELL.test(text)) signs.push("!ends-in-shell");
  let names = 0;
  const space = text.indexOf(" ");
  for (const { 1: name = "", index } of text.matchAll(NAMES)) {
    if (++names > MAX_NAMES) break;
    if (!isOdd(name)) continue;
    const sign = space < 0 || index < space ? "!odd-program" : "!odd-name";
    if (!signs.includes(sign)) signs.push(sign);
  }
  return signs;
}

/** Letters and digits as chance puts them. Words that only lack vowels, such as those of option names, are short. */
function isOdd(name: string): boolean {
  let changes = 0;
  for (let at = 1; at < name.length; at++) if (name.charCodeAt(at) < 58 !== name.charCodeAt(at - 1) < 58) changes++;
  if (changes >= 3) return true;
  return CONSONANTS.test(name) && changes === 0 && !/^[0-9]/.test(name);
}

const TOKEN = /[a-z0-9_.\-/+:@%~=,*\\]+|\|\||&&|>>|<<<?|[^\sa-z0-9]/g;
const URL_ = /(?:https?|ftp|tftp|tcp|telnet|dict|gopher):\/\/[^\s;|)>"]+/g;
const IP = /(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])/g;
const HEX_IP = /\b0x[0-9a-f]{8}\b/g;
// Bounded: a line of dots must not be read again from each of them.
const HOST =
  /\b(?:[a-z0-9-]{1,63}\.){1,16}(?:com|net|org|io|example|test|dev|xyz|top|ru|cn|su|onion|info|me|tk|pw|store|site|local|internal|lan|edu|gov|co)\b/g;
const MASKED = /<masked:[0-9a-f]{1,64}>/g;
const LONG_NUMBER = /\d{4,}/g;
const ENCODED = /[a-z0-9+/]{40,}={0,2}/g;
const TEMPORARY = /^(?:\/var)?\/tmp\/|^\/dev\/shm\/|^\/run\/|^\/var\/run\/|^\/mnt\//;

/** Addresses, names and numbers stand for their kind: what matters is that there is one. */
export function generalise(text: string): string {
  // What a device covered (docs/privacy.md) is a word like any other.
  let out = text.includes("<masked:") ? text.replace(MASKED, "word0") : text;
  if (out.includes("://")) out = out.replace(URL_, urlKind);
  if (/\d\.\d/.test(out)) out = out.replace(IP, (ip) => (ip.startsWith("127.") ? "lo0" : ip === "0.0.0.0" ? "any0" : "ip0"));
  out = out.replace(HEX_IP, "ip0").replace(HOST, "host0");
  if (out.length > 40) out = out.replace(ENCODED, (run) => (/[0-9+]/.test(run) && !run.startsWith("/") ? "blob0" : run));
  return out.replace(LONG_NUMBER, "0");
}

function urlKind(url: string): string {
  const scheme = url.slice(0, url.indexOf(":"));
  const rest = url.slice(scheme.length + 3);
  const slash = rest.indexOf("/");
  const host = slash < 0 ? rest : rest.slice(0, slash);
  const path = slash < 0 ? "" : rest.slice(slash);
  const name = path.slice(path.lastIndexOf("/") + 1);
  const dot = name.lastIndexOf(".");
  const kind = /^[\d.]+(?::\d+)?$/.test(host) ? "ip0" : host.startsWith("localhost") ? "lo0" : host.includes("$") ? "var0" : "host0";
  const port = /:\d+$/.test(host) ? ":0" : "";
  return `${scheme}://${kind}${port}/${dot > 0 ? name.slice(dot, dot + 8) : name === "" ? "" : "x"}`;
}

/** Which rows the bag at hand holds: a stamp for each row is cheaper than a set for each bag. */
const stamps = new Uint32Array(ROWS);
let stamp = 0;

class Bag {
  readonly rows = new Int32Array(MAX_FEATURES);
  size = 0;
  constructor() {
    stamp = (stamp + 1) >>> 0;
    if (stamp !== 0) return;
    stamps.fill(0);
    stamp = 1;
  }
  add(hash: number): void {
    const row = 1 + ((hash >>> 0) % (ROWS - 1));
    if (this.size >= MAX_FEATURES || stamps[row] === stamp) return;
    stamps[row] = stamp;
    this.rows[this.size++] = row;
  }
}

// FNV-1a (isthe.com/chongo/tech/comp/fnv), over UTF-16 units, with a last mix: neighbours must not share rows.
const SEED = 0x811c9dc5;
const PRIME = 0x01000193;
function hashOf(text: string, seed: number): number {
  let hash = seed;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), PRIME);
  return mix(hash);
}
function mix(hash: number): number {
  let h = hash ^ (hash >>> 15);
  h = Math.imul(h, 0x2c1b3c6d);
  return h ^ (h >>> 13);
}
const seedOf = (kind: number) => Math.imul(SEED ^ kind, PRIME);
const kinds = {
  word: seedOf(1),
  shape: seedOf(2),
  pair: seedOf(3),
  triple: seedOf(4),
  sign: seedOf(5),
  command: seedOf(6),
  chars: [3, 4, 5].map((n) => seedOf(16 + n)),
};
const MAX_CHARS = 256;
const MAX_WORDS = 72;

/** The features of one view: words, their kinds in order, and short runs of characters. The two halves weigh the same. */
export function featuresOf({ text, signs }: Pick<View, "text" | "signs">): Features {
  const general = generalise(text);
  const bag = new Bag();
  addWords(bag, general);
  for (const sign of signs) bag.add(hashOf(sign, kinds.sign));
  for (const sign of signsOf(text)) bag.add(hashOf(sign, kinds.sign));
  const words = bag.size;
  addRuns(bag, general);
  const rows = bag.rows.slice(0, bag.size);
  const weights = new Float32Array(bag.size);
  weights.fill(1 / Math.sqrt(Math.max(8, words)), 0, words);
  weights.fill(1 / Math.sqrt(Math.max(24, bag.size - words)), words);
  return { rows, weights };
}

function addWords(bag: Bag, text: string): void {
  const tokens = text.match(TOKEN) ?? [];
  let before = 0;
  let beforeThat = 0;
  let starts = true;
  for (let at = 0; at < tokens.length && at < MAX_WORDS; at++) {
    const token = tokens[at]!;
    const shape = hashOf(shapeOf(token, starts), kinds.shape);
    bag.add(hashOf(token, kinds.word));
    bag.add(shape);
    if (before !== 0) bag.add(mix(Math.imul(before, 31) ^ shape ^ kinds.pair));
    if (beforeThat !== 0) bag.add(mix(Math.imul(beforeThat, 961) ^ Math.imul(before, 31) ^ shape ^ kinds.triple));
    if (token.includes("/")) addPath(bag, token, starts);
    else if (starts) bag.add(hashOf(token, kinds.command));
    beforeThat = before;
    before = shape;
    starts = token === "|" || token === ";" || token === "(" || (starts && (token === "sudo" || token.includes("=")));
  }
}

/** A path counts by its name, its folders and its ending. */
function addPath(bag: Bag, token: string, starts: boolean): void {
  const slash = token.lastIndexOf("/");
  const name = token.slice(slash + 1);
  bag.add(hashOf(name, starts ? kinds.command : kinds.word));
  bag.add(hashOf(`${token.slice(0, slash)}/`, kinds.word));
  const dot = name.lastIndexOf(".");
  if (dot > 0) bag.add(hashOf(name.slice(dot), kinds.sign));
  if (starts && TEMPORARY.test(token)) bag.add(hashOf("!runs-temporary", kinds.sign));
  if (starts && token.startsWith("./")) bag.add(hashOf("!runs-here", kinds.sign));
  if (token.includes("/.")) bag.add(hashOf("!hidden", kinds.sign));
}

/** What a word is, where its own letters matter less than its kind. */
function shapeOf(token: string, starts: boolean): string {
  if (token.includes("/") && !token.includes("://")) {
    if (token.startsWith("./")) return starts ? "./run" : "./";
    if (TEMPORARY.test(token)) return starts ? "/tmp/run" : "/tmp/";
    if (starts) return token.slice(token.lastIndexOf("/") + 1);
    if (token.startsWith("/")) return token.split("/", 3).join("/");
    return "path/";
  }
  if (/^\d+$/.test(token)) return "0";
  return token;
}

function addRuns(bag: Bag, text: string): void {
  const padded = ` ${text} `;
  const end = Math.min(padded.length, MAX_CHARS);
  for (let at = 0; at < end; at++) {
    let three = kinds.chars[0]!;
    let four = kinds.chars[1]!;
    let five = kinds.chars[2]!;
    for (let run = 0; run < 5 && at + run < end; run++) {
      const code = padded.charCodeAt(at + run);
      if (run < 3) three = Math.imul(three ^ code, PRIME);
      if (run < 4) four = Math.imul(four ^ code, PRIME);
      five = Math.imul(five ^ code, PRIME);
    }
    if (at + 3 <= end) bag.add(mix(three));
    if (at + 4 <= end) bag.add(mix(four));
    if (at + 5 <= end) bag.add(mix(five));
  }
}
