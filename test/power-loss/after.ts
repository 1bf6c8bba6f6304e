// What a site's books must be like right after its power failed, before anybody has opened them again.
import { join } from "node:path";
import { detectorState } from "../../broker/store/detector.ts";
import { ledgerCursor } from "../../broker/store/ledger.ts";
import { nextOffset } from "../../broker/store/log.ts";
import { openStore } from "../../broker/store/schema.ts";
import { eventId } from "../../protocol/event.ts";
import { type Books, readBooks } from "../chaos/books.ts";
import { readDiary } from "../chaos/diary.ts";

/** Reads the books of the site in `dir`, and says what is wrong with them. `before` are those of an earlier cut: what was in them stays. */
export function afterCut(
  dir: string,
  devices: readonly { readonly name: string; readonly diary: string }[],
  before: Books | undefined,
): { readonly books: Books; readonly differences: string[] } {
  const differences = damage(dir);
  const books = readBooks(dir);
  if (books.unreadable > 0) differences.push(`${books.unreadable} lines of the log are no events`);
  differences.push(...books.deadLetters.map((what) => `dead letter of ${what}`));
  const stored = new Set<string>();
  for (const events of books.events.values())
    for (const event of events) {
      const id = eventId(event);
      if (stored.has(id)) differences.push(`${id} is in the log twice`);
      stored.add(id);
    }
  for (const { name, diary } of devices)
    for (const { epoch, acknowledged } of readDiary(diary))
      for (const seq of acknowledged) {
        const id = eventId({ device: name, epoch, seq });
        if (!stored.has(id)) differences.push(`${id} was acknowledged and is not in the log`);
      }
  differences.push(...alertsOf(books, stored), ...shrunk(books, before));
  return { books, differences };
}

function damage(dir: string): string[] {
  using store = openStore(join(dir, "site.db"));
  const said = store.db
    .query<{ integrity_check: string }, []>("PRAGMA integrity_check")
    .all()
    .map((row) => row.integrity_check);
  const next = nextOffset(store);
  return [
    ...(said.join() === "ok" ? [] : said.map((what) => `the database is damaged: ${what}`)),
    ...(detectorState(store).cursor <= next
      ? []
      : [`the detector's cursor is at ${detectorState(store).cursor}, and the log ends at ${next}`]),
    ...(ledgerCursor(store) <= next ? [] : [`the ledger is at ${ledgerCursor(store)}, and the log ends at ${next}`]),
  ];
}

/** An alert names events that are in the log, each once. */
function alertsOf(books: Books, stored: ReadonlySet<string>): string[] {
  const wrong: string[] = [];
  const named = new Set<string>();
  for (const alert of books.alerts)
    for (const id of alert.events) {
      if (!stored.has(id)) wrong.push(`alert ${alert.id} names ${id}, which is not in the log`);
      const key = `${alert.rule.id} ${id}`;
      if (named.has(key)) wrong.push(`${id} is in two alerts of the rule ${alert.rule.title}`);
      named.add(key);
    }
  return wrong;
}

function shrunk(books: Books, before: Books | undefined): string[] {
  if (!before) return [];
  const alerts = new Map(books.alerts.map((alert) => [alert.id, alert.count]));
  return [
    ...(books.nextOffset >= before.nextOffset ? [] : [`the log ended at ${before.nextOffset} and ends at ${books.nextOffset}`]),
    ...(books.cursor >= before.cursor ? [] : [`the detector was at ${before.cursor} and is at ${books.cursor}`]),
    ...before.alerts.flatMap(({ id, count }) =>
      (alerts.get(id) ?? 0) >= count ? [] : [`alert ${id} had ${count} events, now ${alerts.get(id) ?? 0}`],
    ),
  ];
}
