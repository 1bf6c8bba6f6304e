import type { CommandResult } from "@picket/protocol/command";
import type { State } from "./state.ts";

const MAX_WAITING = 256;
const MAX_RECENT = 64;

/** Results until the broker has them, and recent ones by the hash of their command, so that a second delivery gets the same answer. */
export function outbox(state: State) {
  const sameAs = (result: CommandResult) => (other: CommandResult) => JSON.stringify(other) === JSON.stringify(result);
  function put(result: CommandResult): void {
    if (state.outbox.some(sameAs(result))) return;
    state.outbox.push(result);
    // A flood of refusals must not push out the answer to a command that was obeyed.
    while (state.outbox.length > MAX_WAITING)
      state.outbox.splice(
        Math.max(
          0,
          state.outbox.findIndex((one) => !isAnswer(one)),
        ),
        1,
      );
  }
  return {
    put,
    /** For a command that was obeyed, or tried: it will be answered the same when it is delivered again. */
    remember(hash: string, result: CommandResult): void {
      state.recent.push({ hash, result });
      if (state.recent.length > MAX_RECENT) state.recent.shift();
      put(result);
    },
    answerTo: (hash: string) => state.recent.find((entry) => entry.hash === hash)?.result,
    waiting: (): readonly CommandResult[] => [...state.outbox],
    /** Whether it was waiting. */
    delivered(result: CommandResult): boolean {
      const index = state.outbox.findIndex(sameAs(result));
      if (index >= 0) state.outbox.splice(index, 1);
      return index >= 0;
    },
  };
}

const isAnswer = (result: CommandResult) => result.code === "done" || result.code === "failed" || result.code === "rolled-back";

const BURST = 5;
const REFILL_MS = 60_000;

/** At most `BURST` of a kind at once and one a minute after that, so that a hostile broker cannot fill the device's buffer. What is held back is counted. */
export function refusalLimit(uptimeMs: () => number) {
  const kinds = new Map<string, { tokens: number; atMs: number; held: number }>();
  function bucket(kind: string) {
    const nowMs = uptimeMs();
    const known = kinds.get(kind);
    if (!known) {
      const fresh = { tokens: BURST, atMs: nowMs, held: 0 };
      kinds.set(kind, fresh);
      return fresh;
    }
    const earned = Math.floor((nowMs - known.atMs) / REFILL_MS);
    if (earned > 0) {
      known.tokens = Math.min(BURST, known.tokens + earned);
      known.atMs += earned * REFILL_MS;
    }
    return known;
  }
  return {
    /** Undefined: hold it back. Otherwise how many of its kind were held back since the last one that was not. */
    take(kind: string): number | undefined {
      const of = bucket(kind);
      if (of.tokens === 0) {
        of.held++;
        return undefined;
      }
      of.tokens--;
      const { held } = of;
      of.held = 0;
      return held;
    },
    /** Kinds with something held back that may be told now. */
    due: () => [...kinds.keys()].filter((kind) => bucket(kind).held > 0 && bucket(kind).tokens > 0),
  };
}
