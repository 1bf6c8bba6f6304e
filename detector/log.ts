/** Writes a structured line: constant words, details apart. */
export type Log = (level: "info" | "warn" | "error", message: string, details?: Record<string, unknown>) => void;

/** NDJSON lines through `write`, each with the time of `nowMs`. JSON keeps what a device wrote from steering a terminal. */
export function jsonLog(write: (line: string) => void, nowMs: () => number): Log {
  return (level, message, details) =>
    write(`${escaped(JSON.stringify({ time: new Date(nowMs()).toISOString(), part: "detector", level, message, ...details }))}\n`);
}

/** JSON leaves the C1 controls as they are; a terminal does not. */
const escaped = (json: string): string =>
  json.replaceAll(/[\u007F-\u009F]/g, (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, "0")}`);
