// What keys set in motion: the only effects of the console besides drawing.
import type { Action } from "@picket/protocol/command";
import type { ExceptionPreview, ExceptionRequest } from "@picket/protocol/exception";
import type { BodyOf, StreamItem } from "@picket/protocol/rest";
import type { SiteClient } from "./client/client.ts";
import { followOrder, type Sign, sendOrder } from "./client/order.ts";
import type { NetworkAct, PreviewOutcome } from "./state/state.ts";
import type { Store } from "./store.ts";
import { commandView } from "./words.ts";

type Draft = Pick<ExceptionRequest, "rule" | "where" | "devices">;

/** Tells what an exception would have hidden; ends early with what it has when `signal` aborts. */
export type LookAhead = (
  draft: Draft,
  of: { sinceMs: number; signal: AbortSignal; told: (events: number, total: number) => void },
) => Promise<ExceptionPreview>;

/** How far back a dialog looks, and how often it says how far it is. Milliseconds. */
const LOOK_BACK_MS = 7 * 86_400_000;
const TELL_MS = 200;

export type Actions = {
  readonly quit: () => void;
  /** Reads the events of an alert, or again when it grew. */
  readonly readEvidence: (alert: string) => void;
  readonly readHistory: (device: string) => void;
  /** Tells the site what the operator decided. `said` is shown when it agreed. */
  readonly judge: (alert: string, decision: BodyOf<"judge">, said: string) => void;
  readonly judgeIncident: (incident: string, decision: BodyOf<"judgeIncident">, said: string) => void;
  /** Reads an incident with all its alerts. */
  readonly readIncident: (incident: string) => void;
  /** Whether it can be told what an exception would have hidden. */
  readonly canPreview: boolean;
  /** Looks at what an exception would have hidden, for the dialog about this alert. A second one ends the first. */
  readonly preview: (alert: string, draft: Draft) => void;
  /** Has it tell what it has. */
  readonly stopPreview: () => void;
  readonly except: (request: ExceptionRequest) => void;
  readonly order: (act: NetworkAct, device: string, reason: string) => void;
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
  readonly lookAhead: LookAhead | undefined;
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
      store.dispatch({ kind: "evidence", alert, evidence: { events: answer.events, revision: answer.alert.revision, seen: answer.seen } });
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
    ...incidentActions(needs, say),
    ...exceptionActions(needs, say),
    order: (act, device, reason) => void order(needs, act, device, reason),
    demoAttack: demoAttack ? once(demoAttack, say) : undefined,
  };
}

type Say = (tone: "good" | "bad" | "plain", text: string) => void;

function incidentActions({ store, client, now }: Needs, say: Say): Pick<Actions, "judgeIncident" | "readIncident"> {
  const arrived = (items: readonly StreamItem[]) => store.dispatch({ kind: "items", items, nowMs: now() });
  return {
    judgeIncident: (incident, decision, said) =>
      void client.call("judgeIncident", { params: { id: incident }, body: decision }).then(
        (answer) => {
          arrived([{ kind: "incident", incident: answer.incident }]);
          say("good", said);
        },
        (error: unknown) => say("bad", wordsOf(error)),
      ),
    readIncident: (id) =>
      void client.call("incident", { params: { id } }).then(
        ({ incident, alerts }) =>
          arrived([{ kind: "incident", incident }, ...alerts.map((alert): StreamItem => ({ kind: "alert", alert }))]),
        (error: unknown) => say("bad", wordsOf(error)),
      ),
  };
}

function exceptionActions(
  { store, client, lookAhead, now, signal }: Needs,
  say: Say,
): Pick<Actions, "canPreview" | "preview" | "stopPreview" | "except"> {
  let looking: { stop: AbortController } | undefined;
  return {
    canPreview: lookAhead !== undefined,
    preview: (alert, draft) => {
      looking?.stop.abort();
      const mine = { stop: new AbortController() };
      looking = mine;
      let toldMs = 0;
      const tell = (outcome: PreviewOutcome) => {
        if (looking === mine) store.dispatch({ kind: "preview", alert, outcome });
      };
      const told = (events: number, total: number) => {
        if (now() - toldMs < TELL_MS) return;
        toldMs = now();
        tell({ state: "looking", events, total });
      };
      lookAhead?.(draft, { sinceMs: now() - LOOK_BACK_MS, signal: AbortSignal.any([signal, mine.stop.signal]), told }).then(
        (preview) => tell({ state: "known", preview }),
        (error: unknown) => tell({ state: "failed", why: wordsOf(error) }),
      );
    },
    stopPreview: () => looking?.stop.abort(),
    except: (body) =>
      void client.call("addException", { body }).then(
        ({ exception }) => say("good", `exception ${exception.id} holds from now on; the alert is closed as a false positive`),
        (error: unknown) => say("bad", wordsOf(error)),
      ),
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

async function order(needs: Needs, act: NetworkAct, device: string, reason: string): Promise<void> {
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

function actionOf(act: NetworkAct, reason: string, deadManMs: number): Action {
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
