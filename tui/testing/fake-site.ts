// A small real HTTPS server that speaks protocol/rest.ts from memory: what the console and the command line are tested against.
import type { Alert } from "@picket/protocol/alert";
import type { SensorEvent } from "@picket/protocol/event";
import type { Incident } from "@picket/protocol/incident";
import type { Ledger } from "@picket/protocol/ledger";
import type { CommandRecord, Device, Problem, SinkStatus, SiteStatus, StreamItem } from "@picket/protocol/rest";
import type { SiteAccess } from "../client/access.ts";
import { testCertificate } from "./certificate.ts";
import { madeCommand, madeEvents, madeIncident, madeSite } from "./made-up.ts";

export type FakeSite = {
  readonly access: SiteAccess;
  readonly certificate: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly alerts: Map<string, Alert>;
  readonly devices: Map<string, Device>;
  readonly ledgers: Map<string, Ledger>;
  readonly commands: CommandRecord[];
  readonly events: SensorEvent[];
  readonly sinks: SinkStatus[];
  /** Bodies of signed commands as they came. */
  readonly orders: { device: string; jws: string }[];
  site: SiteStatus;
  /** The enrolment token it makes. */
  enrolToken: string;
  /** Called for each order: what the device makes of it. */
  onOrder: (command: CommandRecord) => void;
  push(item: StreamItem): void;
  /** Closes all live streams, as a restart does. */
  cut(): void;
  stop(): Promise<void>;
};

const TOKEN = "test-token";

/** Starts it on a free port of 127.0.0.1. `port` fixes one, for a site that comes back. */
export async function startFakeSite(
  options: { port?: number; certificate?: { ca: string; cert: string; key: string } } = {},
): Promise<FakeSite> {
  const certificate = options.certificate ?? (await testCertificate());
  const streams = new Set<ReadableStreamDefaultController<Uint8Array>>();
  const encode = (item: StreamItem) => new TextEncoder().encode(`event: ${item.kind}\ndata: ${JSON.stringify(item)}\n\n`);

  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: options.port ?? 0,
    tls: { cert: certificate.cert, key: certificate.key },
    idleTimeout: 0,
    async fetch(request) {
      const url = new URL(request.url);
      if (request.headers.get("authorization") !== `Bearer ${TOKEN}`)
        return problem(401, "no operator credential", "the token is missing or not known", "Check the token in site.json.");
      if (url.pathname === "/v1/stream") return stream();
      return answer(fake, request.method, url, request.method === "GET" ? undefined : await request.json().catch(() => undefined));
    },
  });

  function stream(): Response {
    let own: ReadableStreamDefaultController<Uint8Array>;
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        own = controller;
        streams.add(controller);
        controller.enqueue(encode({ kind: "site", site: fake.site }));
      },
      cancel: () => void streams.delete(own),
    });
    return new Response(body, { headers: { "content-type": "text/event-stream" } });
  }

  const fake: FakeSite = {
    access: { url: `https://127.0.0.1:${server.port}`, ca: certificate.ca, token: TOKEN, site: "lab" },
    certificate,
    alerts: new Map(),
    devices: new Map(),
    ledgers: new Map(),
    commands: [],
    events: madeEvents(),
    sinks: [],
    orders: [],
    site: madeSite(),
    enrolToken: "",
    onOrder: () => undefined,
    push(item) {
      if (item.kind === "alert") fake.alerts.set(item.alert.id, item.alert);
      if (item.kind === "device") fake.devices.set(item.device.id, item.device);
      if (item.kind === "command") update(fake.commands, item.command);
      if (item.kind === "site") fake.site = item.site;
      const items: StreamItem[] = [item];
      if (item.kind === "alert" && !item.alert.origin) items.push({ kind: "incident", incident: incidentOf(item.alert) });
      for (const one of streams) for (const each of items) one.enqueue(encode(each));
    },
    cut() {
      for (const one of streams) one.close();
      streams.clear();
    },
    async stop() {
      await server.stop(true);
    },
  };
  return fake;
}

function update(commands: CommandRecord[], command: CommandRecord): void {
  const at = commands.findIndex((one) => one.jti === command.jti);
  if (at < 0) commands.unshift(command);
  else commands[at] = command;
}

function answer(fake: FakeSite, method: string, url: URL, body: unknown): Response {
  const [, , what = "", id = "", action = ""] = url.pathname.split("/");
  const query = (name: string) => url.searchParams.get(name);
  const given = (body ?? {}) as Record<string, string | undefined>;
  const device = fake.devices.get(id);
  const alert = fake.alerts.get(id);
  switch (`${method} ${what}${id ? "/:id" : ""}${action ? `/${action}` : ""}`) {
    case "GET site":
      return Response.json(fake.site);
    case "GET doctor":
      return Response.json({
        findings: [
          { level: "ok", what: "the disk has room" },
          { level: "warning", what: "gw-099 is offline", todo: "Check its power." },
        ],
      });
    case "GET devices":
      return Response.json({ devices: [...fake.devices.values()] });
    case "GET devices/:id":
      return device
        ? Response.json({ device, commands: fake.commands.filter((one) => one.device === id), ledger: fake.ledgers.get(id) })
        : noSuch("device", id);
    case "POST devices/:id/revoke":
      if (!device) return noSuch("device", id);
      fake.devices.set(id, { ...device, trust: "revoked" });
      return Response.json({ device: fake.devices.get(id) });
    case "POST devices/:id/commands":
      return device ? order(fake, id, given.jws ?? "") : noSuch("device", id);
    case "GET incidents":
      return Response.json({
        incidents: [...fake.alerts.values()]
          .filter((one) => !one.origin)
          .map(incidentOf)
          .filter((one) => (["status", "severity", "device"] as const).every((key) => query(key) === null || query(key) === one[key])),
      });
    case "GET incidents/:id":
      return alert ? Response.json({ incident: incidentOf(alert), alerts: [alert] }) : noSuch("incident", id);
    case "PATCH incidents/:id":
      if (!alert) return noSuch("incident", id);
      judge(fake, alert, given);
      return Response.json({ incident: incidentOf(fake.alerts.get(id)!) });
    case "GET alerts":
      return Response.json({
        alerts: [...fake.alerts.values()]
          .filter((one) => (["status", "severity", "device"] as const).every((key) => query(key) === null || query(key) === one[key]))
          .filter((one) => query("origin") === null || (query("origin") === "mesh") === (one.origin !== undefined))
          .filter((one) => query("technique") === null || one.attack.techniques.includes(query("technique")!))
          .filter((one) => one.lastMs >= Number(query("sinceMs") ?? 0))
          .sort((a, b) => b.lastMs - a.lastMs),
      });
    case "GET alerts/:id":
      return alert ? Response.json({ alert, events: fake.events }) : noSuch("alert", id);
    case "PATCH alerts/:id":
      if (!alert) return noSuch("alert", id);
      return judge(fake, alert, given);
    case "GET events": {
      const after = Number(query("after") ?? 0);
      const page = fake.events.slice(after, after + Number(query("limit") ?? 1000));
      const events = page.filter((one) => query("type") === null || one.type === query("type"));
      return Response.json({ events, after: after + page.length });
    }
    case "POST tokens":
      return Response.json({ token: fake.enrolToken, expiresMs: Date.now() + 3600_000 });
    case "GET sinks":
      return Response.json({ sinks: fake.sinks });
    case "POST sinks/:id/test":
      return Response.json(id === "good" ? { ok: true, detail: "204 in 3 ms" } : { ok: false, detail: "connection refused" });
    default:
      return problem(404, "no such route", `${method} ${url.pathname}`);
  }
}

/** Each alert is an incident of its own here. */
const incidentOf = (alert: Alert): Incident => madeIncident(alert.id, [alert]);

function judge(fake: FakeSite, alert: Alert, given: Record<string, string | undefined>): Response {
  const { status, assignee, note } = given;
  const judged: Alert = {
    ...alert,
    status: (status as Alert["status"] | undefined) ?? alert.status,
    ...(assignee === undefined ? {} : { assignee }),
    notes: note === undefined ? alert.notes : [...alert.notes, { timeMs: Date.now(), operator: "anna", text: note }],
  };
  fake.push({ kind: "alert", alert: judged });
  return Response.json({ alert: judged });
}

function order(fake: FakeSite, device: string, jws: string): Response {
  fake.orders.push({ device, jws });
  const act = jws.includes("release") ? "release" : "isolate";
  const command = madeCommand({ jti: crypto.randomUUID(), device, act, createdMs: Date.now(), expiresMs: Date.now() + 86_400_000 });
  fake.push({ kind: "command", command });
  fake.onOrder(command);
  return Response.json({ command });
}

const noSuch = (what: string, id: string) => problem(404, `no such ${what}`, id, `See \`picket ${what}s\`.`);

function problem(status: number, title: string, detail: string, hint?: string): Response {
  const body: Problem = { type: "about:blank", title, status, detail, ...(hint ? { hint } : {}) };
  return Response.json(body, { status, headers: { "content-type": "application/problem+json" } });
}
