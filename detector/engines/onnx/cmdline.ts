// The command-line engine: how suspicious is this program start, by its arguments and what started it.
import { type Calibration, scoreOf, thresholdFor } from "@picket/models/cmdline/calibration";
import { lineOf, type Sight } from "@picket/models/cmdline/features";
import type { SensorEvent } from "@picket/protocol/event";
import type { Level } from "@picket/rules/rule";
import type { Engine, EventBatch, Finding, Findings, RuleFacts } from "../../finding.ts";
import { clean } from "../../text.ts";
import type { CmdlineScorer, Judged } from "./cmdline-scorer.ts";

/** Different program starts whose verdict is kept. */
const MAX_KNOWN = 20_000;
const MAX_SHOWN = 160;
const MAX_WORD = 48;
/** So much rarer than an alert is a line that is worth more points. */
const WORSE = 1 / 10;

export type CmdlineOptions = {
  readonly scorer: CmdlineScorer;
  readonly calibration: Calibration;
  /** How many false alerts a device may make in a day, on average. */
  readonly alertsPerDeviceDay: number;
};

/** A model is never sure by itself: what else there is on a process makes its alert worse, by the score. */
const rule = (level: Level, score: number): RuleFacts => ({
  id: "picket-model-cmdline",
  title: "A command line that looks like an attack",
  level,
  attack: { tactics: ["execution"], techniques: ["T1059"] },
  score,
  alerts: true,
});
const rules = { worse: rule("medium", 55), usual: rule("medium", 40) };

/** The script of a package, run by dpkg: it owns files and rights of the system as its work. Shells with a script only, no code of a command line. */
const isPackageScript = (argv: readonly string[] = []): boolean =>
  argv
    .slice(1)
    .find((arg) => !/^-[eux]+$/.test(arg))
    ?.search(/^\/var\/lib\/dpkg\/(?:info|tmp\.ci)\/[\w.+:-]+$/) === 0;

/** Judges every program start of a batch. Equal ones are computed once; a verdict depends on nothing but arguments, program and parent. */
export function cmdlineEngine({ scorer, calibration, alertsPerDeviceDay }: CmdlineOptions): Engine {
  const from = {
    worse: thresholdFor(calibration, alertsPerDeviceDay * WORSE),
    usual: thresholdFor(calibration, alertsPerDeviceDay),
  };
  // Least recently used first.
  const known = new Map<string, Finding | null>();

  function findingOf(judged: Judged, sight: Sight): Finding | null {
    if (judged.logit < from.usual) return null;
    const worse = judged.logit >= from.worse;
    return { engine: "onnx", rule: worse ? rules.worse : rules.usual, summary: summaryOf(sight, judged, scorer.reasons(judged)) };
  }

  function judge({ events }: EventBatch): Map<number, Finding[]> {
    const keys = events.map((event) =>
      event.type === "process.exec" && !isPackageScript(event.body.process.parent?.argv) ? keyOf(sightOf(event)) : undefined,
    );
    const asked = new Map<string, Sight>();
    for (const [at, key] of keys.entries()) {
      if (key === undefined || asked.has(key)) continue;
      const before = known.get(key);
      if (before === undefined) asked.set(key, sightOf(events[at] as Exec));
      else {
        known.delete(key);
        known.set(key, before);
      }
    }
    const sights = [...asked];
    const now = new Map<string, Finding | null>();
    for (const [at, judged] of scorer.judge(sights.map(([, sight]) => sight)).entries()) {
      const [key, sight] = sights[at]!;
      now.set(key, findingOf(judged, sight));
    }
    const found = keys.flatMap((key, at): [number, Finding[]][] => {
      const finding = key === undefined ? undefined : (now.get(key) ?? known.get(key));
      return finding ? [[at, [finding]]] : [];
    });
    for (const [key, finding] of now) known.set(key, finding);
    for (const key of known.keys()) {
      if (known.size <= MAX_KNOWN) break;
      known.delete(key);
    }
    return new Map(found);
  }

  return {
    name: "cmdline",
    judge(batch): Promise<Findings> | undefined {
      if (!batch.events.some(({ type }) => type === "process.exec")) return undefined;
      const found = judge(batch);
      return found.size === 0 ? undefined : Promise.resolve(found);
    },
  };
}

type Exec = Extract<SensorEvent, { type: "process.exec" }>;

/** What the model is told of an event. */
export const sightOf = ({ body: { process } }: Exec): Sight => ({ argv: process.argv, exe: process.exe, parent: process.parent?.exe });

/** Nobody may find two starts of one key: running the harmless one first would pass its verdict on to the other. */
const keyOf = ({ argv, exe, parent }: Sight): string => Bun.SHA256.hash(JSON.stringify([argv, exe, parent]), "base64");

function summaryOf(sight: Sight, { logit }: Judged, words: readonly string[]): string {
  const line = clean(lineOf(sight), MAX_SHOWN);
  const because = words.length === 0 ? "" : `: mostly because of ${words.map((word) => JSON.stringify(clean(word, MAX_WORD))).join(", ")}`;
  return `the command line "${line}" looks like an attack (${scoreOf(logit).toFixed(2)} of 1)${because}`;
}
