// `bun rules/yara/gen.ts`: the rule files of this folder as a module, so that an executable holds them, and the table of docs/yara.md.
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

/** Where docs/yara.md keeps its table. */
export const docs = new URL("../../docs/yara.md", import.meta.url);

const [START, END] = ["<!-- shipped -->", "<!-- /shipped -->"];
const shipped = /^rule (\w+)\n\{\n {4}meta:\n {8}title = "([^"]+)"\n[^}]*? {8}severity = "(\w+)"\n[^}]*? {8}attack = "([^"]+)"/gm;

/** The text of docs/yara.md with the rules there are. Throws when it has no place for them. */
export function withTable(text: string, files: readonly RuleFile[]): string {
  const [start, end] = [text.indexOf(START), text.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`docs/yara.md has no ${START} ... ${END}`);
  const rows = files.flatMap(({ file, text }) =>
    [...text.matchAll(shipped)].map(
      ([, name, title, severity, attack]) =>
        `| [${name}](../rules/${file.replace("builtin/", "yara/")}) | ${title} | ${severity} | ${attack} |`,
    ),
  );
  return `${text.slice(0, start + START.length)}\n\n| rule | what it finds | severity | ATT&CK |\n|---|---|---|---|\n${rows.join("\n")}\n\n${text.slice(end)}`;
}

if (import.meta.main) {
  const files = await readYara();
  await Bun.write(`${root}builtin.gen.ts`, generate(files));
  await Bun.write(docs, withTable(await Bun.file(docs).text(), files));
}
