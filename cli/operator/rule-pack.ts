// A pack of rules from the files of an author: parsed, tried on their samples, and held to what devices take, before anybody signs it.
import { readFile } from "node:fs/promises";
import { parseRecorded } from "@picket/protocol/recorded";
import { openRules, packRules, type RulePack } from "@picket/protocol/rule-pack";
import { builtinRules } from "@picket/rules/builtin";
import { compileRules, type Rule, type RuleProblem } from "@picket/rules/engine";
import { loadRules } from "@picket/rules/load";
import { pack, packRoom, unpack } from "@picket/rules/packed";
import { Failure } from "../failure.ts";
import { plural } from "../output.ts";

export type Built = {
  readonly payload: unknown;
  readonly pack: RulePack;
  /** Rules that are valid and cannot fire on a device. */
  readonly warnings: readonly RuleProblem[];
};

/** Throws `Failure` with every rule that cannot be used, and when the pack is none that devices take. */
export async function buildPack(paths: readonly string[], of: { disable: readonly string[]; samples: boolean }): Promise<Built> {
  const loaded = await loadRules(paths);
  if (loaded.errors.length > 0)
    throw new Failure(
      `${plural(loaded.errors.length, "error")} in the rules:\n${loaded.errors.map(({ file, line, message }) => `${file}:${line}: ${message}`).join("\n")}`,
      "A pack holds all of its rules or is not signed: correct them, or name other files.",
    );
  if (loaded.rules.length === 0 && of.disable.length === 0)
    throw new Failure("there is no rule to sign", "Name Sigma files or folders; `picket rules check PATH` says what is in them.", 2);
  const shipped = new Set(builtinRules().map(({ id }) => id));
  const unknown = of.disable.find((id) => !shipped.has(id));
  if (unknown !== undefined)
    throw new Failure(`${JSON.stringify(unknown)} is the id of no shipped rule`, "`picket rules list --source shipped` lists them.", 2);
  const samples = of.samples ? (await Promise.all(loaded.rules.map((rule) => samplesOf(rule, loaded.rules)))).flat() : [];
  const made: RulePack = { rules: loaded.rules.map(pack), disable: [...of.disable], samples };
  const payload = packRules(made);
  const wrong = whatIsWrong(payload);
  if (wrong !== undefined)
    throw new Failure(`devices would refuse this pack of ${plural(loaded.rules.length, "rule")}: ${wrong}`, "See docs/rule-packs.md.");
  return { payload, pack: made, warnings: loaded.warnings };
}

/** As devices look at it. */
function whatIsWrong(payload: unknown): string | undefined {
  const opened = openRules(payload);
  if (typeof opened === "string") return opened;
  const room = packRoom();
  for (const packed of opened.rules) {
    const rule = unpack(packed, "pack", room);
    if (typeof rule === "string") return rule;
  }
  return undefined;
}

/** One event that the rule must match and one that it must not, from NAME.samples.ndjson beside NAME.yml, where that holds one rule. */
async function samplesOf(rule: Rule, all: readonly Rule[]): Promise<RulePack["samples"]> {
  if (all.some((other) => other !== rule && other.file === rule.file)) return [];
  const file = rule.file.replace(/\.ya?ml$/, ".samples.ndjson");
  const text = await readFile(file, "utf8").catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new Failure(`${file} cannot be read: ${error.message}`);
  });
  if (text === undefined) return [];
  const matcher = compileRules([rule]);
  const found = new Map<boolean, RulePack["samples"][number]>();
  for (const [at, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const hit = expected(line, `${file}:${at + 1}`);
    const { event } = recorded(line, at + 1, file);
    if (matcher.match(event).length > 0 !== hit)
      throw new Failure(
        `${file}:${at + 1}: the rule "${rule.title}" ${hit ? "does not match" : "matches"} this sample`,
        "Correct the rule, the sample, or what it expects.",
      );
    if (!found.has(hit)) found.set(hit, { rule: rule.id, hit, event });
  }
  return [...found.values()];
}

function expected(line: string, where: string): boolean {
  let word: unknown;
  try {
    word = (JSON.parse(line) as { expect?: unknown } | null)?.expect;
  } catch {
    // Said below.
  }
  if (word === "hit" || word === "miss") return word === "hit";
  throw new Failure(`${where}: not a sample`, 'A sample is one line of JSON: an event with "expect": "hit" or "miss".');
}

function recorded(line: string, at: number, file: string) {
  try {
    return parseRecorded(line, at);
  } catch (error) {
    throw new Failure(`${file}:${at}: ${error instanceof Error ? error.message : error}`);
  }
}
