// What each shipped rule finds and what it must leave alone, built here when a test runs: no malware, nothing that could run. Addresses are those kept for
// documentation (RFC 5737), the account is made up.
import { programSamples } from "./program-samples.ts";
import { textSamples } from "./text-samples.ts";

export type Samples = { readonly hits: readonly Uint8Array[]; readonly misses: readonly Uint8Array[] };

/** By the name of the rule. */
export const samples: Readonly<Record<string, Samples>> = { ...programSamples, ...textSamples };
