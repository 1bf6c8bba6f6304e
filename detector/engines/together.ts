// Several engines as one: what each says of an event, joined.
import type { Engine, EventBatch, Finding, Findings } from "../finding.ts";

export type Problem = (engine: string, error: unknown) => void;

/** What all `engines` say of a batch; undefined at once when none has anything to say. Never rejects: an engine that fails is told to `problem` and left out. */
export function judgeAll(engines: readonly Engine[], batch: EventBatch, problem: Problem): Promise<Findings> | undefined {
  const asked = engines.flatMap((engine) => {
    try {
      const answer = engine.judge(batch);
      return answer ? [answer.catch((error: unknown) => failed(engine, error))] : [];
    } catch (error) {
      failed(engine, error);
      return [];
    }
  });
  function failed(engine: Engine, error: unknown): Findings {
    problem(engine.name, error);
    return new Map();
  }
  return asked.length === 0 ? undefined : Promise.all(asked).then(join);
}

function join(answers: readonly Findings[]): Findings {
  if (answers.length === 1) return answers[0]!;
  const all = new Map<number, Finding[]>();
  for (const answer of answers) {
    for (const [at, findings] of answer) {
      const there = all.get(at);
      if (there) there.push(...findings);
      else all.set(at, [...findings]);
    }
  }
  return all;
}
