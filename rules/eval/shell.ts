// A typed or scripted line as the program starts that a device would see of it. Nothing is ever run: text in, text out.

/** A program start. `argv` is what the shell would pass on: without quotes, redirections and assignments; variables and wildcards stay as written. */
export type Start = { readonly argv: readonly string[]; readonly exe: string; readonly parent: string };

type Token = { readonly kind: "word" | "operator" | "redirect"; readonly text: string; readonly inner: readonly string[] };

const MAX_STARTS = 64;
const MAX_DEPTH = 4;
const SHELL = "/usr/bin/bash";

/** What the shell does itself: no program is started. */
const builtins = new Set(
  "alias bg break builtin cd command continue declare dirs disown echo enable exit export false fc fg getopts hash help history jobs let local logout mapfile popd printf pushd pwd read readonly return set shift shopt source . : [ [[ test times trap true type typeset ulimit umask unalias unset wait".split(
    " ",
  ),
);
const keywords = new Set([
  "if",
  "then",
  "else",
  "elif",
  "fi",
  "do",
  "done",
  "while",
  "until",
  "case",
  "esac",
  "!",
  "{",
  "}",
  "function",
  "select",
  "in",
]);
/** Programs that start what follows them: both are seen. */
const starters = new Set([
  "sudo",
  "nohup",
  "env",
  "time",
  "timeout",
  "nice",
  "setsid",
  "busybox",
  "doas",
  "xargs",
  "stdbuf",
  "ionice",
  "exec",
  "eval",
]);
const shells = /^(?:\/\S*\/)?(?:ba|da|z|k|a)?sh$/;

/** Where a name typed without a path leads on a Debian device, where that is not /usr/bin. */
const found: Readonly<Record<string, string>> = {
  sh: "/usr/bin/dash",
  awk: "/usr/bin/mawk",
  python3: "/usr/bin/python3.11",
  python: "/usr/bin/python3.11",
  nc: "/usr/bin/nc.traditional",
  vi: "/usr/bin/vim.basic",
  vim: "/usr/bin/vim.basic",
  insmod: "/usr/bin/kmod",
  modprobe: "/usr/bin/kmod",
  iptables: "/usr/sbin/xtables-nft-multi",
  useradd: "/usr/sbin/useradd",
  usermod: "/usr/sbin/usermod",
  telnet: "/usr/bin/inetutils-telnet",
};

/** The path the kernel would run for a word. */
export function pathOf(word: string): string {
  if (word.startsWith("/")) return word;
  if (word.includes("/")) return `/home/user/${word.replace(/^\.\//, "")}`;
  return found[word] ?? `/usr/bin/${word}`;
}

/** Whether the line needs a shell: what has none of this is started as it stands. */
export const needsShell = (line: string): boolean => /[;|&<>$`\n()]/.test(line);

/** Every program start of the line, in its order, at most 64: its commands, those inside `$(...)` and of `sh -c`, and what `sudo` and its like start. */
export function startsOf(line: string, parent = SHELL, depth = 0): Start[] {
  const starts: Start[] = [];
  let words: string[] = [];
  const end = () => {
    for (const start of startsOfWords(words, parent, depth)) if (starts.length < MAX_STARTS) starts.push(start);
    words = [];
  };
  let skip = false;
  for (const { kind, text, inner } of tokens(line)) {
    if (depth < MAX_DEPTH)
      for (const part of inner) for (const start of startsOf(part, parent, depth + 1)) if (starts.length < MAX_STARTS) starts.push(start);
    if (kind === "operator") end();
    else if (kind === "redirect") skip = !/&[0-9-]?$/.test(text) || text === "&>" || text === ">&";
    else if (skip) skip = false;
    else if (words.length === 0 && (keywords.has(text) || /^[A-Za-z_][A-Za-z0-9_]*\+?=/.test(text))) continue;
    else words.push(text);
  }
  end();
  return starts;
}

/** One simple command: itself, unless the shell does it, and what it starts in turn. */
function startsOfWords(words: readonly string[], parent: string, depth: number): Start[] {
  const [name] = words;
  if (name === undefined || name === "" || depth > MAX_DEPTH) return [];
  const exe = pathOf(name);
  const own: Start[] = builtins.has(name) || name === "exec" || name === "eval" ? [] : [{ argv: words, exe, parent }];
  const short = name.slice(name.lastIndexOf("/") + 1);
  if (short === "eval") return startsOf(words.slice(1).join(" "), parent, depth + 1);
  if (shells.test(name)) {
    const at = words.findIndex((word) => /^-[a-z]*c$/.test(word));
    return at > 0 && words[at + 1] !== undefined ? [...own, ...startsOf(words[at + 1]!, exe, depth + 1)] : own;
  }
  if (!starters.has(short)) return own;
  // Its options, and the numbers and names they take (`timeout 5`, `nice -n 10`, `sudo -u pi`).
  let at = 1;
  while (at < words.length && (/^-|^[0-9.]+[smh]?$|^\w+=/.test(words[at]!) || /^-[ugnIPL]$/.test(words[at - 1]!))) at++;
  return [...own, ...startsOfWords(words.slice(at), short === "exec" ? parent : exe, depth + 1)];
}

/** Splits as a shell does; what is not closed ends with the line. `inner`: texts of command substitutions. */
function* tokens(line: string): Generator<Token> {
  let at = 0;
  while (at < line.length) {
    const char = line[at]!;
    if (char === " " || char === "\t" || char === "\r") at++;
    else if (char === "#" && (at === 0 || /\s/.test(line[at - 1]!))) while (at < line.length && line[at] !== "\n") at++;
    else {
      const redirect = /^[0-9]*(?:&>>?|>>|>\||<<<|<<-?|<>|[<>]&[0-9-]?|[<>](?!\())/.exec(line.slice(at, at + 12))?.[0];
      const operator = redirect ? undefined : /^(?:\|\||&&|;;|\|&|[;|&\n()])/.exec(line.slice(at, at + 2))?.[0];
      if (redirect ?? operator) {
        const text = (redirect ?? operator)!;
        yield { kind: redirect ? "redirect" : "operator", text, inner: [] };
        at += text.length;
      } else {
        const word = readWord(line, at);
        yield { kind: "word", text: word.text, inner: word.inner };
        at = Math.max(word.end, at + 1);
      }
    }
  }
}

function readWord(line: string, from: number): { text: string; end: number; inner: string[] } {
  let text = "";
  let at = from;
  const inner: string[] = [];
  const substitution = (): boolean => {
    const open = line.startsWith("$(", at) || line.startsWith("<(", at) || line.startsWith(">(", at) ? 2 : line[at] === "`" ? 1 : 0;
    if (open === 0 || line.startsWith("$((", at)) return false;
    const end = open === 1 ? line.indexOf("`", at + 1) : closing(line, at + 2);
    const stop = end < 0 ? line.length : end;
    inner.push(line.slice(at + open, stop));
    text += line.slice(at, stop + 1);
    at = stop + 1;
    return true;
  };
  while (at < line.length && !/[\s;|&()<>]/.test(line[at]!)) {
    const char = line[at]!;
    if (substitution()) continue;
    if (char === "\\") {
      text += line[at + 1] ?? "";
      at += 2;
    } else if (char === "'") {
      const end = line.indexOf("'", at + 1);
      text += line.slice(at + 1, end < 0 ? line.length : end);
      at = end < 0 ? line.length : end + 1;
    } else if (char === '"') {
      at++;
      while (at < line.length && line[at] !== '"') {
        if (substitution()) continue;
        if (line[at] === "\\" && /["\\$`]/.test(line[at + 1] ?? "")) at++;
        text += line[at++] ?? "";
      }
      at++;
    } else {
      text += char;
      at++;
    }
    if ((line[at] === "<" || line[at] === ">") && line[at + 1] === "(" && substitution()) continue;
  }
  if (at === from && substitution()) return { text, end: at, inner };
  return { text, end: at, inner };
}

/** Where the bracket opened before `from` closes; -1 when it does not. Quotes hide brackets. */
function closing(line: string, from: number): number {
  let depth = 1;
  let quote = "";
  for (let at = from; at < line.length; at++) {
    const char = line[at]!;
    if (char === "\\" && quote !== "'") at++;
    else if (quote !== "") quote = char === quote ? "" : quote;
    else if (char === "'" || char === '"') quote = char;
    else if (char === "(") depth++;
    else if (char === ")" && --depth === 0) return at;
  }
  return -1;
}
