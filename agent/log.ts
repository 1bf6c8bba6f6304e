import { jsonLine } from "./output/line.ts";

const order = { info: 0, warn: 1, error: 2 } as const;
export type Level = keyof typeof order;
export type Log = (level: Level, message: string, more?: Record<string, unknown>) => void;

/** NDJSON lines with constant keys, one for each thing an operator can act on. `write` takes a whole line. */
export function createLog(least: Level, write: (line: string) => void, nowMs: () => number = Date.now): Log {
  return (level, message, more = {}) => {
    if (order[level] < order[least]) return;
    write(jsonLine({ time: new Date(nowMs()).toISOString(), level, part: "agent", message, ...more }));
  };
}
