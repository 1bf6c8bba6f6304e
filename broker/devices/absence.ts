// How a device went, and whether many went at once. Pure: what was seen in, the verdict out.
import { OFFLINE_AFTER_S } from "@picket/protocol/status";
import type { How, Sighting } from "../store/absences.ts";

/** systemd starts a killed agent again after 5 s; a start takes some seconds on a small board. */
export const KILLED_GRACE_MS = 20_000;
/** A clean stop is a reboot or an update until it lasts longer than this. Whoever has root can end the agent cleanly too. */
export const STOPPED_TOO_LONG_MS = 10 * 60_000;
export const OFFLINE_AFTER_MS = OFFLINE_AFTER_S * 1000;
/** Silence of more than a heartbeat: not yet worth an alert, but others may be silent as well. */
const SUSPECT_AFTER_MS = 20_000;
/** Devices that went within this time went together: what ends them at once is noticed a heartbeat or a keep-alive apart. */
export const TOGETHER_MS = 45_000;
/** One that is due waits this long for others that are only suspected, so that they make one alert and not many. */
const HOLD_MS = 30_000;

/** Many at once: this many and this share of those that were there, or this share of a network; or all, of a small site. */
const MANY = 5;
const SHARE_OF_SITE = 0.2;
const SHARE_OF_NETWORK = 0.5;
const ALL = 3;

/** A device that is away and was not judged. */
export type Gone = { readonly device: string; readonly how: How; readonly goneMs: number; readonly network: string };
export type Judged = {
  /** Went together: one alert. */
  readonly blackouts: readonly { readonly members: readonly Gone[]; readonly base: number }[];
  readonly alone: readonly Gone[];
};

/**
 * `hearingSinceMs`: since when the broker could have heard that device. What went before is not held against it.
 * Devices that were judged, are revoked or in a blackout are the caller's to leave out; `all` holds them too, for the shares.
 */
export function judgeAbsences(all: readonly Sighting[], hearingSinceMs: (of: Sighting) => number, nowMs: number): Judged {
  const open = all.filter((one) => one.judged === 0 && one.blackout === null);
  const due = open.filter((one) => isDue(one, hearingSinceMs(one), nowMs)).map(toGone);
  const suspects = open.filter((one) => isSuspect(one, hearingSinceMs(one), nowMs)).map(toGone);
  const there = all.filter((one) => one.judged === 0 && one.blackout === null && one.presence !== "stopped");
  const alone: Gone[] = [];
  const blackouts: { members: Gone[]; base: number }[] = [];
  const taken = new Set<string>();
  for (const gone of due.toSorted((a, b) => a.goneMs - b.goneMs)) {
    if (taken.has(gone.device)) continue;
    const together = due.filter((one) => !taken.has(one.device) && isTogether(gone, one));
    if (gone.how !== "stopped" && isBlackout(together, there)) {
      for (const { device } of together) taken.add(device);
      blackouts.push({ members: together, base: there.length });
      continue;
    }
    const maybe = suspects.filter((one) => isTogether(gone, one));
    const held = nowMs - gone.goneMs < OFFLINE_AFTER_MS + HOLD_MS;
    if (gone.how === "stopped" || !held || !isBlackout(maybe, there)) alone.push(gone);
  }
  return { blackouts, alone };
}

const toGone = ({ device, how, goneMs, lastSeenMs, address }: Sighting): Gone => ({
  device,
  how: how ?? "silent",
  goneMs: goneMs ?? lastSeenMs,
  network: networkOf(address),
});

function isDue({ presence, how, goneMs, lastSeenMs }: Sighting, hearingSinceMs: number, nowMs: number): boolean {
  if (presence === "stopped") return Math.max(lastSeenMs, hearingSinceMs) + STOPPED_TOO_LONG_MS <= nowMs;
  if (how === "killed" && goneMs !== null && goneMs + KILLED_GRACE_MS <= nowMs && hearingSinceMs + OFFLINE_AFTER_MS <= nowMs) return true;
  return Math.max(lastSeenMs, hearingSinceMs) + OFFLINE_AFTER_MS <= nowMs;
}

const isSuspect = ({ presence, how, lastSeenMs }: Sighting, hearingSinceMs: number, nowMs: number) =>
  presence !== "stopped" && (how !== null || Math.max(lastSeenMs, hearingSinceMs) + SUSPECT_AFTER_MS <= nowMs);

const isTogether = (a: Gone, b: Gone) => b.how !== "stopped" && Math.abs(a.goneMs - b.goneMs) <= TOGETHER_MS;

function isBlackout(gone: readonly Gone[], there: readonly Sighting[]): boolean {
  const count = gone.length;
  if (count >= ALL && count === there.length) return true;
  if (count < MANY) return false;
  if (count >= there.length * SHARE_OF_SITE) return true;
  const inNetwork = Map.groupBy(there, ({ address }) => networkOf(address));
  return [...Map.groupBy(gone, ({ network }) => network)].some(
    ([network, of]) => network !== "" && of.length >= MANY && of.length >= (inNetwork.get(network)?.length ?? 0) * SHARE_OF_NETWORK,
  );
}

/** The /24 of an IPv4 address, the /64 of an IPv6 one; empty where none is known. */
export function networkOf(address: string | null): string {
  const plain = (address ?? "").replace(/^::ffff:(?=\d+\.)/, "");
  const four = /^(\d+\.\d+\.\d+)\.\d+$/.exec(plain)?.[1];
  if (four !== undefined) return `${four}.0/24`;
  if (!plain.includes(":")) return "";
  const [head = "", tail = ""] = plain.split("%", 1)[0]!.split("::");
  const left = head.split(":").filter(Boolean);
  const right = plain.includes("::") ? tail.split(":").filter(Boolean) : [];
  const groups = [...left, ...Array.from({ length: Math.max(0, 8 - left.length - right.length) }, () => "0"), ...right];
  return `${groups.slice(0, 4).join(":")}::/64`;
}

export const isLoopback = (address: string | null) => /^(?:127\.|::1$|::ffff:127\.)/.test(address ?? "");
