// What the real agent still has: looked up in its status file while it runs, and in its buffer once it has stopped.
import { Database } from "bun:sqlite";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** A device in use always holds something: so few are sent within the two seconds of a stop. */
const FEW = 300;

/** Whether the agent, by the status file in its folder for memory, is connected and holds next to nothing, of what was made before `sinceMs`. */
export function isNearlyEmpty(run: string, sinceMs: number): boolean {
  const folder = join(run, "picket");
  const file = existsSync(folder) ? readdirSync(folder).find((name) => name.endsWith(".json")) : undefined;
  if (file === undefined) return false;
  const { connected, online } = JSON.parse(readFileSync(join(folder, file), "utf8"));
  return connected === true && online.timeMs > sinceMs && online.buffer.events < FEW;
}

/** Events in the buffer of an agent that has stopped, as "epoch:seq". */
export function heldBy(state: string): Set<string> {
  const path = join(state, "buffer.db");
  if (!existsSync(path)) return new Set();
  using db = new Database(path);
  const rows = db.query<{ epoch: string; seq: number }, []>(
    "SELECT epoch, events.id - base AS seq FROM events JOIN epochs ON base = (SELECT max(base) FROM epochs WHERE base <= events.id)",
  );
  return new Set(rows.all().map(({ epoch, seq }) => `${epoch}:${seq}`));
}
