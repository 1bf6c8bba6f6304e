// `picket-agent run --stdout | bun models/train/trace.ts ROOT`: what a piece of honest work started, without what is of one machine or one person.
// ROOT is a text in the command line of the script that does the work: only its descendants are kept.
import { parseRecorded } from "@picket/protocol/recorded";
import type { Sight } from "../cmdline/features.ts";

const MAX_LINES = 4000;
const MAX_TEXT = 1000;

// Paths and names that belong to one machine or one run.
const neutral: readonly (readonly [RegExp, string])[] = [
  [/\/root\/\.pyenv\/[\w./-]*\/bin\/|\/root\/\.pyenv\/(?:shims|libexec)\//g, "/usr/local/bin/"],
  [/\/root\/\.\w+/g, "/home/user/.local"],
  [/\/work\/[\w-]+/g, "/srv/app"],
  [/\/tmp\/tmp\.\w+/g, "/tmp/tmp.aB3xYz"],
  [/\/tmp\/(?!tmp\.)[\w.+-]+/g, "/tmp/build"],
  [/\b[0-9a-f]{40,64}\b/g, "0123456789abcdef0123456789abcdef01234567"],
  [/\b\d{5,}\b/g, "12345"],
];
const SECRET = /passw|secret|token|key=|PRIVATE/i;

const clean = (text: string) => neutral.reduce((out, [pattern, by]) => out.replace(pattern, by), text.slice(0, MAX_TEXT));

const [root] = process.argv.slice(2);
if (root === undefined) {
  console.error("picket-agent run --stdout | bun models/train/trace.ts ROOT > models/train/cmdline-trace.ndjson");
  process.exit(2);
}
const kept = new Map<string, Sight>();
for (const [at, line] of (await Bun.stdin.text()).split("\n").entries()) {
  if (!line.includes('"process.exec"')) continue;
  const { event } = parseRecorded(line, at + 1);
  if (event.type !== "process.exec") continue;
  const { argv, exe, parent, ancestors = [] } = event.body.process;
  if (![parent, ...ancestors].some((above) => above?.argv?.some((text) => text.includes(root)))) continue;
  if (argv.some((text) => SECRET.test(text))) continue;
  const sight = { argv: argv.map(clean), exe: clean(exe), ...(parent ? { parent: clean(parent.exe) } : {}) };
  kept.set(JSON.stringify(sight), sight);
}
const lines = [...kept.keys()].slice(0, MAX_LINES);
console.log(lines.join("\n"));
console.error(`${lines.length} different program starts`);
