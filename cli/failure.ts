// How every command fails: one place decides the words and the exit code.
import { BadConfig } from "@picket/protocol/config";
import { SiteError } from "@picket/tui/client/site-error";
import { untrusted } from "@picket/tui/untrusted";

/** Something the person at the keyboard can put right. `exitCode` 1: it failed; 2: it was called wrongly. */
export class Failure extends Error {
  override name = "Failure";
  readonly hint: string | undefined;
  readonly exitCode: 1 | 2;

  constructor(message: string, hint?: string, exitCode: 1 | 2 = 1) {
    super(message);
    this.hint = hint;
    this.exitCode = exitCode;
  }
}

/** What to print for an error, and the exit code. Text that came from elsewhere cannot steer the terminal. */
export function explain(error: unknown): { lines: string[]; exitCode: 1 | 2 } {
  const [message, hint, exitCode] = partsOf(error);
  const lines = message.split("\n").map((row) => untrusted(row));
  return { lines: [`picket: ${lines.join("\n        ")}`, ...(hint ? [`  to do: ${untrusted(hint)}`] : [])], exitCode };
}

function partsOf(error: unknown): [message: string, hint: string | undefined, exitCode: 1 | 2] {
  if (error instanceof Failure) return [error.message, error.hint, error.exitCode];
  if (error instanceof SiteError) return [error.message, error.hint, 1];
  if (error instanceof BadConfig)
    return [
      `the configuration cannot be used:\n${error.message}`,
      "Correct the lines above; `picket site show --config FILE` prints what is read.",
      1,
    ];
  // Errors of other parts (operator keys, broker, demo) carry their advice in the message or in `hint`.
  if (error instanceof Error) return [error.message, hintOf(error), 1];
  return [String(error), undefined, 1];
}

function hintOf(error: Error): string | undefined {
  const hint: unknown = "hint" in error ? error.hint : undefined;
  return typeof hint === "string" ? hint : undefined;
}
