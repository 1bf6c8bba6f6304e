import { DEAD_MAN_DEFAULT_MS } from "@picket/protocol/command";
import type { StreamItem } from "@picket/protocol/rest";
import { render } from "ink";
import { createElement } from "react";
import { type Actions, createActions, type LookAhead } from "./actions.ts";
import { App } from "./app.tsx";
import type { SiteClient } from "./client/client.ts";
import { follow } from "./client/follow.ts";
import type { Sign } from "./client/order.ts";
import { snapshot } from "./client/snapshot.ts";
import { initialState, viewOf } from "./state/state.ts";
import { createStore, type Store } from "./store.ts";

/** Arriving items are drawn together, at most this often, milliseconds. */
const FLUSH_MS = 100;

export type ConsoleOptions = {
  readonly client: SiteClient;
  readonly sign: Sign;
  /** The operator's name, for "take". */
  readonly operator: string;
  /** How long an isolated device waits for a lost site before it lets itself go, milliseconds. */
  readonly deadManMs?: number;
  /** Runs the demo attack and says what it did. Without it the key is not there. */
  readonly demoAttack?: () => Promise<string>;
  /** Tells what an exception would have hidden. Without it none can be made here. */
  readonly lookAhead?: LookAhead;
  /** Closes the console. */
  readonly signal?: AbortSignal;
};

/** Runs the console in this terminal until the operator quits; then the terminal is as it was. Throws where there is no terminal. */
export async function runConsole(options: ConsoleOptions): Promise<void> {
  if (!process.stdout.isTTY || !process.stdin.isTTY)
    throw new Error("the console needs a terminal: use `picket alerts --follow` or `picket alerts --json` where there is none");
  const stop = new AbortController();
  const store = createStore(initialState(Date.now()));
  const act = createActions({
    store,
    client: options.client,
    sign: options.sign,
    operator: options.operator,
    deadManMs: options.deadManMs ?? DEAD_MAN_DEFAULT_MS,
    demoAttack: options.demoAttack,
    lookAhead: options.lookAhead,
    quit: () => screen.unmount(),
    now: Date.now,
    signal: stop.signal,
  });
  const color = !process.env.NO_COLOR && process.env.TERM !== "dumb";
  const app = createElement(App, { store, act, color });
  const screen = render(app, { alternateScreen: true, interactive: true, exitOnCtrlC: true });
  const close = () => screen.unmount();
  // The terminal was closed. An error comes again when it cannot be set back as it was (EIO): nobody is there to miss it.
  for (const event of ["end", "error"] as const) process.stdin.on(event, close);
  if (options.signal?.aborted) close();
  options.signal?.addEventListener("abort", close, { once: true });
  const tick = setInterval(() => store.dispatch({ kind: "tick", nowMs: Date.now() }), 1000);
  const following = followSite(options.client, store, act, stop.signal);
  try {
    await screen.waitUntilExit();
  } finally {
    clearInterval(tick);
    stop.abort();
    await following;
  }
}

/** Keeps the store like the site: a snapshot after every connect, then the live items. */
async function followSite(
  client: SiteClient,
  store: Store,
  { readEvidence, readHistory, readIncident }: Pick<Actions, "readEvidence" | "readHistory" | "readIncident">,
  signal: AbortSignal,
): Promise<void> {
  let waiting: StreamItem[] = [];
  let timer: ReturnType<typeof setTimeout> | undefined;
  const flush = () => {
    timer = undefined;
    const items = waiting;
    waiting = [];
    store.dispatch({ kind: "items", items, nowMs: Date.now() });
    readAgain(store, readEvidence);
    const view = viewOf(store.get());
    // A heartbeat: its ledger has gone on.
    if (view.kind === "device" && items.some((item) => item.kind === "device" && item.device.id === view.id)) readHistory(view.id);
  };
  await follow(
    client,
    {
      async open() {
        store.dispatch({ kind: "snapshot", ...(await snapshot(client)), nowMs: Date.now() });
        const view = viewOf(store.get());
        if (view.kind === "alert") readEvidence(view.id);
        if (view.kind === "incident") readIncident(view.id);
        if (view.kind === "device") readHistory(view.id);
      },
      item(item) {
        waiting.push(item);
        timer ??= setTimeout(flush, FLUSH_MS);
      },
      lost: (error) => store.dispatch({ kind: "lost", why: error.message, hint: error.hint, nowMs: Date.now() }),
    },
    signal,
  );
  clearTimeout(timer);
}

/** An open alert that grew is read again, so that its evidence is what its count says. */
function readAgain(store: Store, readEvidence: (alert: string) => void): void {
  const state = store.get();
  const view = viewOf(state);
  if (view.kind !== "alert") return;
  const alert = state.alerts.get(view.id);
  const evidence = state.evidence.get(view.id);
  if (alert && evidence && "events" in evidence && evidence.revision < alert.revision) readEvidence(view.id);
}
