// An engine as tests need one: it finds programs by name, after a while.
import { processOf } from "@picket/protocol/event";
import type { Engine, Finding, RuleFacts } from "../finding.ts";

const rule: RuleFacts = {
  id: "test-model",
  title: "A model finds it odd",
  level: "medium",
  attack: { tactics: ["execution"], techniques: ["T1059"] },
  score: 61,
  alerts: true,
};

/** Finds every event of the program `exe`. It answers after `turns` turns of the event loop. */
export function findsExe(exe: string, turns = 3): Engine & { readonly asked: number[] } {
  const asked: number[] = [];
  return {
    name: "test",
    asked,
    judge({ events }) {
      asked.push(events.length);
      const found = events.flatMap((event, at): [number, Finding[]][] =>
        processOf(event)?.exe === exe ? [[at, [{ engine: "onnx", rule, summary: `odd: ${exe}` }]]] : [],
      );
      if (found.length === 0) return undefined;
      return (async () => {
        for (let turn = 0; turn < turns; turn++) await Promise.resolve();
        return new Map(found);
      })();
    },
  };
}
