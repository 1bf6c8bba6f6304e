// All that was decided since the last commit, as the next one.
import { encodeCommit } from "./commit.ts";
import type { SessionPorts } from "./ports.ts";
import type { Uncommitted } from "./uncommitted.ts";

type Parts = Pick<SessionPorts, "pipeline" | "files" | "iocs">;
type Told = { readonly events: number; readonly refused: number; readonly alerts: number };

/** Takes what is decided out of all that keep it. `told`: what the broker will have stored with the payload. */
export function decisions(
  { pipeline, files, iocs }: Parts,
  uncommitted: Uncommitted,
  { session, next, hasPast }: { readonly session: string; readonly next: number; readonly hasPast: boolean },
): { payload: string; told: Told } {
  const { alerts: foundInFiles, ...ofFiles } = files.take();
  const adopted = foundInFiles.map(({ detection, group, path }) => ({
    detection: pipeline.adopt(detection, { path, sha256: group }),
    group,
  }));
  const { alerts: own, incidents, seen, correlated } = pipeline.take();
  // After files: those of them that are hidden are in it.
  const excepted = pipeline.exceptions.take();
  const { matched, muted } = pipeline.noise.take();
  const { canaries, aside, read, refused } = uncommitted.take();
  const past = hasPast ? iocs?.take() : undefined;
  const alerts = [...own, ...adopted];
  const payload = encodeCommit({
    session,
    next,
    ...{ alerts, incidents, seen, correlated },
    ...ofFiles,
    ...(canaries.length > 0 ? { canaries } : {}),
    ...(aside.length > 0 ? { aside } : {}),
    ...(past ? { past } : {}),
    ...(excepted.length > 0 ? { excepted } : {}),
    ...(matched.length > 0 ? { matched } : {}),
    ...(muted.length > 0 ? { muted } : {}),
    read,
    refused,
  });
  return { payload, told: { events: read, refused, alerts: alerts.length } };
}
