// YARA files checked as the detector would load them, for `picket rules check`.
import { loadYara } from "@picket/rules/load";
import type { RuleFile, RuleProblem } from "@picket/rules/rule";
import { startThread, ThreadFailure } from "./thread.ts";

export type CheckedYara = {
  readonly files: number;
  /** Rules seen, usable or not. */
  readonly rules: number;
  /** Rules that can be used. */
  readonly loaded: number;
  readonly errors: readonly RuleProblem[];
  readonly warnings: readonly RuleProblem[];
};

const PATIENCE_MS = 300_000;

/** Compiles every YARA file among `paths`. Never throws because of a file: one that ends the compiler is an error in the result. */
export async function checkYara(paths: readonly string[]): Promise<CheckedYara> {
  const { files, errors } = await loadYara(paths);
  const fatal: RuleProblem[] = [...errors];
  let rest: readonly RuleFile[] = files;
  while (rest.length > 0) {
    using thread = startThread();
    try {
      const checked = await thread.ask({ do: "check", files: rest }, "checked", PATIENCE_MS);
      const { loaded, total, warnings } = checked;
      return { files: files.length, rules: total, loaded, errors: [...fatal, ...checked.errors], warnings };
    } catch (error) {
      if (!(error instanceof ThreadFailure) || error.file === undefined) throw error;
      const { file } = rest[error.file]!;
      fatal.push({ file, line: 1, message: `the compiler ended at this file: ${error.message}` });
      rest = rest.filter((one) => one.file !== file);
    }
  }
  return { files: files.length, rules: 0, loaded: 0, errors: fatal, warnings: [] };
}
