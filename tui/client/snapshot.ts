import { type Alert, severities } from "@picket/protocol/alert";
import type { Device, SiteStatus } from "@picket/protocol/rest";
import type { SiteClient } from "./client.ts";

export type Snapshot = { readonly site: SiteStatus; readonly devices: readonly Device[]; readonly alerts: readonly Alert[] };

/** Most alerts the site gives in one answer. */
const LIMIT = 1000;
const CLOSED = 200;

const MESH = 500;

/**
 * All a console shows. Open alerts are asked for by severity, so that a flood of low ones never hides a critical one behind the limit; and those
 * of other sites apart, so that no peer's flood hides one of this site.
 */
export async function snapshot(client: SiteClient): Promise<Snapshot> {
  const [site, { devices }, acknowledged, closed, mesh, ...open] = await Promise.all([
    client.call("site"),
    client.call("devices"),
    client.call("alerts", { query: { status: "acknowledged", limit: LIMIT } }),
    client.call("alerts", { query: { status: "closed", limit: CLOSED } }),
    client.call("alerts", { query: { status: "open", origin: "mesh", limit: MESH } }),
    ...severities.map((severity) => client.call("alerts", { query: { status: "open", severity, origin: "own", limit: LIMIT } })),
  ]);
  return { site, devices, alerts: [...open, mesh, acknowledged, closed].flatMap((answer) => answer.alerts) };
}
