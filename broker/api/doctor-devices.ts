// What is wrong with devices. What many have in common is said once, not once for each.

import type { Device, Finding } from "@picket/protocol/rest";
import { apart } from "@picket/protocol/versions";

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 3600_000;
/** Devices renew from a third of a 30-day life: one that is this close to its end has not managed to. */
const CERTIFICATE_WARN_MS = 7 * DAY_MS;
/** Of the last day: below the first it is a warning, below the second an error. */
const COVERAGE = { warn: 0.99, error: 0.9 };
const CLOCK_WARN_MS = MINUTE_MS;
/** Waiting on a device that is online: more than a moment's backlog. */
const BACKLOG_EVENTS = 20_000;
/** Up to so many devices are told one by one. */
const ONE_BY_ONE = 3;
const NAMED = 5;

export type DeviceFacts = {
  readonly nowMs: number;
  readonly siteVersion: string;
  readonly keysVersion: number;
  /** What became of the events of the last day, of devices that lost any. */
  readonly lastDay: ReadonlyMap<string, { readonly stored: number; readonly lost: number }>;
  /** By how much each device's clock is ahead of the site's, milliseconds. */
  readonly clocks: ReadonlyMap<string, number>;
};

/** `kind`: findings of one kind are alike; `many` says of several devices what `what` says of one, after their number. */
type Found = Finding & { readonly kind: string; readonly device: string; readonly many: string };

/** Of enrolled devices, each kind's worst first. */
export function deviceFindings(devices: readonly Device[], facts: DeviceFacts): Finding[] {
  const found = devices.flatMap((device) => findingsOf(device, facts));
  const kinds = Map.groupBy(found, ({ kind, level }) => `${level} ${kind}`);
  return [...blackouts(devices, facts.nowMs), ...[...kinds.values()].flatMap(together)];
}

function together(found: readonly Found[]): Finding[] {
  const [first] = found;
  if (!first || found.length <= ONE_BY_ONE) return found.map(({ level, what, todo }) => ({ level, what, ...(todo ? { todo } : {}) }));
  const { level, many, device, todo } = first;
  const what = `${found.length} devices ${many}: ${namesOf(found.map((one) => one.device))}.`;
  return [{ level, what, ...(todo ? { todo: todo.replaceAll(device, "each of them") } : {}) }];
}

function namesOf(names: readonly string[]): string {
  const more = names.length - NAMED;
  return more > 0 ? `${names.slice(0, NAMED).join(", ")} and ${more} more` : names.join(", ");
}

function findingsOf(device: Device, facts: DeviceFacts): Found[] {
  const of = { device: device.id };
  return [
    ...presenceFindings(device, facts.nowMs),
    ...isolationFindings(device),
    ...lossFindings(device, facts),
    ...certificateFindings(device, facts.nowMs),
    ...statusFindings(device, facts),
  ].map((found) => ({ ...found, ...of }));
}

type Part = Omit<Found, "device">;
const error = (kind: string, what: string, many: string, todo: string): Part => ({ level: "error", kind, what, many, todo });
const warning = (kind: string, what: string, many: string, todo: string): Part => ({ level: "warning", kind, what, many, todo });

/** Those who went together are one finding. */
function blackouts(devices: readonly Device[], nowMs: number): Finding[] {
  const away = devices.filter((device) => device.presence === "offline" && device.away?.blackout);
  const parts = Map.groupBy(away, ({ away: of }) => `${of?.blackout?.devices} ${of?.blackout?.back}`);
  return [...parts.values()].map((members) => {
    const { devices: all, back } = members[0]!.away!.blackout!;
    const sinceMs = Math.min(...members.map((member) => member.away!.sinceMs));
    return {
      level: "error",
      what: `Blackout: ${all} devices went at once, ${duration(Math.max(0, nowMs - sinceMs))} ago; ${back} are back. Away: ${namesOf(members.map(({ id }) => id))}.`,
      todo: "Look at what they share: power, switch, access point, line",
    };
  });
}

const goneHow = {
  stopped: (id: string) => `The agent on ${id} was stopped`,
  killed: (id: string) => `The agent on ${id} ended without a word, and its host still answered`,
  lost: (id: string) => `${id} is offline: its host does not answer, or has no power`,
  silent: (id: string) => `${id} is offline`,
} as const;

function presenceFindings({ id, presence, away, lastSeenMs }: Device, nowMs: number): Part[] {
  if (presence === "never")
    return [
      warning("never", `${id} was enrolled but never connected.`, "were enrolled but never connected", `Look at picket-agent on ${id}`),
    ];
  if (presence === "stopped")
    return [
      warning(
        "stopped",
        `The agent on ${id} was stopped${ago(lastSeenMs, nowMs)}.`,
        "had their agents stopped",
        `Start picket-agent on ${id} if you did not mean to`,
      ),
    ];
  if (presence !== "offline" || away?.blackout) return [];
  const how = away?.how ?? "silent";
  const seen = ago(lastSeenMs, nowMs);
  return [
    error(
      `offline ${how}`,
      `${goneHow[how](id)}${seen}.`,
      how === "killed" ? "had their agents end without a word" : "are offline",
      how === "killed"
        ? `Look at the log of picket-agent on ${id}: it crashed, or somebody killed it`
        : `Check power, network and picket-agent on ${id}`,
    ),
  ];
}

function lossFindings({ id, coverage }: Device, { lastDay }: DeviceFacts): Part[] {
  if (coverage.lost === 0) return [];
  const { stored, lost } = lastDay.get(id) ?? coverage;
  const ratio = stored + lost === 0 ? 1 : stored / (stored + lost);
  if (ratio >= COVERAGE.warn) return [];
  const say = ratio < COVERAGE.error ? error : warning;
  return [
    say(
      "loss",
      `${id} lost ${lost} event${lost === 1 ? "" : "s"} in the last day; ${(ratio * 100).toFixed(2)} % arrived.`,
      `lost more than ${ratio < COVERAGE.error ? 10 : 1} % of their events in the last day`,
      `Look at \`picket device ${id}\`: kernel means too many at once, evicted means too long offline`,
    ),
  ];
}

function certificateFindings({ id, certificateExpiresMs }: Device, nowMs: number): Part[] {
  const leftMs = certificateExpiresMs - nowMs;
  const days = Math.ceil(leftMs / DAY_MS);
  if (leftMs <= 0)
    return [
      error(
        "expired",
        `The certificate of ${id} has expired.`,
        "have expired certificates",
        `Start picket-agent on ${id}: it may still renew for 180 days`,
      ),
    ];
  if (leftMs >= CERTIFICATE_WARN_MS) return [];
  const what = `The certificate of ${id} expires in ${days} day${days === 1 ? "" : "s"} and was not renewed.`;
  return [
    warning("expires", what, "have certificates that end within a week and were not renewed", `Check that ${id} reaches the HTTPS port`),
  ];
}

function isolationFindings({ id, presence, status, isolationWanted }: Device): Part[] {
  if (!status || presence !== "online") return [];
  const { state } = status.isolation;
  if (isolationWanted && state !== "isolated")
    return [
      error(
        "not isolated",
        `${id} should be isolated but is not (${state}).`,
        "should be isolated but are not",
        `Look at its last command in \`picket device ${id}\`, and order it again`,
      ),
    ];
  if (!isolationWanted && state === "isolated")
    return [
      warning(
        "isolated",
        `${id} is isolated though no operator of this site wants it.`,
        "are isolated though no operator of this site wants it",
        `\`picket release ${id}\`, or find out who ordered it`,
      ),
    ];
  return [];
}

/** What a device that is there says of itself. */
function statusFindings(device: Device, facts: DeviceFacts): Part[] {
  const { id, presence, status } = device;
  const packs = packFindings(device);
  if (presence !== "online" || !status) return packs;
  const found: Part[] = [...packs, ...sensorFindings(device), ...clockFindings(id, facts.clocks.get(id) ?? 0)];
  const { flash, buffer, version, keysVersion } = status;
  if (keysVersion < facts.keysVersion)
    found.push(
      warning(
        "keys",
        `${id} obeys key list ${keysVersion}, the site has ${facts.keysVersion}.`,
        `do not obey key list ${facts.keysVersion} of this site`,
        "It takes the new one at its next connect; if it stays so, its anchor is another: enrol it again",
      ),
    );
  if (flash && flash.wroteBytes > flash.budgetBytes)
    found.push(
      warning(
        "flash",
        `${id} wrote ${mebibytes(flash.wroteBytes)} in its last 24 hours of running, of ${mebibytes(flash.budgetBytes)} it may: events without hits stay in memory.`,
        "wrote more to flash than they may: events without hits stay in memory",
        `See what ${id} does so often, or raise buffer.flashBytesPerDay in its agent.toml`,
      ),
    );
  if (buffer.events > BACKLOG_EVENTS)
    found.push(
      warning(
        "backlog",
        `${buffer.events} events wait on ${id}, though it is online.`,
        `are online, and hold more than ${BACKLOG_EVENTS} events`,
        "It catches up by itself; if the number grows, its line or its quota is too small",
      ),
    );
  const which = apart(version, facts.siteVersion);
  if (which)
    found.push(
      warning(
        `version ${which}`,
        `${id} runs picket-agent ${version}, ${which} than the site (${facts.siteVersion}).`,
        `run a picket-agent that is ${which} than the site (${facts.siteVersion})`,
        which === "newer" ? "Upgrade the site: it may not understand what newer agents send" : `Upgrade picket-agent on ${id}`,
      ),
    );
  return found;
}

function clockFindings(id: string, aheadMs: number): Part[] {
  if (Math.abs(aheadMs) < CLOCK_WARN_MS) return [];
  return [
    warning(
      "clock",
      `The clock of ${id} is ${duration(Math.abs(aheadMs))} ${aheadMs > 0 ? "ahead of" : "behind"} the site's: the times of its events are wrong.`,
      "have clocks that are wrong by more than a minute, so the times of their events are wrong",
      `Set up time synchronisation on ${id} (systemd-timesyncd, chrony)`,
    ),
  ];
}

function sensorFindings({ id, status }: Device): Part[] {
  const weak = status?.capabilities.filter(({ level }) => level !== "live") ?? [];
  return weak.map(({ name, level, why, todo }) =>
    warning(
      `capability ${name} ${level}`,
      `${id}: ${name} is ${level} (${why}).`,
      `have ${name} ${level} (one says: ${why})`,
      todo ?? `Run \`picket-agent check\` on ${id}`,
    ),
  );
}

function packFindings({ id, status }: Device): Part[] {
  return (status?.packs ?? []).flatMap(({ kind, version, refused }) =>
    refused && refused.version > version
      ? [
          warning(
            `pack ${kind} ${refused.version}`,
            `${id} refuses version ${refused.version} of its ${kind}: ${refused.why}`,
            `refuse version ${refused.version} of their ${kind}`,
            `Upgrade picket-agent on ${id} when it is older than the site, or sign other ${kind}`,
          ),
        ]
      : [],
  );
}

const mebibytes = (bytes: number) => `${Math.round(bytes / 2 ** 20)} MiB`;

function duration(ms: number): string {
  if (ms < 2 * MINUTE_MS) return `${Math.round(ms / 1000)} s`;
  const minutes = Math.round(ms / MINUTE_MS);
  if (minutes < 120) return `${minutes} min`;
  return minutes < 2880 ? `${Math.round(minutes / 60)} h` : `${Math.round(minutes / 1440)} days`;
}

const ago = (thenMs: number | undefined, nowMs: number) =>
  thenMs === undefined ? "" : `, last seen ${duration(Math.max(0, nowMs - thenMs))} ago`;
