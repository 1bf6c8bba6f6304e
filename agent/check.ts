import type { Capability } from "@picket/protocol/status";
import type { AgentConfig } from "./config.ts";
import { checkHostSources } from "./host-sources.ts";
import { withinLimits } from "./own-use.ts";
import { checkThisHost } from "./response/index.ts";
import { checkHost } from "./sensor.ts";
import type { Local } from "./settings/settings.ts";
import { localOf, settingsOnDisk } from "./site-settings.ts";
import { findStatus } from "./status-file.ts";

/** Probes what this host can do, and what its site has set, without an agent running and without changing anything. */
export async function checkCapabilities(config: AgentConfig, explicit: Local): Promise<Capability[]> {
  return [...checkHost(), ...checkHostSources(), await checkThisHost(), ownUse(config), ...settingsOf(config, explicit)];
}

/** As the agent that runs here says; else what one would do. */
function ownUse({ state, own }: AgentConfig): Capability {
  const found = findStatus(state);
  const limits = withinLimits(own);
  return (found?.running && found.status.online.capabilities.find(({ name }) => name === limits.name)) || limits;
}

function settingsOf(config: AgentConfig, explicit: Local): Capability[] {
  try {
    return settingsOnDisk(config.state, localOf(explicit, config.inventory)).capability;
  } catch (error) {
    const why = `what the site has set cannot be read: ${error instanceof Error ? error.message : error}`;
    return [{ name: "settings", level: "degraded", why: why.slice(0, 512), todo: "run this as root" }];
  }
}
