// What the detector and the thread that scans tell each other.
import type { RuleFile, RuleProblem } from "@picket/rules/rule";
import type { YaraMatch } from "./verdict.ts";

export type Request =
  | { readonly do: "load"; readonly files: readonly RuleFile[]; readonly timeoutMs: number }
  | { readonly do: "check"; readonly files: readonly RuleFile[] }
  | { readonly do: "scan"; readonly bytes: Uint8Array<ArrayBuffer> };

export type Answer =
  | { readonly said: "loaded"; readonly loaded: number; readonly problems: readonly RuleProblem[]; readonly mended: readonly RuleFile[] }
  | {
      readonly said: "checked";
      readonly loaded: number;
      readonly total: number;
      readonly errors: readonly RuleProblem[];
      readonly warnings: readonly RuleProblem[];
    }
  /** `heldBytes`: memory of the sandbox, which never shrinks. */
  | { readonly said: "scanned"; readonly matches: readonly YaraMatch[]; readonly heldBytes: number }
  | { readonly said: "failed"; readonly why: "timeout" | "crashed"; readonly message: string };

/** Before the compiler sees a file: should it hang or end there, the file is known. */
export type Progress = { readonly said: "file"; readonly index: number };
