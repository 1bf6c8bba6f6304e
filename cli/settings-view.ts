// How far the devices of a site have got with its packs: settings, or rules. Pure: what they said with their last heartbeat goes in.
import { type PackKind, type PackRecord, WHOLE_SITE } from "@picket/protocol/pack";
import type { Device } from "@picket/protocol/rest";

export type SettingsState =
  /** All that is set for it is in force there. */
  | "runs"
  /** Online, and has not said so yet. */
  | "waiting"
  /** Not online: it hears of it when it connects. */
  | "away"
  | "refused"
  /** Its agent knows no settings. */
  | "too-old"
  /** It has a later version than the site. */
  | "ahead";

export type DeviceSettings = {
  readonly device: string;
  readonly state: SettingsState;
  /** In force; absent: none. */
  readonly site?: number;
  readonly own?: number;
  /** For people; why, when it was refused. */
  readonly words: string;
  /** Settings its own configuration decides. */
  readonly held: readonly string[];
};

/** For each device that is not revoked. `packs`: those of the kind. */
export function settingsOf(
  devices: readonly Device[],
  packs: readonly Pick<PackRecord, "dev" | "version">[],
  kind: PackKind = "settings",
): DeviceSettings[] {
  return devices.filter(({ trust }) => trust !== "revoked").map((device) => stateOf(device, packs, kind));
}

function stateOf(device: Device, packs: readonly Pick<PackRecord, "dev" | "version">[], of: PackKind): DeviceSettings {
  const said = device.status?.packs?.filter(({ kind }) => kind === of);
  const has = (dev: string) => said?.find((one) => one.dev === dev);
  const wanted = packs.filter(({ dev }) => dev === WHOLE_SITE || dev === device.id);
  const behind = wanted.filter(({ dev, version }) => (has(dev)?.version ?? 0) < version);
  const refused = behind
    .map(({ dev, version }) => ({ version, refused: has(dev)?.refused }))
    .find(({ version, refused }) => refused?.version === version);
  const ahead = said?.find(({ dev, version }) => version > (packs.find((one) => one.dev === dev)?.version ?? 0));
  const [site, own] = [has(WHOLE_SITE)?.version, has(device.id)?.version];
  const view = (state: SettingsState, words: string): DeviceSettings => ({
    ...{ device: device.id, state, words, held: device.status?.held ?? [] },
    ...(site ? { site } : {}),
    ...(own ? { own } : {}),
  });
  if (refused) return view("refused", `refuses version ${refused.version}: ${refused.refused?.why}`);
  if (behind.length > 0) {
    if (device.presence !== "online") return view("away", `${device.presence}: hears of it when it connects`);
    if (device.status && !device.status.packs) return view("too-old", `its agent knows no ${of}: upgrade it`);
    return view("waiting", "has not taken it yet; what it said: picket events --type response.result");
  }
  if (ahead) return view("ahead", `has version ${ahead.version}, which this site does not have: was it restored from a backup?`);
  return view("runs", wanted.length > 0 ? "runs them" : "nothing is set for it");
}
