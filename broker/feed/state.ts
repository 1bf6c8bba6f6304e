// What a session of the detector begins with.
import { type Correlated, LOOKBACK_MS, type Seen, type State } from "@picket/protocol/feed";
import { QUIET_MS } from "@picket/protocol/incident";
import { growingAlerts } from "../store/alerts.ts";
import { readCorrelated } from "../store/correlated.ts";
import type { Store } from "../store/database.ts";
import { readSeen } from "../store/detector.ts";
import { openIncidents } from "../store/incidents.ts";
import { iocManifest } from "../store/iocs.ts";
import { type Lane, listLanes, readLaneSeen } from "../store/lanes.ts";

/** Bytes of one part of the state, well below the topic's limit. */
const STATE_BYTES = 512 << 10;
const MAX_OPEN = 2000;

export type StateOf = {
  readonly session: string;
  /** Undefined: the main cursor. */
  readonly lane: Lane | undefined;
  readonly cursor: number;
  readonly seam: number;
  readonly cursorMs: number;
};

/** The state in parts of bounded size, the last one marked. */
export function* stateParts(store: Store, { session, lane, cursor, seam, cursorMs }: StateOf): Generator<State> {
  const part = (): State => ({
    kind: "state",
    session,
    lane: lane?.id ?? 0,
    cursor,
    seam,
    open: [],
    seen: [],
    incidents: [],
    correlated: [],
    last: false,
  });
  let current = part();
  let bytes = 0;
  function* room(size: number): Generator<State> {
    if (bytes > 0 && bytes + size > STATE_BYTES) {
      yield current;
      current = part();
      bytes = 0;
    }
    bytes += size;
  }
  const device = lane?.device ?? undefined;
  for (const open of growingAlerts(store, cursorMs - LOOKBACK_MS, MAX_OPEN)) {
    if (device !== undefined && open.detection.device !== device) continue;
    yield* room(JSON.stringify(open).length);
    current.open.push(open);
  }
  // A device that is read apart goes on with what the main cursor began.
  const of = { lane: lane?.device === null ? lane.id : 0, device, sinceMs: cursorMs - QUIET_MS, limit: MAX_OPEN };
  for (const incident of openIncidents(store, of)) {
    yield* room(JSON.stringify(incident).length);
    current.incidents!.push(incident);
  }
  const read = (after: Seen | undefined) => (lane?.end ? readLaneSeen(store, lane.id, after, 1000) : readSeen(store, after, 1000));
  let after: Seen | undefined;
  for (let page = read(after); page.length > 0; page = read(after)) {
    for (const seen of page) {
      if (device !== undefined && seen.device !== device) continue;
      // 5,000 at most in a part: the smallest entries would otherwise be more.
      yield* room(Math.max(JSON.stringify(seen).length, Math.ceil(STATE_BYTES / 5000)));
      current.seen.push(seen);
    }
    after = page.at(-1);
  }
  for (const row of correlatedOf(store, lane)) {
    yield* room(Math.max(JSON.stringify(row).length, Math.ceil(STATE_BYTES / 5000)));
    current.correlated!.push(row);
  }
  yield { ...current, ...(lane ? {} : { iocs: iocManifest(store) }), last: true };
}

/** What a device that is read apart brought to correlations is its lane's, and nobody else's. */
function* correlatedOf(store: Store, lane: Lane | undefined): Generator<Correlated> {
  const apart = lane ? [] : listLanes(store).map(({ device }) => device);
  const of = { lane: lane?.end ? lane.id : 0, device: lane?.device ?? undefined, limit: 500 };
  const read = (after: Correlated | undefined) => readCorrelated(store, { ...of, after });
  for (let page = read(undefined); page.length > 0; page = read(page.at(-1)))
    for (const row of page) if (!apart.includes(row.device)) yield row;
}
