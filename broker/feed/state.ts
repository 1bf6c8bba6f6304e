// What a session of the detector begins with.
import { LOOKBACK_MS, type Seen, type State } from "@picket/protocol/feed";
import { growingAlerts } from "../store/alerts.ts";
import type { Store } from "../store/database.ts";
import { readSeen } from "../store/detector.ts";
import { type Lane, readLaneSeen } from "../store/lanes.ts";

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
  const part = (): State => ({ kind: "state", session, lane: lane?.id ?? 0, cursor, seam, open: [], seen: [], last: false });
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
  yield { ...current, last: true };
}
