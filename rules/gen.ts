// `bun rules/gen.ts`: parses rules/builtin/**.yml into rules/builtin.gen.ts, so that a device needs neither the files nor the parser.
import { parseRules } from "./engine.ts";
import type { Rule, RuleFile } from "./rule.ts";

const root = new URL("./builtin/", import.meta.url).pathname;

/** The shipped rule files, sorted by path. */
export async function readBuiltin(): Promise<RuleFile[]> {
  const names = await Array.fromAsync(new Bun.Glob("**/*.yml").scan({ cwd: root }));
  return Promise.all(names.sort().map(async (name) => ({ file: `builtin/${name}`, text: await Bun.file(root + name).text() })));
}

/** Throws when a shipped rule has an error or a warning. */
export function parseBuiltin(files: readonly RuleFile[]): readonly Rule[] {
  const { rules, errors, warnings } = parseRules(files);
  const problem = errors[0] ?? warnings[0];
  if (problem) throw new Error(`${problem.file}:${problem.line}: ${problem.message}`);
  return rules;
}

/** The module's text; the same rules give the same text. One rule a line, so that a change shows which. */
export function generate(rules: readonly Rule[]): string {
  const rows = rules.map((rule) => `  ${JSON.stringify(JSON.stringify(rule))},`);
  return `// Generated from rules/builtin/**.yml by \`bun rules/gen.ts\`. Do not edit.\nexport const builtinRows: readonly string[] = [\n${rows.join("\n")}\n];\n`;
}

if (import.meta.main) await Bun.write(new URL("./builtin.gen.ts", import.meta.url), generate(parseBuiltin(await readBuiltin())));
