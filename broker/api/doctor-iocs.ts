// What is wrong with lists of indicators: those that expired, that nobody brought up to date, whose last import failed, and what no detector matches with.
import type { IocSource } from "@picket/protocol/ioc";
import type { Finding } from "@picket/protocol/rest";

const DAY_MS = 86_400_000;
/** Addresses and domains change hands: an older list finds those who have them now. */
const OLD_MS = 30 * DAY_MS;
/** So long a detector may take to load one. */
const LOADING_MS = 5 * 60_000;
const MAX_LISTS = 10;

/** `detectorConnected`: without one, that is said already. */
export function iocFindings(sources: readonly IocSource[], nowMs: number, detectorConnected: boolean): Finding[] {
  return sources.flatMap((source) => findingsOf(source, nowMs, detectorConnected)).slice(0, MAX_LISTS);
}

function findingsOf(of: IocSource, nowMs: number, detectorConnected: boolean): Finding[] {
  const { source, importedMs, expiresMs, failure, kind, active } = of;
  const findings: Finding[] = [];
  const days = Math.floor((nowMs - importedMs) / DAY_MS);
  const again = `picket ioc import FILE --source "${source}"`;
  const gone = `or: picket ioc remove "${source}"`;
  if (expiresMs !== undefined && expiresMs <= nowMs)
    findings.push(
      warning(`All of the list of indicators "${source}" has expired: nothing is matched with it.`, `Bring a newer one: ${again}, ${gone}`),
    );
  else if (kind === "list" && nowMs - importedMs > OLD_MS)
    findings.push(warning(`The list of indicators "${source}" is ${days} days old.`, `Bring a newer one: ${again}, ${gone}`));
  if (failure)
    findings.push(
      warning(
        `The last import of the list of indicators "${source}" failed: ${failure.why}`,
        `What was there before is in force. Try again: ${again}`,
      ),
    );
  if (!active && detectorConnected && nowMs - importedMs > LOADING_MS)
    findings.push(
      warning(
        `The detector does not match with the list of indicators "${source}".`,
        "See what the detector's log says of it, or restart it",
      ),
    );
  return findings;
}

const warning = (what: string, todo: string): Finding => ({ level: "warning", what, todo });
