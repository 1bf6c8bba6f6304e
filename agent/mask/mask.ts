// Secrets in command lines and texts stay on the device: each becomes <masked:...>, the same for the same secret, so that equal things stay comparable.
import type { Ancestor, Process, SensorEvent } from "@picket/protocol/event";
import { RE2JS } from "re2js";
import { namesSecret } from "./names.ts";
import { type Cover, type Walker, walker } from "./tokens.ts";

export type MaskOptions = {
  /** Makes marks that nobody without it can try passwords against. */
  readonly key: Uint8Array;
  /** More names of options, variables and fields that hold secrets. */
  readonly names: readonly string[];
  /** More patterns (RE2). What the first group matches is masked, or all of it without a group. */
  readonly patterns: readonly string[];
};

/** Whether a text is worth a closer look; most are not. */
const suspicious =
  /pass|pwd|secret|token|psk|cred|key|auth|cookie|bearer|:\/\/|ghp_|gho_|ghs_|github_pat_|glpat-|xox[abprs]-|sk-|eyJ|mysql|mariadb|curl|mosquitto|redis-cli|ldap|smbclient|lftp|docker|podman|mongo|7za?|zip|unrar|user|ipmitool|xfreerdp|nmcli|https?\b/i;

/** Tokens that show what they are. */
const formats =
  /\b(?:gh[opsur]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|xox[abprs]-[\w-]{10,}|sk-[A-Za-z0-9_-]{20,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,})/g;
const inUrl = /([a-z][a-z0-9+.-]{0,31}:\/\/[^\s:@/'"]{0,256}):([^\s@/'"]{1,512})@/gi;
const inQuery = /([?&](?:[\w-]{0,32}[-_])?(?:token|key|secret|password|passwd|pwd|sig|signature|apikey)=)([^&\s'"#]{1,2048})/gi;
const cookies = /(\bcookie:\s*)([^'"\n]{1,4096})/gi;
const inJson = /(["']([\w-]{1,64})["']\s*:\s*["'])([^"']{1,2048})/g;
const opensslPass = /^pass:(.+)$/s;
const MARK = /^<masked:[0-9a-f]{8}>$/;

export type Mask = (event: SensorEvent) => SensorEvent;

/**
 * Returns a function that covers secrets: in a copy of the event where there are some, for its parts are other events' too. Throws when a pattern is
 * none, with what is wrong. Arguments are remembered by their array, which nobody may change: a parent comes with every event of its children.
 */
export function createMask(options: MaskOptions): Mask {
  const cover = coverWith(options.key);
  const more = new Set(options.names.map((name) => name.replace(/^-+/, "").toLowerCase()));
  const patterns = options.patterns.map((pattern) => RE2JS.compile(pattern));
  const worthALook = more.size + patterns.length > 0 ? () => true : (text: string) => suspicious.test(text);
  const maskWhole = textMask(cover, more, patterns);
  const texts = (text: string) => (worthALook(text) ? maskWhole(text) : text);
  const masked = new WeakMap<string[], string[]>();
  const argv = (args: string[]): string[] => {
    const known = masked.get(args);
    if (known) return known;
    const now = args.some(worthALook) ? maskArgv(args, texts, walker(cover, more), cover) : args;
    masked.set(args, now);
    return now;
  };
  const ancestor = (of: Ancestor): Ancestor => {
    const now = of.argv && argv(of.argv);
    return now === of.argv ? of : { ...of, argv: now };
  };
  const process = (of: Process): Process => ({
    ...of,
    argv: argv(of.argv),
    ...(of.parent ? { parent: ancestor(of.parent) } : {}),
    ...(of.ancestors ? { ancestors: of.ancestors.map(ancestor) } : {}),
  });
  return (event) => {
    const { body } = event;
    if ("process" in body && body.process) return { ...event, body: { ...body, process: process(body.process) } } as SensorEvent;
    if (event.type === "auth.sudo") return { ...event, body: { ...event.body, command: texts(event.body.command) } };
    if (event.type === "log.line") return { ...event, body: { ...event.body, message: texts(event.body.message) } };
    if (event.type !== "host.inventory") return event;
    const row = Object.entries(event.body.row).map(([column, value]) => [column, typeof value === "string" ? texts(value) : value]);
    return { ...event, body: { ...event.body, row: Object.fromEntries(row) } };
  };
}

function coverWith(key: Uint8Array): Cover {
  return (secret) => {
    if (MARK.test(secret)) return secret;
    const [, open = "", inner = secret, close = ""] = /^(["']?)(.*?)(["']?)$/s.exec(secret) ?? [];
    if (inner === "" || inner.startsWith("$")) return secret; // a variable's name tells nothing
    return `${open}<masked:${new Bun.CryptoHasher("sha256", key).update(inner).digest("hex").slice(0, 8)}>${close}`;
  };
}

/** Arguments one by one; one that holds a whole command, or a text, word by word. */
function maskArgv(args: readonly string[], texts: (text: string) => string, walk: Walker, cover: Cover): string[] {
  return args.map((arg) => {
    const word = walk.word(arg);
    if (word !== arg) return word;
    return opensslPass.test(arg) ? `pass:${cover(arg.slice(5))}` : texts(arg);
  });
}

function textMask(cover: Cover, more: ReadonlySet<string>, patterns: readonly RE2JS[]): (text: string) => string {
  return (text) => {
    const replaced = text
      .replace(inUrl, (_, before: string, secret: string) => `${before}:${cover(secret)}@`)
      .replace(inQuery, (_, before: string, secret: string) => before + cover(secret))
      .replace(cookies, (_, before: string, secret: string) => before + cover(secret))
      .replace(inJson, (all, before: string, name: string, secret: string) => (namesSecret(name, more) ? before + cover(secret) : all))
      .replace(formats, (token) => cover(token));
    const walked = /[\s=:]/.test(replaced) ? maskWords(replaced, walker(cover, more)) : replaced;
    return patterns.reduce((so, pattern) => maskPattern(so, pattern, cover), walked);
  };
}

/** Separators stay as they are; `;`, `|`, `&` and newlines begin a new command. */
function maskWords(text: string, walk: Walker): string {
  return text
    .split(/(\s+|[;|&()`]+)/)
    .map((piece) => {
      if (/^[;|&()`]/.test(piece) || /^\s*\n\s*$/.test(piece)) {
        walk.end();
        return piece;
      }
      if (/^\s*$/.test(piece)) return piece;
      const [, open = "", inner = piece, close = ""] = /^(["'\\]*)(.*?)(["'\\,}]*)$/s.exec(piece) ?? [];
      return open + walk.word(inner) + close;
    })
    .join("");
}

function maskPattern(text: string, pattern: RE2JS, cover: Cover): string {
  const matcher = pattern.matcher(text);
  const group = pattern.groupCount() > 0 ? 1 : 0;
  let out = "";
  let end = 0;
  while (matcher.find()) {
    const [from, to] = [matcher.start(group), matcher.end(group)];
    if (from < end || to <= from) continue;
    out += text.slice(end, from) + cover(text.slice(from, to));
    end = to;
  }
  return out + text.slice(end);
}
