// What the events an agent printed would have taken on the wire to its site.
import { encodeBatch } from "../../protocol/batch.ts";
import type { SensorEvent } from "../../protocol/event.ts";
import type { Scene } from "./scene.ts";

/** As many as the agent sends at once when there is much to send. */
const BATCH = 500;
const BOOT = "0b3a1c52-6f0e-4f60-9c7e-1d1f0f3a7c11";

/** Payload bytes per event, in batches of 500, of events of these types that the scene's programs caused. Undefined when there is none. */
export async function wireBytes(output: string, types: readonly string[], scene: Scene): Promise<number | undefined> {
  const events = (await Bun.file(output).text())
    .split("\n")
    .filter((line) => types.some((type) => line.includes(`"type":"${type}"`)) && line.includes(scene.dir))
    .map((line) => JSON.parse(line) as SensorEvent);
  if (events.length === 0) return undefined;
  let bytes = 0;
  for (let at = 0; at < events.length; at += BATCH)
    bytes += encodeBatch({ boot: BOOT, oldest: 0, events: events.slice(at, at + BATCH) }).length;
  return bytes / events.length;
}
