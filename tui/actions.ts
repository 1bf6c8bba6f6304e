// What keys set in motion: the only effects of the console besides drawing.
import type { Act, Action } from "@picket/protocol/command";
import type { BodyOf } from "@picket/protocol/rest";
import type { SiteClient } from "./client/client.ts";
import { followOrder, type Sign, sendOrder } from "./client/order.ts";
import type { Store } from "./store.ts";
import { commandView } from "./words.ts";

export type Actions = {
  readonly quit: () => void;
  /** Reads the events of an alert, or again when it grew. */
  readonly readEvidence: (alert: string) => void;
  readonly readHistory: (device: string) => void;
  /** Tells the site what the operator decided. `said` is shown when it agreed. */
  readonly judge: (alert: string, decision: BodyOf<"judge">, said: string) => void;
  readonly order: (act: Act, device: string, reason: string) => void;
  /** Absent where there is nothing to attack. */
  readonly demoAttack: (() => void) | undefined;
  readonly operator: string;
  readonly deadManMs: number;
};

type Needs = {
  readonly store: Store;
  readonly client: SiteClient;
  readonly sign: Sign;
  readonly operator: string;
  readonly deadManMs: number;
  readonly demoAttack: (() => Promise<string>) | undefined;
  readonly quit: () => void;
  readonly now: () => number;
  readonly signal: AbortSignal;
};

/** The effects, bound to one console. None of them throws: what went wrong is shown. */
export function createActions(needs: Needs): Actions {
  const { store, client, operator, deadManMs, demoAttack, quit } = needs;
  const say = (tone: "good" | "bad" | "plain", text: string) => store.dispatch({ kind: "say", message: { tone, text } });
  const reading = new Set<string>();

  async function readEvidence(alert: string) {
    if (reading.has(alert)) return;
    reading.add(alert);
    try {
      const answer = await client.call("alert", { params: { id: alert } });
      store.dispatch({ kind: "evidence", alert, evidence: { events: answer.events, revision: answer.alert.revision } });
    } catch (error) {
      store.dispatch({ kind: "evidence", alert, evidence: { error: wordsOf(error) } });
    } finally {
      reading.delete(alert);
    }
  }

  return {
    quit,
    operator,
    deadManMs,
    readEvidence: (alert) => void readEvidence(alert),
    readHistory: (device) =>
      void client.call("device", { params: { id: device } }).then(
        ({ commands, ledger }) => store.dispatch({ kind: "history", device, commands, ledger }),
        (error: unknown) => say("bad", wordsOf(error)),
      ),
    judge: (alert, decision, said) =>
      void client.call("judge", { params: { id: alert }, body: decision }).then(
        (answer) => {
          store.dispatch({ kind: "items", items: [{ kind: "alert", alert: answer.alert }], nowMs: needs.now() });
          say("good", said);
        },
        (error: unknown) => say("bad", wordsOf(error)),
      ),
    order: (act, device, reason) => void order(needs, act, device, reason),
    demoAttack: demoAttack ? once(demoAttack, say) : undefined,
  };
}

/** Runs the demo attack, one at a time. */
function once(demoAttack: () => Promise<string>, say: (tone: "good" | "bad" | "plain", text: string) => void): () => void {
  let runs = false;
  return () => {
    if (runs) return say("plain", "the demo attack is still running");
    runs = true;
    say("plain", "the demo attack runs: harmless, undone afterwards; alerts follow in seconds");
    demoAttack()
      .then(
        (text) => say("good", text),
        (error: unknown) => say("bad", `the demo attack failed: ${wordsOf(error)}`),
      )
      .finally(() => {
        runs = false;
      });
  };
}

async function order(needs: Needs, act: Act, device: string, reason: string): Promise<void> {
  const { store, client, now } = needs;
  const startedMs = now();
  const key = nextJob++;
  const show = (outcome: "pending" | "done" | "failed", words: string) =>
    store.dispatch({
      kind: "job",
      job: { key, act, device, startedMs, outcome, words, ...(outcome === "pending" ? {} : { endedMs: now() }) },
    });
  show("pending", `signing the order for ${device}`);
  try {
    const sent = await sendOrder(client, needs.sign, device, actionOf(act, reason, needs.deadManMs));
    for await (const step of followOrder(client, sent, { signal: needs.signal })) {
      const view = commandView(step.command, step.device, now());
      show(view.outcome, view.words);
      store.dispatch({ kind: "items", items: [{ kind: "device", device: step.device }], nowMs: now() });
    }
  } catch (error) {
    show("failed", wordsOf(error));
  }
}

let nextJob = 1;

function actionOf(act: Act, reason: string, deadManMs: number): Action {
  switch (act) {
    case "isolate":
      return { act, args: { reason, deadManMs } };
    case "release":
      return { act, args: { reason } };
  }
}

function wordsOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Errors of several parts carry what to do in `hint`.
  const hint = "hint" in error && typeof error.hint === "string" ? error.hint : undefined;
  return hint ? `${error.message.replace(/\.$/, "")}. ${hint}` : error.message;
}
