// What the agent says about the machine it runs on.
import { readFileSync } from "node:fs";
import { arch, hostname, release } from "node:os";
import manifest from "./package.json";

export const version: string = manifest.version;

/** Boot id, architecture and kernel release, as events and heartbeats carry them. */
export function thisHost() {
  return {
    boot: readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim(),
    arch: arch(),
    kernel: release(),
  };
}

/** The host's name as a device name: lower case, other characters as hyphens, at most 63; "localhost" when nothing is left. */
export function hostLabel(name: string = hostname()): string {
  const label = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9]+/g, "-")
    .slice(0, 63)
    .replaceAll(/^-+|-+$/g, "");
  return label || "localhost";
}
