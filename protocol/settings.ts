// What may be changed on devices from the site, and how far. Payload of a pack of the kind "settings".

import * as z from "zod";
import { tryParse } from "./try-parse.ts";

type Setting = { readonly standard: number; readonly min: number; readonly max: number; readonly what: string };

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;

const table = (name: string, standard: number, min: number, max: number): Setting => ({
  standard,
  min,
  max,
  what: `Seconds between two looks at the inventory table ${name}`,
});

/**
 * Every setting: what holds without it, and its bounds. Nothing here switches anything off, and the bounds are such that whoever stole an operator's
 * key cannot blind a device with it: the canary still comes every five minutes, each table is still read, and half of the usual events are still kept.
 */
export const settings = {
  metricsS: { standard: MINUTE, min: 10, max: HOUR, what: "Seconds between two host.metrics" },
  canaryS: { standard: MINUTE, min: 10, max: 5 * MINUTE, what: "Seconds between two looks of the agent at itself" },
  heartbeatS: { standard: 15, min: 5, max: 30, what: "Seconds between heartbeats" },
  eventsPerS: { standard: 2000, min: 1000, max: 20_000, what: "Events kept per second, on average" },
  "inventory.processes": table("processes", MINUTE, 30, HOUR),
  "inventory.listening_ports": table("listening_ports", MINUTE, 30, HOUR),
  "inventory.crontabs": table("crontabs", 5 * MINUTE, MINUTE, 6 * HOUR),
  "inventory.neighbours": table("neighbours", 5 * MINUTE, MINUTE, 6 * HOUR),
  "inventory.users": table("users", HOUR, MINUTE, DAY),
  "inventory.groups": table("groups", HOUR, MINUTE, DAY),
  "inventory.authorized_keys": table("authorized_keys", HOUR, MINUTE, DAY),
  "inventory.systemd_units": table("systemd_units", HOUR, 5 * MINUTE, DAY),
  "inventory.kernel_modules": table("kernel_modules", HOUR, MINUTE, DAY),
  "inventory.mounts": table("mounts", HOUR, MINUTE, DAY),
  "inventory.interfaces": table("interfaces", HOUR, MINUTE, DAY),
  "inventory.packages": table("packages", HOUR, 5 * MINUTE, DAY),
  "inventory.suid_files": table("suid_files", HOUR, 15 * MINUTE, DAY),
} as const satisfies Record<string, Setting>;
export type SettingKey = keyof typeof settings;
export type InventoryTable = SettingKey extends infer K ? (K extends `inventory.${infer Name}` ? Name : never) : never;
export const settingKeys = Object.keys(settings) as readonly SettingKey[];

export const isSettingKey = (key: string): key is SettingKey => Object.hasOwn(settings, key);

const value = ({ min, max }: Setting) => z.int().min(min, `takes ${min} to ${max}`).max(max, `takes ${min} to ${max}`).optional();

/** What a pack sets; what it leaves out stays as it is without it. A key that is not known is an error: half of what was meant would be in force. */
export const Settings = z.strictObject(Object.fromEntries(settingKeys.map((key) => [key, value(settings[key])])));
export type Settings = { readonly [K in SettingKey]?: number };

/** The settings in a payload, or why it is refused: each wrong key and what it takes. */
export function readSettings(payload: unknown): Settings | string {
  const parsed = tryParse(Settings, payload);
  if (parsed.success) return parsed.data as Settings;
  return parsed.error.issues
    .flatMap((issue) =>
      issue.code === "unrecognized_keys"
        ? issue.keys.map((key) => `${key.slice(0, 64)}: not a setting this version knows`)
        : [`${issue.path.join(".") || "settings"}: ${issue.code === "invalid_type" ? "takes a whole number" : issue.message}`],
    )
    .slice(0, 8)
    .join("; ");
}
