// The rules of the site as they are on disk now: read, put together, and read again when a file changes. One bad file never takes the others along.
import type { Correlation } from "@picket/rules/correlation/correlation";
import type { Rule, RuleProblem } from "@picket/rules/engine";
import { loadRules } from "@picket/rules/load";
import { signatureOf } from "@picket/rules/signature";
import type { DetectorConfig } from "./config.ts";
import type { Log } from "./log.ts";
import { ruleSet } from "./rule-set.ts";

export type RuleSet = {
  /** Another one whenever a rule is another. */
  readonly version: string;
  readonly readMs: number;
  readonly rules: readonly Rule[];
  readonly correlations: readonly Correlation[];
  /** YARA files among the rule folders, and what the file system says of all YARA files. */
  readonly yara: readonly string[];
  readonly yaraSignature: string;
  readonly troubles: readonly RuleProblem[];
};

export type Rulebook = {
  readonly current: RuleSet;
  /** Calls `changed` with the new set once rule files have changed and stay as they are for one look. */
  watch(changed: (set: RuleSet, before: RuleSet) => void, everyMs?: number): Disposable;
};

const LOOK_EVERY_MS = 2000;

type Paths = Pick<DetectorConfig, "rules" | "yara" | "builtin">;

/** Reads the rules. What cannot be used is logged and left out. Never throws. */
export async function openRulebook(config: Paths, log: Log, nowMs: () => number = Date.now): Promise<Rulebook> {
  const paths = [...config.rules, ...config.yara];
  let current = await readRules(config, undefined, nowMs());
  tell(current, log);
  return {
    get current() {
      return current;
    },
    watch: (changed, everyMs = LOOK_EVERY_MS) => {
      let known: string | undefined;
      let seen: string | undefined;
      let timer: NodeJS.Timeout | undefined;
      let ended = false;
      const look = async () => {
        const now = await signatureOf(paths);
        known ??= await signatureAtStart();
        // Somebody may be writing it still: not before it stays as it is.
        const settled = now === seen;
        seen = now;
        if (now === known || !settled || ended) return;
        known = now;
        const before = current;
        const next = await readRules(config, before, nowMs());
        if (ended) return;
        current = next;
        tell(next, log);
        const wrong = ({ troubles }: RuleSet) => JSON.stringify(troubles);
        if (next.version === before.version && next.yaraSignature === before.yaraSignature && wrong(next) === wrong(before)) return;
        log("info", "the rules have changed", { version: next.version, rules: next.rules.length, before: before.version });
        changed(next, before);
      };
      const again = () => {
        timer = setTimeout(
          () =>
            void look()
              .catch((error: unknown) => log("error", "rule files cannot be looked at", { error: String(error) }))
              .finally(() => ended || again()),
          everyMs,
        );
        timer.unref();
      };
      again();
      return {
        [Symbol.dispose]: () => {
          ended = true;
          clearTimeout(timer);
        },
      };
    },
  };

  /** What is on disk may be another already than what was read: then it is read again. */
  async function signatureAtStart(): Promise<string> {
    const again = await readRules(config, current, nowMs());
    return again.version === current.version && again.yaraSignature === current.yaraSignature ? signatureOf(paths) : "";
  }
}

/** `former`: of a file that cannot be used any more, the rules it had then stay. */
async function readRules(config: Paths, former: RuleSet | undefined, readMs: number): Promise<RuleSet> {
  const loaded = await loadRules(config.rules);
  const given = [...loaded.rules, ...lastGood(loaded.rules, former?.rules ?? [], loaded.errors)];
  const together = [...loaded.correlations, ...lastGood(loaded.correlations, former?.correlations ?? [], loaded.errors)];
  const { rules, correlations } = ruleSet(config.builtin, { rules: given, correlations: together });
  const yara = [...config.yara, ...loaded.yara];
  const version = new Bun.CryptoHasher("sha256")
    .update(JSON.stringify([rules, correlations]))
    .digest("hex")
    .slice(0, 12);
  return { version, readMs, rules, correlations, yara: loaded.yara, yaraSignature: await signatureOf(yara), troubles: loaded.errors };
}

/** What files with an error held when they were last read, and hold no more. */
function lastGood<R extends { readonly id: string; readonly file: string }>(
  now: readonly R[],
  former: readonly R[],
  errors: readonly RuleProblem[],
): R[] {
  if (errors.length === 0) return [];
  const ids = new Set(now.map(({ id }) => id));
  const bad = [...new Set(errors.map(({ file }) => file))];
  return former.filter(
    ({ id, file }) => !ids.has(id) && bad.some((path) => file === path || file.startsWith(path.endsWith("/") ? path : `${path}/`)),
  );
}

function tell({ troubles }: RuleSet, log: Log): void {
  for (const { file, line, message } of troubles) log("error", "a rule cannot be used", { file, line, problem: message });
}
