// Whether the broker could do its work, and whether events really come in. Open to anyone who reaches the port, so it says no more than yes and no.
import type { Server } from "node:https";
import { briefOf, type Health, health, questionOf, statusOf } from "@picket/protocol/health";
import type { FastifyInstance } from "fastify";
import type { ApiDeps, HealthFacts } from "./deps.ts";

/** How old an answer may be: asking again and again must cost nothing. */
const FRESH_MS = 1000;
/** Devices that are there make events at least this often, or in three times the pause their canary makes. */
const QUIET_MS = 300_000;
const MISSED = 3;

export function brokerHealth(facts: HealthFacts): Health {
  const { nowMs, startedMs, certificateExpiresMs, outage, online, storedMs, canaryS = 0 } = facts;
  const quietMs = nowMs - Math.max(startedMs, storedMs ?? 0);
  const isQuiet = online > 0 && quietMs > Math.max(QUIET_MS, MISSED * canaryS * 1000);
  return health("broker", facts.version, {
    ready: [certificateExpiresMs > nowMs ? undefined : "the broker's certificate has expired"],
    useful: [
      outage && `events wait on their devices: ${outage.why}`,
      isQuiet && !outage ? `no event was stored for ${Math.round(quietMs / 1000)} s, though ${online} devices are online` : undefined,
    ],
  });
}

/** Registers `/healthz` and its parts. */
export function serveHealth(app: FastifyInstance<Server>, deps: Pick<ApiDeps, "health" | "nowMs">): void {
  let last: { readonly atMs: number; readonly health: Health } | undefined;
  const now = () => {
    const atMs = deps.nowMs();
    if (!last || Math.abs(atMs - last.atMs) >= FRESH_MS) last = { atMs, health: brokerHealth(deps.health()) };
    return briefOf(last.health);
  };
  for (const url of ["/healthz", "/healthz/live", "/healthz/ready", "/healthz/useful"])
    app.get(url, { config: { auth: "open" } }, (request, reply) => {
      const question = questionOf(request.url);
      if (question === undefined) return reply.callNotFound();
      const brief = now();
      return reply.code(statusOf(brief, question)).send(brief);
    });
}
