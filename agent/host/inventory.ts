// host.inventory: what there is on a device, told as differences. The first time everything is "added"; after that only what changed, also over restarts.
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { EventDraft, EventOf } from "@picket/protocol/event";
import type { Capability } from "@picket/protocol/status";
import * as z from "zod";

export type Row = EventOf<"host.inventory">["body"]["row"];
export type Table = {
  readonly name: string;
  /** Seconds. */
  readonly everyS: number;
  /** What there is now; undefined when that is what there was at the last call. Throws or rejects when it cannot be read; then nothing is told. */
  rows(): Iterable<Row> | undefined | Promise<Iterable<Row>>;
};

/** Rows of a table; what is more is left out, and the capability says so. */
const MAX_ROWS = 10_000;
/** Between the first looks at two tables, so that the start is not all of it at once. */
const FIRST_S = 3;
/** Among the problems of tables. */
const MEMORY = "";

const Saved = z.record(z.string(), z.array(z.string()));

export type Inventory = Disposable & { capability(): Capability };

/** Looks at each table now and then. `path`: where it remembers what it told; a file that cannot be read is begun anew, one that cannot be written is said. */
export function startInventory(of: {
  readonly tables: readonly Table[];
  readonly path: string;
  readonly emit: (draft: EventDraft) => void;
  readonly firstS?: number;
}): Inventory {
  const known = new Map(Object.entries(load(of.path)).map(([table, rows]) => [table, new Set(rows)]));
  const problems = new Map<string, string>();
  const timers = new Set<NodeJS.Timeout>();
  let stopped = false;
  let unsaved = false;

  const look = async (table: Table) => {
    try {
      const read = await table.rows();
      if (stopped) return;
      const rows = read && bounded(read, table.name, problems);
      if (rows && tell(table.name, known.get(table.name), rows, of.emit)) {
        known.set(table.name, rows);
        unsaved = true;
      }
      if (unsaved) remember();
    } catch (error) {
      problems.set(table.name, `${table.name}: ${error instanceof Error ? error.message : error}`);
    }
  };
  const remember = () => {
    try {
      save(of.path, known);
      unsaved = false;
      problems.delete(MEMORY);
    } catch (error) {
      problems.set(MEMORY, `what was told cannot be remembered: ${error instanceof Error ? error.message : error}`);
    }
  };
  const schedule = (table: Table, afterMs: number) => {
    const timer = setTimeout(async () => {
      timers.delete(timer);
      await look(table);
      if (!stopped) schedule(table, table.everyS * 1000);
    }, afterMs);
    timers.add(timer);
  };
  for (const [at, table] of of.tables.entries()) schedule(table, (at + 1) * (of.firstS ?? FIRST_S) * 1000);
  return {
    capability: () =>
      problems.size === 0
        ? { name: "inventory", level: "live", why: `${of.tables.length} tables` }
        : { name: "inventory", level: "degraded", why: [...problems.values()].join("; ").slice(0, 512) },
    [Symbol.dispose]: () => {
      stopped = true;
      for (const timer of timers) clearTimeout(timer);
    },
  };
}

/** Rows as texts with their columns in order: equal rows are equal texts. */
function bounded(rows: Iterable<Row>, table: string, problems: Map<string, string>): Set<string> {
  const texts = new Set<string>();
  problems.delete(table);
  for (const row of rows) {
    if (texts.size === MAX_ROWS) {
      problems.set(table, `${table} has more than ${MAX_ROWS} rows`);
      break;
    }
    texts.add(JSON.stringify(Object.fromEntries(Object.entries(row).sort(([a], [b]) => (a < b ? -1 : 1)))));
  }
  return texts;
}

/** True when anything differs. */
function tell(
  table: string,
  before: ReadonlySet<string> | undefined,
  now: ReadonlySet<string>,
  emit: (draft: EventDraft) => void,
): boolean {
  const say = (op: "added" | "removed", text: string) =>
    emit({ type: "host.inventory", timeMs: Date.now(), body: { table, op, row: JSON.parse(text) as Row } });
  const removed = [...(before ?? [])].filter((text) => !now.has(text));
  const added = [...now].filter((text) => !before?.has(text));
  for (const text of removed) say("removed", text);
  for (const text of added) say("added", text);
  return before === undefined || removed.length + added.length > 0;
}

function load(path: string): z.infer<typeof Saved> {
  try {
    return Saved.parse(JSON.parse(readFileSync(path, "utf8")));
  } catch {
    return {};
  }
}

function save(path: string, known: ReadonlyMap<string, ReadonlySet<string>>): void {
  const text = JSON.stringify(Object.fromEntries([...known].map(([table, rows]) => [table, [...rows]])));
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
