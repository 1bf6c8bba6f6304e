// What the site has set, above the configuration of the device itself: comments, so that what `config --print` prints stays a configuration.
import { settingKeys, settings } from "@picket/protocol/settings";
import type { AgentConfig } from "./config.ts";
import type { Local } from "./settings/settings.ts";
import { localOf, settingsOnDisk } from "./site-settings.ts";

/** Empty where the site has set nothing. A setting of the site is in effect instead of the default that stands below. */
export function printSettings(config: AgentConfig, explicit: Local): string {
  let now: ReturnType<typeof settingsOnDisk>["now"];
  try {
    ({ now } = settingsOnDisk(config.state, localOf(explicit, config.inventory)));
  } catch (error) {
    return `# What the site has set cannot be read (${error instanceof Error ? error.message : error}): run this as root.\n\n`;
  }
  const set = settingKeys.filter((key) => now[key].from === "site" || now[key].from === "device");
  if (set.length === 0) return "";
  const lines = set.map((key) => {
    const { value, from } = now[key];
    return `#   ${key} = ${value}  (${from === "site" ? "for the whole site" : "for this device"}; ${settings[key].standard} otherwise. ${settings[key].what})`;
  });
  return `# Set by the site's operators, in effect instead of the defaults below:\n${lines.join("\n")}\n\n`;
}
