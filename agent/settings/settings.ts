// What the site's settings mean on this device: which value of each is in force, from where, and how a new one takes effect while the agent runs.
import { readSettings, type SettingKey, type Settings, settingKeys, settings } from "@picket/protocol/settings";

/**
 * Where a value comes from. What the device's own configuration says explicitly is never overruled from afar; a pack for the device goes before one for
 * the whole site.
 */
export type Origin = "configuration" | "device" | "site" | "standard";
export type Effective = Readonly<Record<SettingKey, { readonly value: number; readonly from: Origin }>>;

/** Values that the device's configuration (command line, environment, file) gives explicitly. */
export type Local = { readonly [K in SettingKey]?: number };

export function effective(of: {
  readonly local: Local;
  readonly site?: Settings | undefined;
  readonly device?: Settings | undefined;
}): Effective {
  const pick = (key: SettingKey): { value: number; from: Origin } => {
    const sources: [number | undefined, Origin][] = [
      [of.local[key], "configuration"],
      [of.device?.[key], "device"],
      [of.site?.[key], "site"],
    ];
    for (const [value, from] of sources) if (value !== undefined) return { value, from };
    return { value: settings[key].standard, from: "standard" };
  };
  return Object.fromEntries(settingKeys.map((key) => [key, pick(key)])) as Effective;
}

/** What a payload in force sets. One that is no longer understood (the agent is older now) sets nothing. */
export function settingsIn(pack: { readonly payload: unknown } | undefined): Settings | undefined {
  const read = pack && readSettings(pack.payload);
  return typeof read === "string" ? undefined : read;
}

/** Keys that some pack sets, and the device's own configuration holds. */
export const heldBack = (now: Effective, packs: readonly (Settings | undefined)[]): SettingKey[] =>
  settingKeys.filter((key) => now[key].from === "configuration" && packs.some((pack) => pack?.[key] !== undefined));

/** "metricsS = 30, inventory.users = 600": those that come from the site. */
export function settingsWords(now: Effective): string {
  const set = settingKeys.filter((key) => now[key].from === "site" || now[key].from === "device");
  return set.length === 0 ? "nothing is set from the site" : set.map((key) => `${key} = ${now[key].value}`).join(", ");
}

/** Sets one knob of the running agent. May throw. */
export type Turn = (key: SettingKey, value: number) => void;

/** Turns the knobs that differ. Throws what a knob threw, after turning back those that had been turned. */
export function turnTo(next: Effective, before: Effective, turn: Turn): void {
  const turned: SettingKey[] = [];
  try {
    for (const key of settingKeys) {
      if (next[key].value === before[key].value) continue;
      turned.push(key);
      turn(key, next[key].value);
    }
  } catch (error) {
    for (const key of turned) {
      try {
        turn(key, before[key].value);
      } catch {
        // The knob that does not turn: it stands where it stood.
      }
    }
    throw new Error(`${turned.at(-1)}: ${error instanceof Error ? error.message : error}`);
  }
}
