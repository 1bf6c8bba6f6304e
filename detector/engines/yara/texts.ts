// YARA rules over what is typed instead of written to files: command lines, and what they hide in base64. Only rules that say they are meant for it (`text = true`).
import type { SensorEvent } from "@picket/protocol/event";
import { loadYara } from "@picket/rules/load";
import type { RuleFile } from "@picket/rules/rule";
import { builtinYara } from "@picket/rules/yara/builtin";
import type { Engine, EventBatch, Finding, Findings } from "../../finding.ts";
import { baseName, clean, shortKey } from "../../text.ts";
import { commandText, decodedIn, shown } from "./decoded.ts";
import { createScanner, factsOf, type Scanner, type Verdict, type YaraMatch } from "./scanner.ts";

/** Of a command line; the kernel side copies less. */
const MAX_TEXT = 16 << 10;
/** Texts whose verdict is remembered, by themselves when short, else by hash. */
const MAX_KNOWN = 8192;
const MAX_KEY = 256;
const TIMEOUT_MS = 2000;
/** Texts that a rule hung or ended at, after which no more are scanned until the rules change. */
const MAX_FAILURES = 3;
const MAX_WHY = 200;

/** Whether a rule file has a rule that is meant for texts. */
const isForTexts = (text: string): boolean => /^\s*text\s*=\s*true\b/m.test(text);

export type TextRules = AsyncDisposable & {
  readonly rules: number;
  /** At once for a text that is known. */
  readonly scan: (text: string) => Answer;
};
type Found = { readonly match: YaraMatch; readonly text: string; readonly decoded: boolean };
type Answer = readonly Found[] | Promise<readonly Found[]>;
type Log = (level: "warn" | "error", message: string, details?: Record<string, unknown>) => void;

/** Compiles what is meant for texts. Undefined when there is none: then no event costs anything. What cannot be used was told by who scans files. */
export async function openTextRules(of: {
  readonly packs: readonly string[];
  readonly builtin: boolean;
  readonly log: Log;
}): Promise<TextRules | undefined> {
  const { packs, builtin, log } = of;
  const files: readonly RuleFile[] = [...(builtin ? builtinYara() : []), ...(await loadYara(packs)).files];
  if (!files.some(({ text }) => isForTexts(text))) return undefined;
  const scanner = await createScanner({ packs, builtin, only: isForTexts, limits: { timeoutMs: TIMEOUT_MS } });
  return textRules(scanner, log);
}

function textRules(scanner: Scanner, log: Log): TextRules {
  /** What was not used while `young` filled up is forgotten with `old`: nearly the least recently used, for one look and no writing. */
  let young = new Map<string, Answer>();
  let old = new Map<string, Answer>();
  let failures = 0;

  const scan = (text: string) => scanner.scan(Buffer.from(text)).catch((): Verdict => ({ matches: [], error: "crashed" }));
  const ask = async (text: string): Promise<readonly YaraMatch[]> => {
    if (failures >= MAX_FAILURES) return [];
    let { matches, error } = await scan(text);
    // The thread may have ended of something else; the next is new.
    if (error === "crashed") ({ matches, error } = await scan(text));
    if (error === undefined) return matches.filter(({ meta }) => meta.text === true);
    log("error", "a command line could not be scanned", { error, text: clean(text, 200) });
    if (++failures === MAX_FAILURES) log("error", "no more command lines are scanned until the YARA rules change", { failures });
    return [];
  };
  const scanNew = async (text: string): Promise<readonly Found[]> => {
    const found: Found[] = (await ask(text)).map((match) => ({ match, text, decoded: false }));
    for (const inner of decodedIn(text))
      for (const match of await ask(inner))
        if (!found.some((one) => one.match.rule === match.rule)) found.push({ match, text: inner, decoded: true });
    return found;
  };
  const remember = (key: string, answer: Answer) => {
    young.set(key, answer);
    if (young.size <= MAX_KNOWN / 2) return;
    old = young;
    young = new Map();
  };
  return {
    rules: scanner.rules,
    scan: (text) => {
      const key = shortKey(text, MAX_KEY);
      const before = young.get(key);
      if (before) return before;
      const aged = old.get(key);
      if (aged) {
        remember(key, aged);
        return aged;
      }
      const answer = scanNew(text).then((found) => {
        if (young.get(key) === answer) young.set(key, found);
        else if (old.get(key) === answer) old.set(key, found);
        return found;
      });
      remember(key, answer);
      return answer;
    },
    [Symbol.asyncDispose]: () => scanner[Symbol.asyncDispose](),
  };
}

/** The engine of one session over rules that outlive it. `rules` must not reject. */
export function textEngine(rules: () => Promise<TextRules | undefined>): Engine {
  let ready: { readonly rules: TextRules | undefined } | undefined;
  const load = async () => {
    ready = { rules: await rules() };
    return ready.rules;
  };
  return {
    name: "yara",
    judge: (batch) => {
      if (ready && !ready.rules) return undefined;
      const texts = textsOf(batch);
      if (texts.length === 0) return undefined;
      if (!ready)
        return load()
          .then((made) => made && judgeTexts(texts, made))
          .then((findings) => findings ?? nothing);
      return judgeTexts(texts, ready.rules!);
    },
  };
}

const nothing: Findings = new Map();

/** Undefined at once when all texts are known and none matches. */
function judgeTexts(texts: readonly Typed[], rules: TextRules): Promise<Findings> | undefined {
  const asked = texts.flatMap((typed) => {
    const found = rules.scan(typed.text);
    return Array.isArray(found) && found.length === 0 ? [] : [{ typed, found }];
  });
  return asked.length === 0 ? undefined : findingsOf(asked);
}

type Typed = { readonly index: number; readonly text: string; readonly event: Extract<SensorEvent, { type: "process.exec" }> };

function textsOf({ events, arrivals }: EventBatch): Typed[] {
  const texts: Typed[] = [];
  for (const [index, event] of events.entries()) {
    if (event.type !== "process.exec" || arrivals[index]!.foreign) continue;
    const text = commandText(event.body.process.argv, MAX_TEXT);
    if (text !== "") texts.push({ index, text, event });
  }
  return texts;
}

async function findingsOf(asked: readonly { readonly typed: Typed; readonly found: Answer }[]): Promise<Findings> {
  const findings = new Map<number, Finding[]>();
  for (const { typed, found } of asked) {
    const matched = await found;
    if (matched.length > 0)
      findings.set(
        typed.index,
        matched.map((one) => findingOf(one, typed.event)),
      );
  }
  return findings;
}

function findingOf({ match, text, decoded }: Found, { body }: Typed["event"]): Finding {
  const rule = factsOf(match);
  const why = match.strings.slice(0, 3).map(({ identifier, excerpt }) => `${identifier} ${JSON.stringify(excerpt)}`);
  const where = decoded ? "hides in base64 in its command line what" : "has a command line that";
  return {
    engine: "yara",
    rule,
    summary: `${baseName(clean(body.process.exe, 300))} (pid ${body.process.pid}) ${where} matches ${rule.title}${why.length === 0 ? "" : `: ${clean(why.join(", "), MAX_WHY)}`}. Text: ${shown(text)}`,
  };
}
