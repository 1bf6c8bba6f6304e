// What the site lets go of: by age and by size, in pieces, so that ingest never waits long for them.
import type { BrokerConfig } from "./config.ts";
import { trimAlerts } from "./store/alerts.ts";
import { trimCommands } from "./store/commands.ts";
import type { Store } from "./store/database.ts";
import { trimDeadLetters } from "./store/dead-letters.ts";
import { trimMarks } from "./store/incident-links.ts";
import { trimIncidents } from "./store/incidents.ts";
import { unreadFrom } from "./store/lanes.ts";
import { trimLog } from "./store/log.ts";
import { forgetEpochs } from "./store/received.ts";

const DAY_MS = 86_400_000;
/** Rows that go in one transaction. */
const TRIM_ROWS = 2000;
/** A device may come back with old events after a long time; what was received of an epoch is remembered for this long after its last sign. */
const FORGET_EPOCHS_MS = 400 * DAY_MS;
/** Commands that were answered or expired are the record of who ordered what. */
const COMMANDS_MS = 400 * DAY_MS;
const DEAD_LETTERS_MS = 90 * DAY_MS;

/** Call it every half minute. */
export async function trim(store: Store, { log, alerts }: BrokerConfig, nowMs: number): Promise<void> {
  const old = { beforeMs: nowMs - log.keepDays * DAY_MS, keepBytes: log.keepBytes, limit: TRIM_ROWS };
  while ((await store.commitSoon(() => trimLog(store, { ...old, unreadFrom: unreadFrom(store) }))).batches >= TRIM_ROWS);
  const closed = { beforeMs: nowMs - alerts.keepDays * DAY_MS, keepCount: alerts.keepCount, limit: TRIM_ROWS };
  while ((await store.commitSoon(() => trimAlerts(store, closed))) >= TRIM_ROWS);
  await store.commitSoon(() => {
    trimIncidents(store);
    trimMarks(store);
  });
  await store.commitSoon(() => {
    trimCommands(store, { beforeMs: nowMs - COMMANDS_MS, limit: TRIM_ROWS });
    trimDeadLetters(store, nowMs - DEAD_LETTERS_MS);
    forgetEpochs(store, nowMs - FORGET_EPOCHS_MS);
  });
}
