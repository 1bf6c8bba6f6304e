// Simulated devices as the broker sees them: certificates, connections, batches, heartbeats.
import { encodeBatch } from "../protocol/batch.ts";
import { clientId } from "../protocol/names.ts";
import type { OnlineStatus } from "../protocol/status.ts";
import { topic } from "../protocol/topics.ts";
import { type LoadClient, openClient, type Target } from "./load.ts";
import { type DeviceIdentity, SITE } from "./site.ts";
import { fileEvents, workloadBoot } from "./workload.ts";

const HANDSHAKES_AT_ONCE = 50;

/** A few at a time: handshakes are not what is measured. */
export async function connectAll(target: Target, devices: readonly DeviceIdentity[]): Promise<LoadClient[]> {
  const clients: LoadClient[] = [];
  while (clients.length < devices.length) {
    const next = devices.slice(clients.length, clients.length + HANDSHAKES_AT_ONCE);
    clients.push(...(await Promise.all(next.map((who) => openClient(target, who, clientId("device", who.name))))));
  }
  return clients;
}

/** Seconds from the first PUBLISH to the last PUBACK, each device `window` messages ahead. */
export async function publishAll(
  clients: readonly LoadClient[],
  devices: readonly DeviceIdentity[],
  payloads: readonly (readonly Uint8Array[])[],
  window: number,
): Promise<number> {
  const began = performance.now();
  await Promise.all(clients.map((client, at) => client.publish(topic("events", SITE, devices[at]!.name), payloads[at]!, window)));
  return (performance.now() - began) / 1000;
}

/** `count` batches of `size` events that happen now, numbered without holes from round to round. */
export function batchesOf(device: string, epoch: string, of: { round: number; count: number; size: number }): Uint8Array[] {
  const first = of.round * of.count * of.size;
  return Array.from({ length: of.count }, (_, at) => {
    const from = first + at * of.size;
    const made = fileEvents(of.size, { device, epoch, seed: from });
    const later = Date.now() - made.at(-1)!.timeMs;
    const events = made.map((event) => ({ ...event, seq: from + event.seq, timeMs: event.timeMs + later }));
    return encodeBatch({ boot: workloadBoot, oldest: from, events });
  });
}

/** What an agent says of itself. */
export const heartbeatOf = (epoch: string, changes: Partial<OnlineStatus> = {}): OnlineStatus => ({
  ...{ v: 1, state: "online", timeMs: Date.now(), boot: workloadBoot, epoch, version: "0.1.0", arch: "x64", kernel: "6.18" },
  ...{ uptimeS: 86_400, capabilities: [], isolation: { state: "off" }, keysVersion: 0, produced: 0 },
  ...{ lost: { kernel: 0, shed: 0, buffer: 0 }, buffer: { events: 0, bytes: 0 }, epochs: [], rssBytes: 64 << 20, cpuS: 60 },
  ...changes,
});
