// What is wrong with a site, in plain words with what to do. Pure: facts in, findings out, worst first.
import type { MeshPeer } from "@picket/protocol/mesh";
import type { Device, Finding, SinkStatus, SiteStatus } from "@picket/protocol/rest";
import type { HostFacts, IntakeFacts } from "./deps.ts";
import { intakeFindings } from "./doctor-intake.ts";

const DAY_MS = 24 * 3600_000;
/** Devices renew from a third of a 30-day life: one that is this close to its end has not managed to. */
const DEVICE_CERTIFICATE_WARN_MS = 7 * DAY_MS;
const SITE_CERTIFICATE_WARN_MS = 30 * DAY_MS;
/** A detector this many batches behind is not just busy. */
const LAG_WARN_BATCHES = 500;
/** Files that wait to be scanned; a device that is new brings some hundreds. */
const WAITING_WARN_FILES = 500;
/** A broker that restarts, or a night without a line, is nothing to be told of. */
const PEER_AWAY_MS = 12 * 3600_000;
const DISK_WARN = { ratio: 0.1, bytes: 1 << 30 };
const DISK_ERROR_BYTES = 200 << 20;

export type DoctorFacts = {
  readonly nowMs: number;
  readonly site: SiteStatus;
  readonly devices: readonly Device[];
  readonly host: HostFacts;
  readonly intake: IntakeFacts;
  readonly peers: readonly MeshPeer[];
};

/** At least one finding; a single "ok" when nothing is wrong. */
export function diagnose(facts: DoctorFacts): Finding[] {
  const enrolled = facts.devices.filter((device) => device.trust === "enrolled");
  const findings = [
    ...detectorFindings(facts.site),
    ...hostFindings(facts),
    ...keyFindings(facts.site, enrolled),
    ...enrolled.flatMap((device) => deviceFindings(device, facts.nowMs)),
    ...facts.site.sinks.flatMap(sinkFindings),
    ...intakeFindings(facts.intake),
    ...sampleFindings(facts.site),
    ...facts.peers.flatMap((peer) => peerFindings(peer, facts.nowMs)),
  ];
  if (findings.length === 0)
    return [{ level: "ok", what: `Nothing is wrong: ${counted(enrolled.length, "device")}, all covered.${spooled(facts.site)}` }];
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
        `No detector is connected: events are kept (${detector.lagBatches} batches wait), but nothing raises alerts.`,
        "Start it: `picket up` runs both, `picket detector` runs it alone",
      ),
    ];
  const findings: Finding[] = [];
  if (detector.lagBatches > LAG_WARN_BATCHES)
    findings.push(
      warning(`The detector is ${detector.lagBatches} batches behind, so alerts come late.`, "Give it a faster core, or send fewer events"),
    );
  if (detector.refused > 0)
    findings.push(
      warning(`The detector could not read ${counted(detector.refused, "event")}.`, "Update the site: some agents may be newer than it is"),
    );
  return findings;
}

function hostFindings({ nowMs, host }: DoctorFacts): Finding[] {
  const findings: Finding[] = [];
  const { freeBytes, totalBytes } = host.disk;
  const free = `${Math.floor(freeBytes / (1 << 20))} MiB`;
  const todo = "Free some space, or lower log.keepBytes in site.toml";
  if (freeBytes < DISK_ERROR_BYTES)
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

function keyFindings(site: SiteStatus, devices: readonly Device[]): Finding[] {
  if (site.keysVersion === 0)
    return [
      warning(
        "The operators have published no key list: no device would obey a command.",
        "Sign and publish one with `picket operator init`",
      ),
    ];
  const behind = devices.filter((device) => device.presence === "online" && (device.status?.keysVersion ?? 0) < site.keysVersion);
  return behind.map((device) =>
    warning(
      `${device.id} obeys key list ${device.status?.keysVersion ?? 0}, the site has ${site.keysVersion}.`,
      "It takes the new one at its next connect; if it stays so, its anchor is another: enrol it again",
    ),
  );
}

function deviceFindings(device: Device, nowMs: number): Finding[] {
  const findings: Finding[] = [];
  const { id, presence } = device;
  if (presence === "never") findings.push(warning(`${id} was enrolled but never connected.`, `Look at picket-agent on ${id}`));
  if (presence === "offline")
    findings.push(error(`${id} is offline${since(device.lastSeenMs, nowMs)}.`, `Check power, network and picket-agent on ${id}`));
  if (presence === "stopped")
    findings.push(
      warning(`The agent on ${id} was stopped${since(device.lastSeenMs, nowMs)}.`, `Start picket-agent on ${id} if you did not mean to`),
    );
  if (device.coverage.lost > 0)
    findings.push(
      warning(
        `${id} lost ${counted(device.coverage.lost, "event")}; ${(device.coverage.ratio * 100).toFixed(2)} % arrived.`,
        `Look at \`picket device ${id}\`: kernel means too many at once, buffer means too long offline`,
      ),
    );
  const leftMs = device.certificateExpiresMs - nowMs;
  if (leftMs <= 0)
    findings.push(error(`The certificate of ${id} has expired.`, `Start picket-agent on ${id}: it may still renew for 180 days`));
  else if (leftMs < DEVICE_CERTIFICATE_WARN_MS)
    findings.push(
      warning(`The certificate of ${id} expires in ${days(leftMs)} and was not renewed.`, `Check that ${id} reaches the HTTPS port`),
    );
  return [...findings, ...isolationFindings(device), ...sensorFindings(device), ...packFindings(device)];
}

function packFindings({ id, status }: Device): Finding[] {
  return (status?.packs ?? []).flatMap(({ kind, version, refused }) =>
    refused && refused.version > version
      ? [
          warning(
            `${id} refuses version ${refused.version} of its ${kind}: ${refused.why}`,
            `Upgrade picket-agent on ${id} when it is older than the site, or sign other ${kind}`,
          ),
        ]
      : [],
  );
}

function isolationFindings({ id, presence, status, isolationWanted }: Device): Finding[] {
  if (!status || presence !== "online") return [];
  const state = status.isolation.state;
  if (isolationWanted && state !== "isolated")
    return [
      error(`${id} should be isolated but is not (${state}).`, `Look at its last command in \`picket device ${id}\`, and order it again`),
    ];
  if (!isolationWanted && state === "isolated")
    return [warning(`${id} is isolated though no operator of this site wants it.`, `\`picket release ${id}\`, or find out who ordered it`)];
  return [];
}

function sensorFindings({ id, presence, status }: Device): Finding[] {
  if (presence !== "online") return [];
  const weak = status?.capabilities.filter((capability) => capability.level !== "live") ?? [];
  return weak.map((capability) =>
    warning(
      `${id}: ${capability.name} is ${capability.level} (${capability.why}).`,
      capability.todo ?? `Run \`picket-agent check\` on ${id}`,
    ),
  );
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

function since(lastSeenMs: number | undefined, nowMs: number): string {
  if (lastSeenMs === undefined) return "";
  const minutes = Math.max(0, Math.round((nowMs - lastSeenMs) / 60_000));
  return minutes < 120 ? `, last seen ${minutes} min ago` : `, last seen ${Math.round(minutes / 60)} h ago`;
}

const days = (ms: number) => counted(Math.ceil(ms / DAY_MS), "day");
const counted = (count: number, noun: string) => `${count} ${noun}${count === 1 ? "" : "s"}`;
