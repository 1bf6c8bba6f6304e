// What the agent tells Prometheus. docs/metrics.md explains each.
import { exposition, type Metrics, processMetrics, processValues, type Values } from "@picket/protocol/metrics";
import type { AgentFacts } from "./facts.ts";

export const agentMetrics = {
  picket_agent_info: { type: "gauge", help: "Always 1; the labels say which agent this is.", labels: ["version", "arch"] },
  picket_agent_connected: { type: "gauge", help: "1 while the site is connected.", labels: [] },
  picket_agent_events_total: { type: "counter", help: "Events numbered since the agent started.", labels: ["type"] },
  picket_agent_events_lost_total: {
    type: "counter",
    help: "Events lost since the agent started, by where and by what they were worth.",
    labels: ["where", "class"],
  },
  picket_agent_acknowledged_age_seconds: { type: "gauge", help: "Since the site last acknowledged events.", labels: [] },
  picket_agent_canary_age_seconds: { type: "gauge", help: "Since the sensor last saw what the agent does to test it.", labels: [] },
  picket_agent_capability_ratio: { type: "gauge", help: "1 live, 0.5 degraded, 0 off.", labels: ["name"] },
  picket_agent_isolated: { type: "gauge", help: "1 while the device is isolated.", labels: [] },
  picket_agent_certificate_expiry_timestamp_seconds: { type: "gauge", help: "When this device's certificate ends, Unix time.", labels: [] },
  picket_buffer_events: { type: "gauge", help: "Events the site is not known to have.", labels: [] },
  picket_buffer_bytes: { type: "gauge", help: "Of them, as JSON.", labels: [] },
  picket_flash_written_bytes_total: { type: "counter", help: "Written to storage since the agent started.", labels: [] },
  picket_flash_day_written_bytes: { type: "gauge", help: "Written to storage in the last 24 hours of running.", labels: [] },
  picket_flash_day_budget_bytes: { type: "gauge", help: "What may be written in 24 hours of running.", labels: [] },
  ...processMetrics,
} as const satisfies Metrics;

const levels = { live: 1, degraded: 0.5, off: 0 } as const;

/** `writtenBytes`: of this process, where the kernel counts them. */
export const agentExposition = (facts: AgentFacts, writtenBytes: number | undefined): string =>
  exposition(agentMetrics, valuesOf(facts, writtenBytes));

function valuesOf(facts: AgentFacts, writtenBytes: number | undefined): Values<typeof agentMetrics> {
  const { status, connection, canaryMs, answeredAgoMs, nowMs, byType, bufferLost } = facts;
  const { version, arch, capabilities, lost, buffer, flash } = status;
  return {
    picket_agent_info: [{ labels: { version, arch }, value: 1 }],
    picket_agent_connected: Number(connection.connected),
    picket_agent_events_total: [...byType].map(([type, value]) => ({ labels: { type }, value })),
    picket_agent_events_lost_total: [
      { labels: { where: "kernel", class: "unknown" }, value: lost.kernel },
      { labels: { where: "shed", class: "plain" }, value: lost.shed },
      ...(["plain", "hit", "result"] as const).map((worth) => ({ labels: { where: "buffer", class: worth }, value: bufferLost[worth] })),
    ],
    picket_agent_acknowledged_age_seconds: Number.isFinite(answeredAgoMs) ? answeredAgoMs / 1000 : undefined,
    picket_agent_canary_age_seconds: canaryMs === undefined ? undefined : (nowMs - canaryMs) / 1000,
    picket_agent_capability_ratio: capabilities.map(({ name, level }) => ({ labels: { name }, value: levels[level] })),
    picket_agent_isolated: Number(status.isolation.state === "isolated"),
    picket_agent_certificate_expiry_timestamp_seconds: facts.certificateExpiresMs / 1000,
    picket_buffer_events: buffer.events,
    picket_buffer_bytes: buffer.bytes,
    picket_flash_written_bytes_total: writtenBytes,
    picket_flash_day_written_bytes: flash?.wroteBytes,
    picket_flash_day_budget_bytes: flash?.budgetBytes,
    ...processValues(nowMs),
  };
}
