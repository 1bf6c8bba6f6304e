// Opens the status page where status.port switches it on.
import type { Canary } from "./canary.ts";
import type { AgentConfig } from "./config.ts";
import type { Log } from "./log.ts";
import type { Recorder } from "./recorder.ts";
import type { Report } from "./report.ts";
import type { SiteSettings } from "./site-settings.ts";
import type { AgentFacts } from "./status-page/facts.ts";

type Parts = {
  readonly recorder: Recorder;
  readonly canary: Canary;
  readonly report: Report;
  readonly settings: SiteSettings | undefined;
  readonly certificateExpiresMs: () => number;
  readonly log: Log;
};

/** Undefined where it is switched off, or its port cannot be had, which is logged: the agent's work goes on. */
export async function openStatusPage(config: AgentConfig, parts: Parts): Promise<AsyncDisposable | undefined> {
  const { port } = config.status;
  if (port === 0) return undefined;
  const startedMs = Date.now();
  const { recorder, canary, report, settings } = parts;
  const facts = (): AgentFacts => ({
    nowMs: Date.now(),
    startedMs,
    status: report.status(),
    connection: report.isConnected(),
    canaryMs: canary.seenMs(),
    answeredAgoMs: recorder.buffer.answeredAgoMs(),
    everyS: settings?.value("metricsS") ?? config.metricsS,
    certificateExpiresMs: parts.certificateExpiresMs(),
    byType: recorder.byType(),
    bufferLost: recorder.bufferLost(),
  });
  try {
    const [{ openPage }, { writtenBytes }] = await Promise.all([import("./status-page/page.ts"), import("./buffer/wear.ts")]);
    const page = await openPage(port, { facts, writtenBytes });
    parts.log("info", "the status page answers", { at: `127.0.0.1:${page.port}` });
    return page;
  } catch (error) {
    parts.log("error", `no status page on 127.0.0.1:${port}: choose another status.port`, { error: String(error) });
    return undefined;
  }
}
