// YARA as what judges files: its verdicts in the words of the feed.
import type { SampleMatch, SampleVerdict } from "@picket/protocol/feed";
import { addressOf, type Place, readTable } from "@picket/protocol/memory";
import type { DetectorConfig } from "./config.ts";
import { createScanner, factsOf, type Verdict, type YaraMatch } from "./engines/yara/scanner.ts";
import type { FileScanner } from "./files.ts";
import { severityOf } from "./finding.ts";
import type { Log } from "./log.ts";
import { clean } from "./text.ts";

const MAX_MATCHES = 64;
const MAX_WHY = 300;
/** Patterns named in an alert. */
const MAX_PATTERNS = 3;

/** Compiles the shipped rules and those of `config.yara`. A rule that cannot be used is logged and left out. Throws when none can be. */
export async function yaraScanner(config: Pick<DetectorConfig, "yara" | "builtin">, log: Log): Promise<FileScanner & AsyncDisposable> {
  const scanner = await createScanner({ packs: config.yara, builtin: config.builtin });
  for (const { file, line, message } of scanner.problems) log("error", "a rule cannot be used", { file, line, problem: message });
  log("info", "files are scanned", { rules: scanner.rules });
  const { pack } = scanner;
  return {
    pack,
    scan: async (sha256, bytes) => {
      const verdict = await scanner.scan(bytes).catch((error: unknown): Verdict => {
        log("warn", "a file could not be scanned", { sha256, error: String(error) });
        return { matches: [], error: "crashed" };
      });
      return verdictOf(sha256, pack, verdict, readTable(bytes));
    },
    [Symbol.asyncDispose]: () => scanner[Symbol.asyncDispose](),
  };
}

/** Rules that only inform raise no alert, and are left out. */
export function verdictOf(sha256: string, pack: string, { matches, error }: Verdict, places?: readonly Place[]): SampleVerdict {
  const said = matches.flatMap((match) => {
    const facts = factsOf(match);
    return facts.alerts ? [{ match, facts }] : [];
  });
  return {
    sha256,
    pack,
    matches: said.slice(0, MAX_MATCHES).map(({ match, facts }): SampleMatch => {
      const { id, title, author, attack, score } = facts;
      return {
        rule: id,
        title,
        ...(author === undefined ? {} : { author }),
        severity: severityOf(facts),
        score: Math.min(100, Math.max(0, Math.round(score))),
        attack: { tactics: attack.tactics.slice(0, 16), techniques: attack.techniques.slice(0, 32) },
        why: clean(whyOf(match, places), MAX_WHY),
      };
    }),
    ...(error === undefined ? {} : { error }),
  };
}

/** `$start at 0 "X5O!P%", $end at 34 "STAND"`; of memory `$start at 0x7f12a000 (rwx anonymous) "X5O!P%"`. */
const whyOf = ({ strings }: YaraMatch, places: readonly Place[] = []): string =>
  strings
    .slice(0, MAX_PATTERNS)
    .map(
      ({ identifier, offsets, excerpt }) =>
        `${identifier} at ${addressOf(places, offsets[0] ?? 0) ?? offsets[0] ?? 0} ${JSON.stringify(excerpt)}`,
    )
    .join(", ");
