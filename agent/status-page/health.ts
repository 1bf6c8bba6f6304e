// Whether the agent could do its work, and whether it does: what it causes itself comes back, and the site acknowledges.
import { type Health, health } from "@picket/protocol/health";
import type { AgentFacts } from "./facts.ts";

/** Events that must come, missed in a row. */
const MISSED = 3;
const AT_LEAST_S = 180;

export function agentHealth(facts: AgentFacts): Health {
  return health("agent", facts.status.version, { ready: ready(facts), useful: useful(facts) });
}

function ready({ status, connection, certificateExpiresMs, nowMs }: AgentFacts): (string | undefined)[] {
  const { capabilities, flash } = status;
  const named = (name: string) => capabilities.find((one) => one.name === name);
  const sensors = capabilities.filter(({ name }) => name.startsWith("sensor."));
  const attached = sensors.some(({ level }) => level !== "off");
  const buffer = named("buffer");
  // Above its budget the buffer works, in memory.
  const isThrifty = flash !== undefined && flash.wroteBytes >= flash.budgetBytes;
  return [
    attached ? undefined : `no sensor is attached${sensors[0] ? `: ${sensors[0].why}` : ""}`,
    buffer && buffer.level !== "live" && !isThrifty ? `the buffer: ${buffer.why}` : undefined,
    connection.connected ? undefined : `not connected to the site: ${connection.why ?? "connecting"}`,
    certificateExpiresMs > nowMs ? undefined : "this device's certificate has expired",
  ];
}

function useful({ status, canaryMs, answeredAgoMs, everyS, nowMs, startedMs }: AgentFacts): (string | undefined)[] {
  const canary = status.capabilities.find(({ name }) => name === "canary");
  const runsMs = nowMs - startedMs;
  const lateMs = Math.max(AT_LEAST_S, MISSED * everyS) * 1000;
  const canaryAgoMs = Math.min(runsMs, canaryMs === undefined ? Number.POSITIVE_INFINITY : nowMs - canaryMs);
  const silent = canaryAgoMs > Math.max(AT_LEAST_S, MISSED * (status.canaryS ?? 0)) * 1000;
  const unanswered = Math.min(runsMs, answeredAgoMs) > lateMs;
  return [
    canary && canary.level !== "live" ? canary.why : undefined,
    // A sensor that looks only now and then has no canary to miss.
    canary?.level === "live" && status.canaryS !== undefined && silent
      ? `what the agent itself does was not seen for ${seconds(canaryAgoMs)}`
      : undefined,
    unanswered
      ? `the site has acknowledged nothing for ${seconds(Math.min(runsMs, answeredAgoMs))}; ${status.buffer.events} events wait`
      : undefined,
  ];
}

const seconds = (ms: number) => `${Math.round(ms / 1000)} s`;
