import { type Alert, severities } from "@picket/protocol/alert";
import type { Incident } from "@picket/protocol/incident";
import type { Device, SiteStatus } from "@picket/protocol/rest";
import type { SiteClient } from "./client.ts";

export type Snapshot = {
  readonly site: SiteStatus;
  readonly devices: readonly Device[];
  readonly incidents: readonly Incident[];
  readonly alerts: readonly Alert[];
};

/** Most alerts the site gives in one answer. */
const LIMIT = 1000;
const CLOSED = 200;

const MESH = 500;

/**
 * All a console shows. Open alerts are asked for by severity, so that a flood of low ones never hides a critical one behind the limit; and those
 * of other sites apart, so that no peer's flood hides one of this site.
 */
export async function snapshot(client: SiteClient): Promise<Snapshot> {
  const [incidents, [site, { devices }, acknowledged, closed, mesh, ...open]] = await Promise.all([
    readIncidents(client),
    Promise.all([
      client.call("site"),
      client.call("devices"),
      client.call("alerts", { query: { status: "acknowledged", limit: LIMIT } }),
      client.call("alerts", { query: { status: "closed", limit: CLOSED } }),
      client.call("alerts", { query: { status: "open", origin: "mesh", limit: MESH } }),
      ...severities.map((severity) => client.call("alerts", { query: { status: "open", severity, origin: "own", limit: LIMIT } })),
    ]),
  ]);
  return { site, devices, incidents, alerts: [...open, mesh, acknowledged, closed].flatMap((answer) => answer.alerts) };
}

/** Open ones by severity, for the same reason. */
async function readIncidents(client: SiteClient): Promise<Incident[]> {
  const answers = await Promise.all([
    ...severities.map((severity) => client.call("incidents", { query: { status: "open", severity, limit: LIMIT } })),
    client.call("incidents", { query: { status: "acknowledged", limit: LIMIT } }),
    client.call("incidents", { query: { status: "closed", limit: CLOSED } }),
  ]);
  return answers.flatMap(({ incidents }) => incidents);
}
