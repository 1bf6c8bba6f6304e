// A commit that fits into one message, whatever devices put into alerts.
import type { Commit } from "@picket/protocol/feed";
import { topics } from "@picket/protocol/topics";

/** Room for the rest of the message. */
const MARGIN = 64 << 10;

type Alert = Commit["alerts"][number];

/**
 * The commit as JSON. Where it would not fit, the processes of sightings go, then the stories of incidents, then the pictures of alerts, then their processes: counts and ids,
 * which decide, always stay.
 */
export function encodeCommit(commit: Commit, maxBytes: number = topics.commit.maxBytes - MARGIN): string {
  let text = JSON.stringify(commit);
  if (Buffer.byteLength(text) > maxBytes && commit.sightings) {
    commit = { ...commit, sightings: commit.sightings.map(({ process: _, ...sighting }) => sighting) };
    text = JSON.stringify(commit);
  }
  if (Buffer.byteLength(text) > maxBytes && commit.incidents) {
    commit = { ...commit, incidents: commit.incidents.map(untold) };
    text = JSON.stringify(commit);
  }
  for (const shorten of [withoutTree, withoutProcess, withoutEvents]) {
    if (Buffer.byteLength(text) <= maxBytes) return text;
    text = JSON.stringify({ ...commit, alerts: commit.alerts.map(shorten) });
  }
  return text;
}

const untold = ({ open, marks }: NonNullable<Commit["incidents"]>[number]): NonNullable<Commit["incidents"]>[number] => ({
  open: { ...open, processes: [], deeds: [] },
  story: [],
  tree: [],
  marks,
});

const withoutTree = ({ group, detection }: Alert): Alert => ({ group, detection: { ...detection, tree: [] } });

function withoutProcess({ group, detection }: Alert): Alert {
  const { process: _, ...rest } = detection;
  return { group, detection: { ...rest, tree: [] } };
}

function withoutEvents(alert: Alert): Alert {
  const { group, detection } = withoutProcess(alert);
  return {
    group,
    detection: { ...detection, events: detection.events.slice(0, 1), summary: detection.summary.slice(0, 200).toWellFormed() },
  };
}
