// `bun rules/yara/gen.ts`: the rule files of this folder as a module, so that an executable holds them.
import type { RuleFile } from "../rule.ts";

const root = new URL("./", import.meta.url).pathname;

/** The shipped files, sorted by name. */
export async function readYara(): Promise<RuleFile[]> {
  const names = await Array.fromAsync(new Bun.Glob("*.yar").scan({ cwd: root }));
  return Promise.all(names.sort().map(async (name) => ({ file: `builtin/${name}`, text: await Bun.file(root + name).text() })));
}

/** The module's text; the same files give the same text. One file a line. */
export function generate(files: readonly RuleFile[]): string {
  const rows = files.map((file) => `  ${JSON.stringify(file)},`);
  return `// Generated from rules/yara/*.yar by \`bun rules/yara/gen.ts\`. Do not edit.\nexport const builtinYaraFiles: readonly { readonly file: string; readonly text: string }[] = [\n${rows.join("\n")}\n];\n`;
}

if (import.meta.main) await Bun.write(`${root}builtin.gen.ts`, generate(await readYara()));
