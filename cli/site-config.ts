// site.toml: one file for the programs of a site, a section for each. The sections' schemas belong to the programs.
import { readFileSync } from "node:fs";
import { BrokerConfig } from "@picket/broker/config";
import { DetectorConfig } from "@picket/detector/config";
import { readConfig } from "@picket/protocol/config";
import * as z from "zod";
import { environment, SITE_CONFIG } from "./config.ts";
import { Failure } from "./failure.ts";

export const SiteConfig = z.strictObject({ broker: BrokerConfig.prefault({}), detector: DetectorConfig.prefault({}) });
export type SiteConfig = z.output<typeof SiteConfig>;

/**
 * The site's configuration: command line > PICKET_BROKER_* and PICKET_DETECTOR_* > file > default. Without --config the default file may
 * be absent. Throws `BadConfig` with all problems, `Failure` when a named file cannot be read.
 */
export function readSiteConfig(file: string | undefined, args: Record<string, unknown> = {}): SiteConfig {
  return readConfig(SiteConfig, { args, env: environment(), file: read(file) });
}

function read(file: string | undefined): { name: string; text: string } | undefined {
  const name = file ?? SITE_CONFIG;
  try {
    return { name, text: readFileSync(name, "utf8") };
  } catch (error) {
    if (file === undefined && (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new Failure(`${name} cannot be read: ${(error as Error).message}`, "Name another file with --config.");
  }
}
