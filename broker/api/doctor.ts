// What is wrong with a site, in plain words with what to do. Pure: facts in, findings out, worst first.
import type { Exception } from "@picket/protocol/exception";
import type { IocSource } from "@picket/protocol/ioc";
import type { MeshPeer } from "@picket/protocol/mesh";
import type { Finding, SinkStatus, SiteStatus } from "@picket/protocol/rest";
import type { HealthFacts, SiteFacts } from "./deps.ts";
import { type DeviceFacts, deviceFindings } from "./doctor-devices.ts";
import { exceptionFindings } from "./doctor-exceptions.ts";
import { intakeFindings } from "./doctor-intake.ts";
import { iocFindings } from "./doctor-iocs.ts";
import { brokerHealth } from "./health.ts";

const DAY_MS = 24 * 3600_000;
const SITE_CERTIFICATE_WARN_MS = 30 * DAY_MS;
/** A detector that is further behind is not just busy. */
const LAG_WARN = { batches: 500, seconds: 60 };
/** What is caught up on the side delays nothing that happens now: after so long it is worth a line. */
const ASIDE_WARN_S = 3600;
/** Files that wait to be scanned; a device that is new brings some hundreds. */
const WAITING_WARN_FILES = 500;
/** A broker that restarts, or a night without a line, is nothing to be told of. */
const PEER_AWAY_MS = 12 * 3600_000;
const DISK_WARN = { ratio: 0.1, bytes: 1 << 30 };
const DISK_ERROR_BYTES = 200 << 20;

export type DoctorFacts = SiteFacts & {
  readonly health: HealthFacts;
  readonly exceptions: readonly Exception[];
  readonly iocs: readonly IocSource[];
} & Pick<DeviceFacts, "lastDay" | "clocks">;

/** At least one finding, the worst first: what keeps events out, then what keeps alerts away, then single devices. A single "ok" when nothing is wrong. */
export function diagnose(facts: DoctorFacts): Finding[] {
  const { site, nowMs, lastDay, clocks } = facts;
  const enrolled = facts.devices.filter((device) => device.trust === "enrolled");
  const findings = [
    ...intakeFindings(facts.intake),
    ...hostFindings(facts),
    ...flowFindings(facts),
    ...detectorFindings(site),
    ...site.sinks.flatMap(sinkFindings),
    ...keyFindings(site),
    ...deviceFindings(enrolled, { nowMs, siteVersion: site.version, keysVersion: site.keysVersion, lastDay, clocks }),
    ...sampleFindings(site),
    ...iocFindings(facts.iocs, nowMs, site.detector.connected),
    ...exceptionFindings(facts.exceptions, nowMs),
    ...facts.peers.flatMap((peer) => peerFindings(peer, nowMs)),
  ];
  if (findings.length === 0)
    return [{ level: "ok", what: `Nothing is wrong: ${counted(enrolled.length, "device")}, all covered.${spooled(site)}` }];
  return findings.sort((a, b) => Number(b.level === "error") - Number(a.level === "error"));
}

const error = (what: string, todo: string): Finding => ({ level: "error", what, todo });
const warning = (what: string, todo: string): Finding => ({ level: "warning", what, todo });

function peerFindings({ site, state, lastSeenMs, joinedMs, lastError, lost, limitedBy, muted }: MeshPeer, nowMs: number): Finding[] {
  const findings: Finding[] = [];
  const awayMs = nowMs - (lastSeenMs ?? joinedMs);
  if (limitedBy === "picket")
    findings.push(
      warning(
        `The mesh peer ${site} was limited, because of what it sent.`,
        `Ask its operators, then: picket mesh unlimit ${site}, or picket mesh remove ${site}`,
      ),
    );
  if (state === "left") findings.push(warning(`The mesh peer ${site} has left.`, `picket mesh remove ${site}, or invite it again`));
  else if (state === "away" && awayMs > PEER_AWAY_MS && !muted)
    findings.push(
      warning(
        `The mesh peer ${site} is away for ${Math.floor(awayMs / 3600_000)} h${lastError ? `: ${lastError}` : ""}.`,
        "Check the line between the sites: picket mesh list",
      ),
    );
  if (lost > 0)
    findings.push(
      warning(`${counted(lost, "item")} went before the mesh peer ${site} had it.`, "Raise mesh.keepDays or mesh.keepBytes in site.toml"),
    );
  return findings;
}

function detectorFindings({ detector }: SiteStatus): Finding[] {
  if (!detector.connected)
    return [
      error(
        `No detector is connected: events are kept (${detector.lagBatches + (detector.aside?.batches ?? 0)} batches wait), but nothing raises alerts.`,
        "Start it: `picket up` runs both, `picket detector` runs it alone",
      ),
    ];
  const findings: Finding[] = [];
  const { lagBatches, lagEvents, lagSeconds = 0, aside } = detector;
  if (lagBatches > LAG_WARN.batches || lagSeconds > LAG_WARN.seconds)
    findings.push(
      warning(
        `The detector is ${counted(lagBatches, "batch", "batches")}${lagEvents === undefined ? "" : ` (${counted(lagEvents, "event")})`} behind${lagSeconds > 0 ? `, the oldest of ${lagSeconds} s ago` : ""}: alerts come late.`,
        "Give it a faster core, or send fewer events; if it does not move at all, restart it",
      ),
    );
  if (aside && aside.seconds > ASIDE_WARN_S)
    findings.push(
      warning(
        `${counted(aside.events, "event")} are decided on the side, the oldest of ${Math.round(aside.seconds / 3600)} h ago; what happens now is not delayed by them.`,
        "It is what came in while there was no detector, or what one device sends too much of; wait, or see `picket devices`",
      ),
    );
  if (detector.refused > 0)
    findings.push(
      warning(`The detector could not read ${counted(detector.refused, "event")}.`, "Update the site: some agents may be newer than it is"),
    );
  return findings;
}

function hostFindings({ nowMs, host, intake }: DoctorFacts): Finding[] {
  const findings: Finding[] = [];
  const { freeBytes, totalBytes } = host.disk;
  const free = `${Math.floor(freeBytes / (1 << 20))} MiB`;
  const todo = "Free some space, or lower log.keepBytes in site.toml";
  if (intake.outage) {
    // Said already, with the same figure.
  } else if (freeBytes < DISK_ERROR_BYTES)
    findings.push(error(`The site's disk has only ${free} left; when it is full, devices have to buffer.`, todo));
  else if (freeBytes < DISK_WARN.bytes && freeBytes < totalBytes * DISK_WARN.ratio)
    findings.push(warning(`The site's disk has ${free} left.`, todo));
  const leftMs = host.certificateExpiresMs - nowMs;
  if (leftMs <= 0)
    findings.push(error("The broker's certificate has expired: no device can connect.", "Make a new one: `picket site init`"));
  else if (leftMs < SITE_CERTIFICATE_WARN_MS)
    findings.push(warning(`The broker's certificate expires in ${days(leftMs)}.`, "Make a new one: `picket site init`"));
  return findings;
}

/** Devices are there, and nothing comes of them. */
const flowFindings = ({ health, intake }: DoctorFacts): Finding[] =>
  intake.outage
    ? []
    : brokerHealth(health).useful.why.map((why) =>
        error(`Events do not flow: ${why}.`, "Look at `picket-agent status` on one of them, and at the broker's log"),
      );

function keyFindings(site: SiteStatus): Finding[] {
  if (site.keysVersion > 0) return [];
  return [
    warning(
      "The operators have published no key list: no device would obey a command.",
      "Sign and publish one with `picket operator init`",
    ),
  ];
}

function sinkFindings(sink: SinkStatus): Finding[] {
  const findings: Finding[] = [];
  const test = `\`picket sink test ${sink.name}\``;
  if (sink.lastError !== undefined)
    findings.push(
      error(`Alerts do not reach sink "${sink.name}": ${sink.lastError}; ${sink.queued} wait.`, `Check its url, then try ${test}`),
    );
  if (sink.failed > 0)
    findings.push(
      warning(`${counted(sink.failed, "alert")} never reached sink "${sink.name}".`, "`picket alerts` shows them; none is lost here"),
    );
  if ((sink.dropped ?? 0) > 0)
    findings.push(
      warning(
        `${counted(sink.dropped ?? 0, "alert")} let go because the queue of sink "${sink.name}" was full.`,
        "`picket alerts` shows them",
      ),
    );
  if (isPlainHttp(sink.url))
    findings.push(warning(`Sink "${sink.name}" sends alerts over plain http: anyone on the way can read them.`, "Give it an https url"));
  return findings;
}

function sampleFindings({ samples }: SiteStatus): Finding[] {
  if (!samples) return [];
  const findings: Finding[] = [];
  if (samples.waiting > WAITING_WARN_FILES)
    findings.push(
      warning(
        `${counted(samples.waiting, "file")} from devices wait to be scanned, so their alerts come late.${spooled({ samples })}`,
        "See whether the detector runs and what its log says of scanning",
      ),
    );
  if (samples.mismatched > 0)
    findings.push(
      warning(
        `${counted(samples.mismatched, "file")} from devices had other bytes than their hash says, and were let go.`,
        "`picket alerts` says of which device: it is broken or hostile",
      ),
    );
  if (samples.forgotten > 0)
    findings.push(
      warning(
        `${counted(samples.forgotten, "file")} are no longer remembered, because a device reported too many.`,
        "Add what is written so often to samples.skip in that device's agent.toml",
      ),
    );
  return findings;
}

function spooled({ samples }: Pick<SiteStatus, "samples">): string {
  if (!samples || samples.files + samples.wanted === 0) return "";
  const { files, bytes, waiting, wanted } = samples;
  return ` ${counted(files, "file")} kept for scanning (${Math.ceil(bytes / (1 << 20))} MiB), ${waiting} not scanned yet, ${wanted} to come.`;
}

/** Over loopback nobody listens in. */
function isPlainHttp(url: string): boolean {
  if (!URL.canParse(url)) return false;
  const { protocol, hostname } = new URL(url);
  return protocol === "http:" && hostname !== "localhost" && hostname !== "[::1]" && !hostname.startsWith("127.");
}

const days = (ms: number) => counted(Math.ceil(ms / DAY_MS), "day");
const counted = (count: number, noun: string, nouns = `${noun}s`) => `${count} ${count === 1 ? noun : nouns}`;
