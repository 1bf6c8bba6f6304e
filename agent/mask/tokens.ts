// Walks the words of one command, or of several in a text, and decides for each whether it is a secret.
import { headers, namesSecret, programs, type Takes } from "./names.ts";

export type Cover = (secret: string) => string;

const nothing: Takes = {};
/** They run the command that follows. */
const wrappers = new Set(["sudo", "env", "doas", "nohup", "exec", "time", "timeout", "nice", "setsid", "xargs", "watch", "command"]);
const schemes = new Set(["bearer", "basic", "token", "digest", "apikey", "negotiate"]);

export type Walker = {
  /** The word as it may be told. */
  word(word: string): string;
  /** A new command begins. */
  end(): void;
};

/** `more`: names, in lower case and without dashes, that hold secrets besides those everybody uses. */
export function walker(cover: Cover, more: ReadonlySet<string>): Walker {
  let takes: Takes = nothing;
  let named = false;
  /** What the next word is: a secret, a user and a secret, the value of a header. */
  let next: "secret" | "user" | "header" | undefined;

  const begin = (word: string) => {
    if (/^\w+=/.test(word) || word.startsWith("-") || /^\d+[smhd]?$/.test(word)) return;
    const program = word.slice(word.lastIndexOf("/") + 1);
    if (wrappers.has(program)) return;
    named = true;
    takes = programs[program] ?? nothing;
  };
  const userAndSecret = (text: string) => {
    const at = text.indexOf(takes.user?.separator ?? ":");
    return at < 0 || at === text.length - 1 ? text : text.slice(0, at + 1) + cover(text.slice(at + 1));
  };
  const expected = (word: string): string => {
    const what = next;
    next = undefined;
    if (what === "header" && schemes.has(word.toLowerCase())) {
      next = "secret";
      return word;
    }
    if (what === "user") return userAndSecret(word);
    // openssl(1) says where it finds a pass phrase: only one of the ways is the phrase itself.
    const [, source] = /^(pass|env|file|fd|stdin):/.exec(word) ?? [];
    if (source !== undefined) return source === "pass" ? `pass:${cover(word.slice(5))}` : word;
    return cover(word);
  };
  const attached = (word: string): string | undefined => {
    for (const option of takes.attached ?? [])
      if (word.startsWith(option) && word.length > option.length) return option + cover(word.slice(option.length));
    for (const option of takes.user?.options ?? []) {
      if (!option.startsWith("--") && word.startsWith(option) && word.length > option.length)
        return option + userAndSecret(word.slice(option.length));
    }
    return undefined;
  };
  const option = (word: string): string | undefined => {
    if (takes.next?.includes(word)) next = "secret";
    else if (takes.user?.options.includes(word)) next = "user";
    else if (/^--?[\w.-]+$/.test(word) && namesSecret(word, more)) next = "secret";
    else return undefined;
    return word;
  };
  const assigned = (word: string): string | undefined => {
    const at = word.search(/[=:]/);
    if (at <= 0 || at === word.length - 1) return undefined;
    const name = word.slice(0, at);
    if (word[at] === ":" && /\s/.test(word)) return undefined;
    if (word[at] === ":" && headers.has(name.toLowerCase())) return `${name}:${cover(word.slice(at + 1))}`;
    if (takes.user?.options.includes(name)) return `${name}=${userAndSecret(word.slice(at + 1))}`;
    // A path, an address or a time has colons of its own.
    const plain = name.replace(/^.*[?&"'{,]/, "");
    if (!/^[-\w.]+$/.test(plain) || !namesSecret(plain, more)) return undefined;
    return word.slice(0, at + 1) + cover(word.slice(at + 1));
  };
  return {
    word(word) {
      if (word === "") return word;
      if (next !== undefined && !word.startsWith("--")) return expected(word);
      next = undefined;
      if (!named) begin(word);
      if (word.endsWith(":") && headers.has(word.slice(word.lastIndexOf("=") + 1, -1).toLowerCase())) {
        next = "header";
        return word;
      }
      return option(word) ?? assigned(word) ?? attached(word) ?? word;
    },
    end() {
      takes = nothing;
      named = false;
      next = undefined;
    },
  };
}
