// The payload of `.../status`: a heartbeat every 15 s, and the Last Will.
import * as z from "zod";
import { bootId, epochId } from "./names.ts";
import { PackState } from "./pack.ts";

/** Seconds between heartbeats, and after how many without one a device counts as offline. */
export const HEARTBEAT_S = 15;
export const OFFLINE_AFTER_S = 45;

export const CapabilityLevel = z.enum(["live", "degraded", "off"]);
/** What `picket-agent check` says and a heartbeat repeats: level, why, and what to do about it. */
export const Capability = z.object({
  name: z.string().max(64),
  level: CapabilityLevel,
  why: z.string().max(512),
  todo: z.string().max(512).optional(),
});
export type Capability = z.infer<typeof Capability>;

export const IsolationState = z.object({
  state: z.enum(["off", "isolated", "released-by-dead-man"]),
  /** Wall time of the last change, milliseconds. */
  sinceMs: z.int().nonnegative().optional(),
  /** Dead-man timer left while the broker is unreachable, milliseconds of boot time. */
  deadManLeftMs: z.int().nonnegative().optional(),
  reason: z.string().max(256).optional(),
});
export type IsolationState = z.infer<typeof IsolationState>;

export const Online = z.object({
  v: z.literal(1),
  state: z.literal("online"),
  timeMs: z.int().nonnegative(),
  boot: bootId,
  epoch: epochId,
  version: z.string().max(32),
  arch: z.string().max(16),
  kernel: z.string().max(128),
  uptimeS: z.number().nonnegative(),
  capabilities: z.array(Capability).max(64),
  isolation: IsolationState,
  /** Version of the operators' key list the device obeys; 0 before it has one. */
  keysVersion: z.int().nonnegative(),
  /** Events numbered in this epoch, and all counted loss in it, by place. */
  produced: z.int().nonnegative(),
  lost: z.object({ kernel: z.int().nonnegative(), shed: z.int().nonnegative(), buffer: z.int().nonnegative() }),
  /** More about `lost.buffer`. Absent from agents that do not tell. */
  bufferLost: z
    .object({
      /** By what the events were worth: plain ones are evicted first, results of commands last. */
      by: z.object({ plain: z.int().nonnegative(), hit: z.int().nonnegative(), result: z.int().nonnegative() }),
      /**
       * By the epoch the events were numbered in, of those in `epochs` that lost any: [epoch, lost, and at most so many more]. All are holes in the
       * epoch's numbers. The last figure is not 0 after a loss of power: those may have been lost, or acknowledged, or never used.
       */
      epochs: z.array(z.tuple([epochId, z.int().nonnegative(), z.int().nonnegative()])).max(64),
    })
    .optional(),
  /** Bytes the agent wrote to storage in its last 24 hours of running, and how many it may. */
  flash: z.object({ wroteBytes: z.int().nonnegative(), budgetBytes: z.int().nonnegative() }).optional(),
  /** What waits on the device. */
  buffer: z.object({ events: z.int().nonnegative(), bytes: z.int().nonnegative() }),
  /** Epochs the device still holds events of: [epoch, oldest seq held, next seq]. Below `oldest`, what the broker lacks is lost. */
  epochs: z.array(z.tuple([epochId, z.int().nonnegative(), z.int().nonnegative()])).max(64),
  rssBytes: z.int().nonnegative(),
  /** How often the canary sings, seconds; absent when the agent has none. */
  canaryS: z.int().positive().optional(),
  /** What operators set on it: which version of each pack is in force. Absent from agents that know no packs. */
  packs: z.array(PackState).max(16).optional(),
  /** Settings that the device's own configuration decides, whatever the site says (protocol/settings.ts). */
  held: z.array(z.string().max(64)).max(64).optional(),
  /** CPU seconds used by the agent since it started. */
  cpuS: z.number().nonnegative(),
});

/** `stopped` is said on a clean stop; `offline` is the Last Will, said by the broker for a device that vanished. */
export const Gone = z.object({ v: z.literal(1), state: z.enum(["stopped", "offline"]), epoch: epochId });

export const DeviceStatus = z.discriminatedUnion("state", [Online, Gone]);
export type DeviceStatus = z.infer<typeof DeviceStatus>;
export type OnlineStatus = z.infer<typeof Online>;
