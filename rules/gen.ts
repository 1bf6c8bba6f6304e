// `bun rules/gen.ts`: parses rules/builtin/**.yml into rules/builtin.gen.ts, so that a device needs neither the files nor the parser,
// correlations among them into rules/correlation/builtin.gen.ts, and writes the tables of docs/rules.md.

import { eventTypes } from "@picket/protocol/event";
import { generateCorrelations, isOfCorrelation, parseBuiltinCorrelations } from "./correlation/gen.ts";
import { parseRules } from "./engine.ts";
import type { Rule, RuleFile } from "./rule.ts";
import { fieldsOf, isSearched, processFieldNames } from "./sigma/fields.ts";
import { picketCategories, sigmaCategories } from "./sigma/logsource.ts";

const root = new URL("./builtin/", import.meta.url).pathname;

/** The shipped files of rules, or of correlations with the rules that are only there for them; sorted by path. */
export async function readBuiltin(of: "rules" | "correlations" = "rules"): Promise<RuleFile[]> {
  const names = await Array.fromAsync(new Bun.Glob("**/*.yml").scan({ cwd: root }));
  const wanted = names.filter((name) => isOfCorrelation(name) === (of === "correlations"));
  return Promise.all(wanted.sort().map(async (name) => ({ file: `builtin/${name}`, text: await Bun.file(root + name).text() })));
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

/** Where docs/rules.md keeps its tables. */
export const docs = new URL("../docs/rules.md", import.meta.url);

/** The text of docs/rules.md with its tables as the code has them. */
export function withTables(text: string, rules: readonly Rule[]): string {
  return between(between(text, "fields", fieldTable()), "shipped", shippedTable(rules));
}

function between(text: string, name: string, table: string): string {
  const [start, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  if (!text.includes(start) || !text.includes(end)) throw new Error(`docs/rules.md has no ${start} ... ${end}`);
  return `${text.slice(0, text.indexOf(start) + start.length)}\n${table}\n${text.slice(text.indexOf(end))}`;
}

function fieldTable(): string {
  const code = (names: Iterable<string>) => [...names].map((name) => `\`${name}\``).join(", ");
  const rows = eventTypes.map((type) => {
    const categories = [sigmaCategories, picketCategories].map((table) => Object.keys(table).filter((name) => table[name]!.includes(type)));
    const fields = [...fieldsOf(type).keys()].filter(isSearched);
    const ofProcess = processFieldNames.every((name) => fields.includes(name));
    const own = ofProcess ? fields.filter((name) => !processFieldNames.includes(name)) : fields;
    return [code([type]), ...categories.map(code), [ofProcess ? "process" : "", code(own)].filter(Boolean).join(", ")];
  });
  const head = `process: ${code(processFieldNames)}. Every event also has \`Computer\`, the device, and \`UtcTime\` (\`2026-01-31 23:59:59.123\`); keywords look into neither.`;
  return `\n${head}\n\n${table(["event", "category (linux)", "category (picket)", "fields"], rows)}\n`;
}

function shippedTable(rules: readonly Rule[]): string {
  const rows = rules.map((rule) => {
    const path = rule.file.replace(/^builtin\//, "").replace(/\.yml$/, "");
    return [`[${path}](../rules/${rule.file})`, rule.title, rule.level, String(rule.score), rule.attack.techniques.join(", ")];
  });
  return `\n${table(["rule", "what it sees", "level", "score", "ATT&CK"], rows)}\n`;
}

/** A Markdown table padded as the formatter pads it. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, column) => Math.max(3, ...[head, ...rows].map((row) => row[column]!.length)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")} |`;
  return [line(head), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}

if (import.meta.main) {
  const rules = parseBuiltin(await readBuiltin());
  await Bun.write(new URL("./builtin.gen.ts", import.meta.url), generate(rules));
  const correlations = parseBuiltinCorrelations(await readBuiltin("correlations"), rules);
  await Bun.write(new URL("./correlation/builtin.gen.ts", import.meta.url), generateCorrelations(correlations));
  await Bun.write(docs, withTables(await Bun.file(docs).text(), rules));
}
