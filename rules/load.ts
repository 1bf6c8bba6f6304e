// Rule files from disk: what `rules check`, `--rules PATH` and a site's rule folder read.
import { readdir, stat } from "node:fs/promises";
import { extname, join } from "node:path";
import { builtinRules } from "./builtin.ts";
import { builtinCorrelations } from "./correlation/builtin.ts";
import type { Known } from "./correlation/link.ts";
import { type ParsedRules, parseRules } from "./engine.ts";
import type { RuleFile, RuleProblem } from "./rule.ts";
import { MAX_FILE } from "./sigma/yaml.ts";

export type LoadedRules = ParsedRules & {
  readonly files: number;
  /** YARA files among the paths, which are not read. */
  readonly yara: readonly string[];
};

/** YARA files as they are; only the engine can tell what is in them. */
export type YaraFiles = { readonly files: readonly RuleFile[]; readonly errors: readonly RuleProblem[] };

type Found = { readonly sigma: string[]; readonly yara: string[]; readonly errors: RuleProblem[] };

const MAX_FOLDERS_DEEP = 32;

/**
 * Parses every .yml and .yaml file among `paths`, files or folders, in the order given and then by name. Never throws: a path that cannot be
 * read is an error in the result. Symbolic links inside folders are not followed.
 */
export async function loadRules(paths: readonly string[]): Promise<LoadedRules> {
  const found: Found = { sigma: [], yara: [], errors: [] };
  for (const path of paths) await walk(path, found, 0);
  const files: RuleFile[] = [];
  for (const file of new Set(found.sigma)) {
    const text = await read(file);
    if (typeof text === "string") files.push({ file, text });
    else found.errors.push(text);
  }
  const parsed = parseRules(files, shipped());
  return { ...parsed, files: files.length, yara: [...new Set(found.yara)], errors: [...found.errors, ...parsed.errors] };
}

/** What correlations may refer to besides what the files hold: rules and correlations that Picket ships. */
export function shipped(): Known {
  const { rules, correlations } = builtinCorrelations();
  return { rules: [...builtinRules(), ...rules], correlations };
}

/** Reads every .yar and .yara file among `paths`, as `loadRules` does. A file that is named is YARA whatever its name. */
export async function loadYara(paths: readonly string[]): Promise<YaraFiles> {
  const found: Found = { sigma: [], yara: [], errors: [] };
  for (const path of paths) {
    const before = found.sigma.length;
    await walk(path, found, 0);
    if (found.sigma[before] === path) found.yara.push(path);
  }
  const files: RuleFile[] = [];
  for (const file of new Set(found.yara)) {
    const text = await read(file);
    if (typeof text === "string") files.push({ file, text });
    else found.errors.push(text);
  }
  return { files, errors: found.errors };
}

async function walk(path: string, found: Found, depth: number): Promise<void> {
  try {
    const info = await stat(path);
    if (info.isDirectory()) {
      if (depth >= MAX_FOLDERS_DEEP) throw new Error(`folders are nested deeper than ${MAX_FOLDERS_DEEP}`);
      const entries = await readdir(path, { withFileTypes: true });
      for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
        if (entry.isDirectory() || (entry.isFile() && isRule(entry.name))) await walk(join(path, entry.name), found, depth + 1);
      }
    } else if (!info.isFile()) throw new Error("not a file or folder");
    else if (isYara(path)) found.yara.push(path);
    else found.sigma.push(path);
  } catch (error) {
    found.errors.push({ file: path, line: 1, message: `cannot be read: ${error instanceof Error ? error.message : String(error)}` });
  }
}

const isYara = (name: string) => [".yar", ".yara"].includes(extname(name).toLowerCase());
const isRule = (name: string) => isYara(name) || [".yml", ".yaml"].includes(extname(name).toLowerCase());

async function read(file: string): Promise<string | RuleProblem> {
  const content = Bun.file(file);
  // Before reading: a rule folder may hold anything.
  if (content.size > MAX_FILE) return { file, line: 1, message: `the file is larger than ${MAX_FILE >> 20} MiB: split it` };
  try {
    return decode(file, await content.bytes());
  } catch (error) {
    return { file, line: 1, message: `cannot be read: ${error instanceof Error ? error.message : String(error)}` };
  }
}

/** Sigma files are UTF-8. Anything else would be read as other text than its author wrote. */
function decode(file: string, bytes: Uint8Array): string | RuleProblem {
  const [first, second] = bytes;
  if ((first === 0xff && second === 0xfe) || (first === 0xfe && second === 0xff))
    return { file, line: 1, message: "the file is UTF-16: save it as UTF-8" };
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    const replaced = new TextDecoder().decode(bytes);
    const line = replaced.slice(0, replaced.indexOf("\uFFFD")).split("\n").length;
    return { file, line, message: "the file is not UTF-8 (Latin-1, perhaps): save it as UTF-8" };
  }
}
