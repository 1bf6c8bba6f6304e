// Bytes on the wire per event: what MQTT's PUBLISH carries, topic and header included; TLS adds 22 bytes a record.
import { encodeBatch } from "../protocol/batch.ts";
import { topic } from "../protocol/topics.ts";
import { median, type Result } from "./result.ts";
import { fileEvents, workloadBoot } from "./workload.ts";

/** Fixed header (MQTT 3.1.1, section 3.3): type, remaining length up to three bytes, topic length, packet id. */
const PUBLISH_BYTES = 1 + 3 + 2 + 2;
const TLS_RECORD_BYTES = 22;

export default async function* wire(): AsyncIterable<Result> {
  for (const size of [5, 50, 500]) {
    const perEvent = Array.from({ length: 50 }, (_, seed) => {
      const events = fileEvents(size, { device: "gw-014", epoch: "k3m9x0qa", seed });
      const payload = encodeBatch({ boot: workloadBoot, oldest: 0, events }).length;
      const records = Math.ceil(payload / 16_384);
      return (payload + PUBLISH_BYTES + topic("events", "north", "gw-014").length + records * TLS_RECORD_BYTES) / size;
    });
    yield { metric: `bytes_per_event_batch_${size}`, value: Number(median(perEvent).toFixed(1)), unit: "bytes" };
  }
}
