// What must not outlive a bench, however it ends: programs it started, folders it made, what it changed of the host.
import { constants } from "node:os";

const left = new Set<() => void>();

/** `undo` is run when the bench ends before the returned function was called. It must be done when it returns. */
export function undoneAtEnd(undo: () => void): () => void {
  left.add(undo);
  return () => void left.delete(undo);
}

/** From now on a signal ends this process only after everything was undone, last things first; so does an error that nobody catches. */
export function undoAtEnd(): void {
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => {
      undoAll();
      process.exit(128 + constants.signals[signal]);
    });
  process.on("exit", undoAll);
}

function undoAll(): void {
  for (const undo of [...left].reverse()) {
    left.delete(undo);
    try {
      undo();
    } catch (error) {
      console.error(`bench: ${error instanceof Error ? error.message : error}`);
    }
  }
}
