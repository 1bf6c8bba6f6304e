// What leaves the device of command lines and texts.
import { randomBytes } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SensorEvent } from "@picket/protocol/event";
import type { AgentConfig } from "./config.ts";
import { createMask } from "./mask/mask.ts";

const KEY_BYTES = 32;

/**
 * How this device masks. The key of its marks is kept in `stateDir` and never sent, so that nobody who reads the log can try passwords against them; without a folder marks are only
 * comparable within one run. Throws when the key can be neither read nor written.
 */
export function maskOf(config: AgentConfig, stateDir?: string): (event: SensorEvent) => SensorEvent {
  if (!config.privacy.mask) return (event) => event;
  const key = stateDir === undefined ? randomBytes(KEY_BYTES) : keyIn(join(stateDir, "mask.key"));
  return createMask({ key, names: config.privacy.names, patterns: config.privacy.patterns });
}

function keyIn(path: string): Uint8Array {
  try {
    const key = readFileSync(path);
    if (key.length === KEY_BYTES) return key;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
  const key = randomBytes(KEY_BYTES);
  writeFileSync(`${path}.new`, key, { mode: 0o600, flush: true });
  renameSync(`${path}.new`, path);
  return key;
}
