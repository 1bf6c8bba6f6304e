// `bun rules/gen.ts`: puts the texts of rules/builtin/**.yml into rules/builtin.gen.ts, since a compiled program has no rules folder beside it.
import type { RuleFile } from "./rule.ts";

const root = new URL("./builtin/", import.meta.url).pathname;

/** The shipped rule files, sorted by path. */
export async function readBuiltin(): Promise<RuleFile[]> {
  const names = await Array.fromAsync(new Bun.Glob("**/*.yml").scan({ cwd: root }));
  return Promise.all(names.sort().map(async (name) => ({ file: `builtin/${name}`, text: await Bun.file(root + name).text() })));
}

/** The module's text; the same files give the same text. */
export function generate(files: readonly RuleFile[]): string {
  const rows = files.map(({ file, text }) => `  { file: ${JSON.stringify(file)}, text: ${JSON.stringify(text)} },`);
  return `// Generated from rules/builtin/**.yml by \`bun rules/gen.ts\`. Do not edit.\nexport const builtinFiles: readonly { readonly file: string; readonly text: string }[] = [\n${rows.join("\n")}\n];\n`;
}

if (import.meta.main) await Bun.write(new URL("./builtin.gen.ts", import.meta.url), generate(await readBuiltin()));
