import type { Capability } from "@picket/protocol/status";
import { checkHostSources } from "./host-sources.ts";
import { checkThisHost } from "./response/index.ts";
import { checkHost } from "./sensor.ts";

/** Probes what this host can do, without an agent running and without changing anything. */
export async function checkCapabilities(): Promise<Capability[]> {
  return [...checkHost(), ...checkHostSources(), await checkThisHost()];
}
