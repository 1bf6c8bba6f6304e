// The agent's status page. Loaded only where status.port switches it on: an agent without one pays nothing for it.
import { type StatusPage, serveStatusPage } from "@picket/protocol/status-page";
import type { AgentFacts } from "./facts.ts";
import { agentHealth } from "./health.ts";
import { agentExposition } from "./metrics.ts";

/** Rejects when the port cannot be had. */
export const openPage = (port: number, of: { facts: () => AgentFacts; writtenBytes: () => number | undefined }): Promise<StatusPage> =>
  serveStatusPage({ health: () => agentHealth(of.facts()), metrics: () => agentExposition(of.facts(), of.writtenBytes()) }, port);
