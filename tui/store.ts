import { reduce } from "./state/reduce.ts";
import type { ConsoleState, Step } from "./state/state.ts";

export type Store = {
  readonly get: () => ConsoleState;
  readonly dispatch: (step: Step) => void;
  readonly subscribe: (listener: () => void) => () => void;
};

/** Holds the state outside of React, so that keys and arriving data always meet the newest one. */
export function createStore(initial: ConsoleState): Store {
  let state = initial;
  const listeners = new Set<() => void>();
  return {
    get: () => state,
    dispatch(step) {
      state = reduce(state, step);
      for (const listener of listeners) listener();
    },
    subscribe(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
}
