// What the site has set on this device: wires packs/, which takes what operators signed, to settings/, which knows what it means, and to the parts it changes.
import type { PackKind } from "@picket/protocol/pack";
import { readSettings, type SettingKey, settingKeys } from "@picket/protocol/settings";
import type { Capability, OnlineStatus } from "@picket/protocol/status";
import type { Canary } from "./canary.ts";
import type { Identity } from "./enroll/files.ts";
import type { Inventory } from "./host/inventory.ts";
import type { Metrics } from "./host/metrics.ts";
import type { LocalRules } from "./local-rules.ts";
import type { Log } from "./log.ts";
import { type InForce, openPacks, type Packs, type PackUse, packsInForce } from "./packs/packs.ts";
import type { Recorder } from "./recorder.ts";
import { type Effective, effective, heldBack, type Local, settingsIn, settingsWords, type Turn, turnTo } from "./settings/settings.ts";

const KIND: PackKind = "settings";

export type SiteSettings = Pick<Packs, "take"> & {
  restore(): Promise<ReturnType<Packs["restore"]>>;
  value(key: SettingKey): number;
  /** For the heartbeat. */
  status(): Pick<OnlineStatus, "packs" | "held">;
  capability(): Capability[];
};

/** Opens what is in force; nothing changes until `restore`. Throws when the state folder cannot be read. */
export function openSiteSettings(of: {
  readonly state: string;
  readonly identity: Identity;
  readonly local: Local;
  readonly turn: Turn;
  readonly rules: Pick<LocalRules, "use" | "capability">;
  readonly log: Log;
}): SiteSettings {
  const { state, identity, local, turn, rules, log } = of;
  const { site, device, anchor } = identity;
  let known: InForce = { site: undefined, device: undefined };
  let now = meaning(local, known);
  const use: PackUse = {
    refuse: (payload) => {
      const read = readSettings(payload);
      return typeof read === "string" ? read : undefined;
    },
    apply: (packs) => {
      const next = meaning(local, packs);
      turnTo(next, now, turn);
      now = next;
      known = packs;
      return words(now, known);
    },
  };
  const packs = openPacks({
    dir: state,
    site,
    device,
    anchor,
    uses: { settings: use, rules: rules.use },
    log: (level, message) => log(level, message),
  });
  const refused = (of: PackKind) => packs.state().find(({ kind, refused }) => kind === of && refused)?.refused;
  return {
    restore: async () => {
      if (packs.state().some(({ kind }) => kind === "rules")) await rules.use.load?.();
      return packs.restore();
    },
    take: packs.take,
    value: (key) => now[key].value,
    status: () => ({ packs: packs.state(), held: held(now, known) }),
    capability: () => [
      ...capabilityOf({ now, known, damaged: packs.damaged, refused: refused(KIND) }),
      ...rulesCapability(rules.capability(), refused("rules")),
    ],
  };
}

/** What the last agent that ran here left in force. Changes nothing. Throws when the state folder cannot be read. */
export function settingsOnDisk(state: string, local: Local): { readonly now: Effective; readonly capability: Capability[] } {
  const known = packsInForce(state, KIND);
  const now = meaning(local, known);
  return { now, capability: capabilityOf({ now, known }) };
}

const meaning = (local: Local, { site, device }: InForce) => effective({ local, site: settingsIn(site), device: settingsIn(device) });
const held = (now: Effective, { site, device }: InForce) => heldBack(now, [settingsIn(site), settingsIn(device)]);

function words(now: Effective, known: InForce): string {
  const kept = held(now, known);
  return `${settingsWords(now)}${kept.length > 0 ? ` (this device's own configuration keeps ${kept.join(", ")})` : ""}`;
}

function capabilityOf(of: {
  readonly now: Effective;
  readonly known: InForce;
  readonly damaged?: string | undefined;
  readonly refused?: { readonly version: number; readonly why: string } | undefined;
}): Capability[] {
  const { now, known, damaged, refused } = of;
  if (damaged !== undefined)
    return [
      { name: "settings", level: "degraded", why: `${damaged}: settings of the site are not taken`, todo: "enrol this device again" },
    ];
  const versions = [
    known.site && `version ${known.site.version} of the site`,
    known.device && `version ${known.device.version} of this device`,
  ];
  const from = versions.filter((text) => text !== undefined).join(" and ");
  if (from === "" && !refused) return [];
  const not = refused ? `; version ${refused.version} is refused: ${refused.why}` : "";
  return [{ name: "settings", level: "live", why: `${from === "" ? "none" : `${from}: ${words(now, known)}`}${not}`.slice(0, 512) }];
}

/** With what was refused of a later pack. */
function rulesCapability(said: Capability[], refused: { readonly version: number; readonly why: string } | undefined): Capability[] {
  if (!refused) return said;
  const not = `version ${refused.version} is refused: ${refused.why}`;
  const [one] = said;
  return [{ ...(one ?? { name: "rules", level: "live" }), why: (one ? `${one.why}; ${not}` : not).slice(0, 512) }];
}

/** Values the configuration gives explicitly; where the inventory is switched off there, no table is ever looked at, whatever the site says. */
export const localOf = (explicit: Local, inventory: boolean): Local =>
  inventory
    ? explicit
    : { ...explicit, ...Object.fromEntries(settingKeys.filter((key) => key.startsWith("inventory.")).map((key) => [key, 0])) };

/** Turns the knobs of the running parts. */
export const knobs =
  (parts: {
    readonly metrics: Metrics;
    readonly canary: Canary;
    readonly recorder: Recorder;
    readonly inventory: Inventory | undefined;
    readonly heartbeat: (ms: number) => void;
  }): Turn =>
  (key, value) => {
    switch (key) {
      case "metricsS":
        return parts.metrics.every(value * 1000);
      case "canaryS":
        return parts.canary.every(value * 1000);
      case "heartbeatS":
        return parts.heartbeat(value * 1000);
      case "eventsPerS":
        return parts.recorder.limit(value);
      default:
        return parts.inventory?.every(key.slice("inventory.".length), value);
    }
  };
