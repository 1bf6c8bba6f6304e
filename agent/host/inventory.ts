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
  /** A look takes much of the device: one made before a restart counts. */
  readonly dear?: boolean;
  /** What there is now; undefined when that is what there was at the last call. Throws or rejects when it cannot be read; then nothing is told. */
  rows(): Iterable<Row> | undefined | Promise<Iterable<Row>>;
};

/** Rows of a table; what is more is left out, and the capability says so. */
const MAX_ROWS = 10_000;
/** Between the first looks at two tables, so that the start is not all of it at once. */
const FIRST_S = 3;
/** Among the problems of tables. */
const MEMORY = "";

const Tables = z.record(z.string(), z.array(z.string()));
const Saved = z.object({
  tables: Tables,
  /** When dear tables were looked at, by the wall clock. */
  lookedMs: z.record(z.string(), z.number()),
});

export type Inventory = Disposable & {
  capability(): Capability;
  /** From now on one table is looked at this often, counted from its last look. Throws when there is no such table. */
  every(table: string, seconds: number): void;
};

/** When a table is looked at next; no timer while it is. */
type Turn = { readonly table: Table; everyS: number; timer: NodeJS.Timeout | undefined; lastMs: number | undefined };

/** Looks at each table now and then. `path`: where it remembers what it told; a file that cannot be read is begun anew, one that cannot be written is said. */
export function startInventory(of: {
  readonly tables: readonly Table[];
  readonly path: string;
  readonly emit: (draft: EventDraft) => void;
  readonly firstS?: number;
}): Inventory {
  const saved = load(of.path);
  const known = new Map(Object.entries(saved.tables).map(([table, rows]) => [table, new Set(rows)]));
  const lookedMs = new Map(Object.entries(saved.lookedMs));
  const problems = new Map<string, string>();
  const turns = new Map<string, Turn>();
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
      if (table.dear) {
        lookedMs.set(table.name, Date.now());
        unsaved = true;
      }
      if (unsaved) remember();
    } catch (error) {
      problems.set(table.name, `${table.name}: ${error instanceof Error ? error.message : error}`);
    }
  };
  const remember = () => {
    try {
      save(of.path, known, lookedMs);
      unsaved = false;
      problems.delete(MEMORY);
    } catch (error) {
      problems.set(MEMORY, `what was told cannot be remembered: ${error instanceof Error ? error.message : error}`);
    }
  };
  const schedule = (turn: Turn, afterMs: number) => {
    turn.timer = setTimeout(async () => {
      turn.timer = undefined;
      await look(turn.table);
      turn.lastMs = performance.now();
      if (!stopped) schedule(turn, turn.everyS * 1000);
    }, afterMs);
  };
  for (const [at, table] of of.tables.entries()) {
    const turn: Turn = { table, everyS: table.everyS, timer: undefined, lastMs: undefined };
    turns.set(table.name, turn);
    const firstMs = (at + 1) * (of.firstS ?? FIRST_S) * 1000;
    const sinceMs = Date.now() - (lookedMs.get(table.name) ?? Number.NaN);
    // A clock that went back says nothing.
    const counts = table.dear && sinceMs >= 0 && sinceMs < table.everyS * 1000;
    if (counts) turn.lastMs = performance.now() - sinceMs;
    schedule(turn, counts ? Math.max(firstMs, table.everyS * 1000 - sinceMs) : firstMs);
  }
  return {
    capability: () =>
      problems.size === 0
        ? { name: "inventory", level: "live", why: `${of.tables.length} tables` }
        : { name: "inventory", level: "degraded", why: [...problems.values()].join("; ").slice(0, 512) },
    every: (name, seconds) => {
      const turn = turns.get(name);
      if (!turn) throw new Error(`there is no inventory table ${name}`);
      turn.everyS = seconds;
      // Its first look comes soon anyway; one that is going on sets the next by itself.
      if (stopped || turn.lastMs === undefined || turn.timer === undefined) return;
      clearTimeout(turn.timer);
      schedule(turn, Math.max(0, turn.lastMs + seconds * 1000 - performance.now()));
    },
    [Symbol.dispose]: () => {
      stopped = true;
      for (const { timer } of turns.values()) clearTimeout(timer);
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
    const read: unknown = JSON.parse(readFileSync(path, "utf8"));
    const saved = Saved.safeParse(read);
    // As earlier agents wrote it.
    return saved.success ? saved.data : { tables: Tables.parse(read), lookedMs: {} };
  } catch {
    return { tables: {}, lookedMs: {} };
  }
}

function save(path: string, known: ReadonlyMap<string, ReadonlySet<string>>, lookedMs: ReadonlyMap<string, number>): void {
  const tables = Object.fromEntries([...known].map(([table, rows]) => [table, [...rows]]));
  const text = JSON.stringify({ tables, lookedMs: Object.fromEntries(lookedMs) } satisfies z.infer<typeof Saved>);
  writeFileSync(`${path}.new`, text, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
