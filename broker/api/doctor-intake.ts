// What is wrong with what comes in: a disk that takes no events, devices held back or unreadable, and what retention let go unread.
import type { Finding } from "@picket/protocol/rest";
import type { IntakeFacts } from "./deps.ts";

/** A device that catches up for a moment is no finding. */
const THROTTLED_MS = 60_000;
const MAX_DEVICES = 10;
const MAX_TEXT = 200;
/** Open alerts beyond this are never let go, so somebody must. */
const MANY_ALERTS = 50_000;

export function intakeFindings(facts: IntakeFacts): Finding[] {
  const findings: Finding[] = [];
  if (facts.outage)
    findings.push({
      level: "error",
      what: `Since ${new Date(facts.outage.sinceMs).toISOString()} events wait on their devices: ${facts.outage.why}.`,
      todo: "Free some space, or lower log.keepBytes in site.toml; events are taken again by themselves",
    });
  for (const { device, forMs, delayed } of facts.throttled.filter(({ forMs }) => forMs >= THROTTLED_MS).slice(0, MAX_DEVICES))
    findings.push({
      level: "warning",
      what: `${device} sends more than it may for ${Math.round(forMs / 60_000)} min: ${delayed} of its messages had to wait.`,
      todo: `See what ${device} does so often, or raise [broker.quota] in site.toml`,
    });
  for (const { device, refusedConnections } of facts.throttled.filter((one) => one.refusedConnections > 0).slice(0, MAX_DEVICES))
    findings.push({
      level: "warning",
      what: `${device} connects more often than it may: refused ${refusedConnections} times since the broker started.`,
      todo: `Look at picket-agent on ${device}; two machines with one certificate do this too`,
    });
  findings.push(...deadLetterFindings(facts));
  if (facts.letGo.unread > 0)
    findings.push({
      level: "warning",
      what: `${facts.letGo.unread} events left the log before the detector had read them.`,
      todo: "Raise log.keepBytes or log.keepDays in site.toml, and see why the detector is late",
    });
  if (facts.alerts > MANY_ALERTS)
    findings.push({
      level: "warning",
      what: `${facts.alerts} alerts are kept, because only closed ones are let go.`,
      todo: "Close what is dealt with: picket alert ID close",
    });
  return findings;
}

/** By device, with the newest reason: which device, and what is wrong with what it sends. */
function deadLetterFindings({ deadLetters }: IntakeFacts): Finding[] {
  const findings: Finding[] = deadLetters.slice(0, MAX_DEVICES).map(({ device, count, lastMs, lastTopic, lastReason }) => ({
    level: "warning",
    what: `${count} message${count === 1 ? "" : "s"} from ${device} could not be read, set aside; the last, of ${lastTopic || "no topic"} at ${new Date(lastMs).toISOString()}: ${lastReason.slice(0, MAX_TEXT)}`,
    todo: `The agent on ${device} is broken, newer than the site, or hostile`,
  }));
  const more = deadLetters.length - findings.length;
  if (more > 0)
    findings.push({ level: "warning", what: `Messages of ${more} more devices could not be read.`, todo: "`picket alerts` names them" });
  return findings;
}
