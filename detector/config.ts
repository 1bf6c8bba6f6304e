// Everything a site's detector can be told: section [detector] of site.toml. Read with protocol/config.ts.
import { statusSettings } from "@picket/protocol/status-page";
import * as z from "zod";
import { WARM_UP_EXECS } from "./pipeline.ts";

export const DetectorConfig = z.strictObject({
  dir: z
    .string()
    .default("/var/lib/picket/site")
    .meta({ description: "The site's directory: its name, CA and the detector's certificate" }),
  host: z.string().min(1).max(253).optional().meta({ description: "Where the broker is; default: the first host the site was made with" }),
  port: z.int().min(1).max(65535).default(8883).meta({ description: "The broker's MQTT port" }),
  rules: z.array(z.string().min(1)).max(64).default([]).meta({ description: "Rule files or folders to add to the shipped rules" }),
  yara: z.array(z.string().min(1)).max(64).default([]).meta({ description: "YARA files or folders to add to the shipped YARA rules" }),
  builtin: z.boolean().default(true).meta({ description: "Use the rules Picket ships" }),
  scan: z
    .boolean()
    .default(true)
    .meta({ description: "Ask devices for files that ran or were written there, and scan them with the YARA rules" }),
  models: z
    .strictObject({
      cmdline: z.boolean().default(true).meta({ description: "Judge command lines with the model Picket ships" }),
      cmdlineAlertsPerDeviceDay: z
        .number()
        .positive()
        .max(1000)
        .default(0.2)
        .meta({ description: "False alerts of the command-line model that a device may make in a day, on average" }),
      behaviour: z
        .boolean()
        .default(true)
        .meta({ description: "Judge devices' minutes with the behaviour model the site learnt, or the one Picket ships" }),
      behaviourAlertsPerDeviceDay: z
        .number()
        .positive()
        .max(100)
        .default(0.1)
        .meta({ description: "False alerts of the behaviour model that a device may make in a day, on average" }),
    })
    .prefault({}),
  status: statusSettings(9101),
  warmUpExecs: z
    .int()
    .min(0)
    .max(900)
    .default(WARM_UP_EXECS)
    .meta({ description: "Programs a device must have started before rarity adds to a score" }),
});
export type DetectorConfig = z.output<typeof DetectorConfig>;

/** Throws when TLS verification was switched off from outside: Bun then accepts anybody. */
export function refuseUnverifiedTls(env: Readonly<Record<string, string | undefined>> = process.env): void {
  if (env.NODE_TLS_REJECT_UNAUTHORIZED === "0")
    throw new Error("NODE_TLS_REJECT_UNAUTHORIZED=0 switches certificate checks off: unset it; the detector does not run without them");
}
