// The dialog in which an exception is made from an alert: what it says, why, and what it would have hidden, before it is saved.
import { whatIsTooWide } from "@picket/protocol/exception";
import { wrap } from "../cells.ts";
import { conditionWords, previewWords, whatWords } from "../exception-words.ts";
import { blank, type Line, line, span } from "../line.ts";
import { draftOf, type Prompt } from "../state/state.ts";

type Question = Extract<Prompt, { kind: "exception" }>;

/** Rows of one condition: a command line may be long. */
const CONDITION_ROWS = 3;

export function exceptionLines(prompt: Question, nowMs: number, columns: number): Line[] {
  const head = [blank, line("  ", span("EXCEPTION ", "high"), span(prompt.title, "title")), blank];
  switch (prompt.step) {
    case "shape":
      return [...head, ...shapeLines(prompt, columns)];
    case "reason":
      return [...head, ...hiddenLines(prompt, columns), blank, ...reasonLines(prompt, columns)];
    case "preview":
      return [...head, ...hiddenLines(prompt, columns), blank, ...outcomeLines(prompt, nowMs, columns)];
  }
}

const text = (value: string, columns: number) => wrap(value, columns - 4).map((row) => line("  ", row));
const days = (count: number) => `${count} day${count === 1 ? "" : "s"}`;

function shapeLines(prompt: Question, columns: number): Line[] {
  const { where, dropped, device, allDevices } = prompt;
  const wrong = whatIsTooWide(draftOf(prompt));
  const mark = (on: boolean) => (on ? span("[x] ", "good") : span("[ ] ", "faint"));
  const conditions = Object.entries(where).flatMap(([key, values], index) => {
    const rows = wrap(conditionWords(key, values), columns - 11);
    const shown = rows.slice(0, CONDITION_ROWS);
    return shown.map((row, at) =>
      line(
        ...(at === 0 ? ["   ", span(String(index + 1), "key"), " ", mark(!dropped.includes(key))] : ["         "]),
        span(row, dropped.includes(key) ? "faint" : "plain"),
        at === shown.length - 1 && rows.length > shown.length ? " …" : "",
      ),
    );
  });
  return [
    ...text("It hides what this rule finds, where all that is marked holds:", columns),
    blank,
    ...conditions,
    line("   ", span("d", "key"), " ", mark(!allDevices), allDevices ? span("on all devices of this site", "high") : `only on ${device}`),
    line("   ", span("+ -", "key"), `   for ${days(prompt.days)}, then it ends by itself`),
    ...(wrong ? [blank, ...wrap(wrong.what, columns - 4).map((row) => line("  ", span(row, "bad")))] : []),
  ];
}

const hiddenLines = (prompt: Question, columns: number): Line[] =>
  text(`It hides ${whatWords(draftOf(prompt))}, for ${days(prompt.days)}.`, columns).slice(0, 6);

function reasonLines({ typed }: Question, columns: number): Line[] {
  const rows = wrap(typed, columns - 5);
  return [
    line("  ", span("Why is this no alert?", "title"), " Other operators see it."),
    blank,
    ...rows.map((row, index) => line("  ", row, ...(index === rows.length - 1 ? [span("▏", "key")] : []))),
  ];
}

function outcomeLines({ outcome, typed }: Question, nowMs: number, columns: number): Line[] {
  const reason = text(`Reason: ${typed}`, columns).slice(0, 2);
  switch (outcome.state) {
    case "looking": {
      const share = outcome.total === 0 ? "" : ` ${Math.floor((100 * outcome.events) / outcome.total)} %`;
      return [
        ...reason,
        blank,
        ...text(`Looking at what it would have hidden in the last 7 days:${share} (${outcome.events} of ${outcome.total} events)`, columns),
      ];
    }
    case "failed":
      return [
        ...reason,
        blank,
        ...wrap(`What it would have hidden cannot be told: ${outcome.why}`, columns - 4).map((row) => line("  ", span(row, "bad"))),
      ];
    case "known": {
      const { warnings, lines } = previewWords(outcome.preview, nowMs);
      return [
        ...reason,
        blank,
        ...warnings.flatMap((warning) => wrap(warning, columns - 4).map((row) => line("  ", span(row, "bad")))),
        ...lines.flatMap((words, index) =>
          wrap(words, columns - 4)
            .slice(0, index < 2 ? 4 : 2)
            .map((row) => line("  ", span(row, index === 0 ? "title" : index === 1 ? "plain" : "faint"))),
        ),
        blank,
        line("  ", span("y", "key"), " saves it; this alert is closed as a false positive with it."),
      ];
    }
  }
}
