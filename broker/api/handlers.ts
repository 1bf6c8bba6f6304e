// What each call does: one entry for each route of protocol/rest.ts, or it does not compile.
import type { Device, ParamsOf, ResponseOf, RouteName, routes } from "@picket/protocol/rest";
import type * as z from "zod";
import { Refused } from "../refused.ts";
import type { ApiDeps, Operator } from "./deps.ts";
import { diagnose } from "./doctor.ts";
import { eventsById, queryEvents } from "./events.ts";
import { noRelease } from "./installer.ts";
import { iocHandlers } from "./iocs.ts";

const DAY_MS = 24 * 3600_000;

type Route<N extends RouteName> = (typeof routes)[N];
type Input<N extends RouteName> = {
  readonly params: z.output<Route<N>["params"]>;
  readonly query: z.output<Route<N>["query"]>;
  readonly body: Route<N>["body"] extends z.ZodType ? z.output<Route<N>["body"]> : undefined;
  /** Name of the operator; empty on open routes. */
  readonly operator: Operator["name"];
};
export type Handlers = { readonly [N in RouteName]: (input: Input<N>) => Promise<ResponseOf<N>> };

const EXCEPTIONS = "`picket exceptions list` shows those there are";
const INCIDENTS = "`picket incidents` lists them";
const PEERS = "`picket mesh list` shows those there are";

export function handlers(deps: ApiDeps): Handlers {
  const device = ({ id }: ParamsOf<"device">) => {
    const found = deps.devices.get(id);
    if (!found) throw new Refused("not-found", `There is no device "${id}" at this site`, "`picket devices` lists them");
    return found;
  };
  const known = <T>(found: T | undefined, what: string, hint?: string): T => {
    if (found === undefined) throw new Refused("not-found", `There is no ${what}`, hint);
    return found;
  };
  return {
    health: async () => ({ ok: true, version: deps.version }),
    ca: async () => ({ ca: deps.enrolment.ca() }),
    enroll: ({ body }) => deps.enrolment.enroll(body),
    renew: ({ body }) => deps.enrolment.renew(body),
    trust: async () => deps.installer.trust(),
    release: async () => {
      const jws = deps.installer.release();
      if (jws === undefined) throw noRelease();
      return { jws };
    },
    site: async () => deps.siteStatus(),
    doctor: async () => {
      await deps.devices.upToDate();
      const nowMs = deps.nowMs();
      const devices = deps.devices.list();
      return {
        findings: [
          ...diagnose({
            ...{ nowMs, site: deps.siteStatus(), devices, host: await deps.hostFacts(), intake: deps.intake(), health: deps.health() },
            exceptions: deps.exceptions.list(false),
            iocs: deps.iocs.list().sources,
            ...{ peers: deps.mesh.status().peers, clocks: deps.devices.clocks(), lastDay: lastDay(deps, devices, nowMs) },
          }),
          ...deps.rules.findings(),
        ],
      };
    },
    devices: async () => {
      await deps.devices.upToDate();
      return { devices: deps.devices.list() };
    },
    device: async ({ params, query }) => {
      await deps.devices.upToDate();
      return {
        device: device(params),
        commands: deps.commands.ofDevice(params.id),
        ledger: deps.devices.ledger(params.id, deps.nowMs() - query.hours * 3600_000),
      };
    },
    revoke: async ({ params, operator }) => {
      device(params);
      await deps.devices.revoke(params.id, operator);
      return { device: device(params) };
    },
    command: async ({ params, body, operator }) => {
      if (device(params).trust === "revoked")
        throw new Refused("conflict", `Device "${params.id}" is revoked and can never connect`, "Enrol it again under a new name");
      return { command: await deps.commands.submit({ device: params.id, jws: body.jws, operator }) };
    },
    incidents: async ({ query }) => ({ incidents: deps.incidents.list(query) }),
    incident: async ({ params }) => known(deps.incidents.read(params.id), `incident ${params.id}`, INCIDENTS),
    judgeIncident: async ({ params, body, operator }) => ({
      incident: known(await deps.incidents.judge(params.id, body, operator), `incident ${params.id}`, INCIDENTS),
    }),
    alerts: async ({ query }) => ({ alerts: deps.alerts.list(query) }),
    alert: async ({ params }) => {
      const alert = known(deps.alerts.get(params.id), `alert ${params.id}`);
      // Another site's events may be called like ours: they are not those.
      const seen = deps.alerts.seen(params.id);
      return { alert, events: alert.origin ? [] : await eventsById(deps.log, alert.events), ...(seen ? { seen } : {}) };
    },
    judge: async ({ params, body, operator }) => ({
      alert: known(await deps.alerts.judge(params.id, body, operator), `alert ${params.id}`),
    }),
    events: ({ query }) => queryEvents(deps.log, query),
    createToken: async ({ body, operator }) => deps.enrolment.createToken({ ...body, operator }),
    putKeys: ({ body, operator }) => deps.keys.put(body.jws, operator),
    rules: async () => deps.rules.list(),
    packs: async () => ({ packs: deps.packs.list() }),
    putPack: async ({ body, operator }) => ({ pack: await deps.packs.put(body.jws, operator) }),
    exceptions: async ({ query }) => ({ exceptions: deps.exceptions.list(query.all === "true") }),
    exception: async ({ params }) => ({ exception: known(deps.exceptions.get(params.id), `exception ${params.id}`, EXCEPTIONS) }),
    addException: async ({ body, operator }) => ({ exception: await deps.exceptions.add(body, operator) }),
    removeException: async ({ params, operator }) => ({
      exception: known(await deps.exceptions.remove(params.id, operator), `exception ${params.id}`, EXCEPTIONS),
    }),
    sinks: async () => ({ sinks: deps.sinks.status() }),
    testSink: async ({ params }) =>
      known(await deps.sinks.test(params.name), `sink "${params.name}"`, "`picket sink list` shows those there are"),
    mesh: async () => deps.mesh.status(),
    meshInvite: async ({ body, operator }) => deps.mesh.invite({ ...body, operator }),
    meshJoin: async ({ body, operator }) => {
      const { site } = await deps.mesh.join({ token: body.token, operator });
      return {
        peer: known(
          deps.mesh.status().peers.find((peer) => peer.site === site),
          `peer "${site}"`,
          PEERS,
        ),
      };
    },
    meshPeer: ({ body }) => deps.mesh.accept(body),
    meshChange: async ({ params, body }) => ({ peer: known(deps.mesh.change(params.site, body), `peer "${params.site}"`, PEERS) }),
    meshRemove: async ({ params }) => ({
      removed: known((await deps.mesh.remove(params.site)) ? params.site : undefined, `peer "${params.site}"`, PEERS),
    }),
    meshIocs: async ({ query }) => ({ iocs: deps.mesh.iocs(query.limit) }),
    meshShareIoc: async ({ body }) => {
      const ioc = { ...body, sharedMs: deps.nowMs() };
      await deps.mesh.shareIoc(ioc);
      return { ioc };
    },
    ...iocHandlers(deps.iocs),
    sample: async ({ params }) => ({ sample: deps.samples.shown(params.hash) }),
    meshVerdicts: async ({ params }) => ({ verdicts: deps.mesh.verdicts(params.hash) }),
  };
}

/** Of the devices that ever lost anything. */
function lastDay(deps: ApiDeps, devices: readonly Device[], nowMs: number): Map<string, { stored: number; lost: number }> {
  const sums = devices
    .filter(({ coverage }) => coverage.lost > 0)
    .map(({ id }): [string, { stored: number; lost: number }] => {
      const sum = { stored: 0, lost: 0 };
      for (const { caused, stored, waiting } of deps.devices.ledger(id, nowMs - DAY_MS).hours) {
        sum.stored += stored;
        sum.lost += caused - stored - waiting;
      }
      return [id, sum];
    });
  return new Map(sums);
}
