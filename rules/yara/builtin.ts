// The YARA rules Picket ships, as text: only the engine's compiler reads them.
import type { RuleFile } from "../rule.ts";
import { builtinYaraFiles } from "./builtin.gen.ts";

/** The shipped rule files, in the order of their names. */
export const builtinYara = (): readonly RuleFile[] => builtinYaraFiles;
