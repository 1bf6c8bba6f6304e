// Exceptions that nobody needs, and those whose end brings alerts back.
import type { Exception } from "@picket/protocol/exception";
import type { Finding } from "@picket/protocol/rest";

const DAY_MS = 24 * 3600_000;
/** What has hidden nothing for so long is a hole without a purpose. */
const UNUSED_MS = 14 * DAY_MS;
/** For so long after its end it is said that what it hid alerts again. */
const EXPIRED_MS = 7 * DAY_MS;
/** Named one by one; more are counted. */
const MAX_NAMED = 5;

/** One finding for each kind, however many there are. */
export function exceptionFindings(exceptions: readonly Exception[], nowMs: number): Finding[] {
  const unused = exceptions.filter(
    ({ state, createdMs, lastUsedMs }) => state === "holds" && nowMs - Math.max(createdMs, lastUsedMs ?? 0) > UNUSED_MS,
  );
  // What it hid while it held is alerted again; what it never hid needs no word.
  const expired = exceptions.filter(({ state, expiresMs, used }) => state === "expired" && used > 0 && nowMs - expiresMs < EXPIRED_MS);
  const findings: Finding[] = [];
  if (unused.length > 0)
    findings.push({
      level: "warning",
      what: `${named(unused)} hidden nothing for ${UNUSED_MS / DAY_MS} days.`,
      todo: "Remove what is not needed: `picket exceptions remove ID`",
    });
  if (expired.length > 0)
    findings.push({
      level: "warning",
      what: `${named(expired)} expired in the last ${EXPIRED_MS / DAY_MS} days: what was hidden alerts again.`,
      todo: "Change the rule or what it found; if it still has to be hidden, `picket exceptions show ID` says how it was made",
    });
  return findings;
}

function named(exceptions: readonly Exception[]): string {
  const ids = exceptions.slice(0, MAX_NAMED).map(({ id, rule }) => `${id} (rule ${rule})`);
  const more = exceptions.length - ids.length;
  return `${exceptions.length === 1 ? "Exception" : "Exceptions"} ${ids.join(", ")}${more > 0 ? ` and ${more} more` : ""} ${exceptions.length === 1 ? "has" : "have"}`;
}
