// What the detector's cursors mean: the main one, and those of lanes.
import { type Commit, REREAD_MS } from "@picket/protocol/feed";
import { saveCorrelated } from "../store/correlated.ts";
import type { Store } from "../store/database.ts";
import { advanceCursor, detectorState, saveSeen } from "../store/detector.ts";
import { addSeam, advanceLane, type Lane, listLanes, removeLane, saveLaneSeen, setAside } from "../store/lanes.ts";
import { eventsBetween, nextOffset, offsetSince } from "../store/log.ts";

/** A backlog is left to a lane of its own when so many events lie before what has to be read again in any case: a few seconds' work. */
const SEAM_EVENTS = 50_000;
/** Backlogs that may be caught up at the same time: of more outages in a row the last is not split. */
const MAX_OUTAGES = 8;

/** After a long outage the cursor jumps to the end of the log, and what lies between is decided on the side: what happens now is told at once. */
export function leaveBacklog(store: Store, nowMs: number): void {
  const { cursor } = detectorState(store);
  const rereadFrom = offsetSince(store, nowMs - REREAD_MS);
  const outages = listLanes(store).filter(({ device }) => device === null).length;
  if (outages >= MAX_OUTAGES || rereadFrom <= cursor) return;
  if (eventsBetween(store, cursor, rereadFrom) >= SEAM_EVENTS) addSeam(store, cursor, nextOffset(store));
}

/** Undefined for a lane that is done. */
export const cursorOf = (store: Store, lane: Lane | undefined): number | undefined =>
  lane ? listLanes(store).find(({ id }) => id === lane.id)?.cursor : detectorState(store).cursor;

/** Moves to `next`; a lane at its end is gone. In the transaction that stores the decisions. */
export function moveTo(store: Store, lane: Lane | undefined, of: { next: number; read: number; refused: number }): void {
  if (lane) advanceLane(store, lane.id, of);
  else advanceCursor(store, of);
  if (lane && lane.end !== null && of.next >= lane.end) removeLane(store, lane.id);
}

/** What a commit says besides its alerts. `cursor`: where it stood before, and so where the lane of a device put aside begins. */
export function saveRest(store: Store, lane: Lane | undefined, cursor: number, { seen, correlated, next, aside }: Commit): void {
  if (lane?.end) saveLaneSeen(store, lane.id, seen);
  else saveSeen(store, seen, next);
  saveCorrelated(store, lane?.end ? lane.id : 0, correlated ?? []);
  if (!lane) for (const device of aside ?? []) setAside(store, device, cursor);
}
