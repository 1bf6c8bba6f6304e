import type { SensorEvent } from "@picket/protocol/event";

export const boot = "7d3c1f0e-2b4a-4c5d-8e6f-0123456789ab";

/** An event of device "pi" with a known payload. */
export function plain(epoch: string, seq: number, text = `line ${seq}`): SensorEvent {
  return { v: 1, device: "pi", epoch, seq, timeMs: 1_700_000_000_000 + seq, type: "log.line", body: { source: "test", message: text } };
}

export const hit = (epoch: string, seq: number): SensorEvent => ({ ...plain(epoch, seq), hits: [{ rule: "r-1", version: "1" }] });

export const result = (epoch: string, seq: number): SensorEvent => ({
  v: 1,
  device: "pi",
  epoch,
  seq,
  timeMs: 1_700_000_000_000 + seq,
  type: "response.result",
  body: { jti: "j", act: "isolate", ok: true, code: "done", message: "" },
});
