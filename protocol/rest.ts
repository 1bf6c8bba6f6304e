// The REST interface: one table, from which the broker registers routes, checks bodies and writes its OpenAPI document, and from which clients are typed.
import * as z from "zod";
import { Alert, AlertRecurrence, AlertStatus, AlertVerdict, Severity } from "./alert.ts";
import { CommandResult } from "./command.ts";
import { SensorEvent } from "./event.ts";
import { exceptionRoutes } from "./exception-routes.ts";
import { Incident } from "./incident.ts";
import { incidentRoutes } from "./incident-routes.ts";
import { iocRoutes } from "./ioc-routes.ts";
import { Ledger } from "./ledger.ts";
import { meshRoutes, secretTtlS } from "./mesh-routes.ts";
import { deviceId, siteId } from "./names.ts";
import { openRoutes } from "./open-routes.ts";
import { MAX_PACK_BODY_CHARS, PackRecord } from "./pack.ts";
import { ruleRoutes } from "./rule-list.ts";
import { sampleRoutes } from "./sample-routes.ts";
import { Online } from "./status.ts";

const ms = z.int().nonnegative();
const count = z.int().nonnegative();

/** RFC 9457. `hint` says what to do. */
export const Problem = z.object({ type: z.string(), title: z.string(), status: z.int(), detail: z.string(), hint: z.string().optional() });
export type Problem = z.infer<typeof Problem>;

/** What a device says of itself (`presence`, `status`) apart from what operators decided (`trust`). No heartbeat can change the latter. */
export const Device = z.object({
  id: deviceId,
  trust: z.enum(["enrolled", "revoked"]),
  presence: z.enum(["online", "offline", "stopped", "never"]),
  /** While it is not there: how it went, and with how many others. Absent where nobody can know, and from older sites. */
  away: z
    .object({
      /** stopped: it said goodbye; killed: its host closed the connection without a word of the agent; lost: nothing answered any more; silent: no more is known. */
      how: z.enum(["stopped", "killed", "lost", "silent"]),
      sinceMs: ms,
      /** Devices that went with it, itself included, and how many of them are back. */
      blackout: z.object({ devices: count, back: count }).optional(),
    })
    .optional(),
  enrolledMs: ms,
  lastSeenMs: ms.optional(),
  certificateExpiresMs: ms,
  status: Online.optional(),
  /** Isolation ordered by an operator, which need not be reached yet; what the device does is `status.isolation`. */
  isolationWanted: z.boolean(),
  coverage: z.object({ stored: count, lost: count, ratio: z.number().min(0).max(1) }),
  openAlerts: count,
});
export type Device = z.infer<typeof Device>;

export const CommandRecord = z.object({
  jti: z.uuid(),
  device: deviceId,
  act: z.string(),
  kid: z.string(),
  operator: z.string(),
  state: z.enum(["waiting", "sent", "answered", "expired"]),
  createdMs: ms,
  expiresMs: ms,
  result: CommandResult.optional(),
});
export type CommandRecord = z.infer<typeof CommandRecord>;

export const SinkStatus = z.object({
  name: z.string(),
  kind: z.enum(["webhook"]),
  url: z.string(),
  queued: count,
  delivered: count,
  /** Given up after three days of trying, or refused by the receiver. */
  failed: count,
  /** Oldest ones let go because the queue was full. */
  dropped: count.optional(),
  lastError: z.string().optional(),
  lastDeliveryMs: ms.optional(),
});
export type SinkStatus = z.infer<typeof SinkStatus>;

export const SiteStatus = z.object({
  site: siteId,
  version: z.string(),
  startedMs: ms,
  /** The site's clock at the answer. Absent from older sites. */
  nowMs: ms.optional(),
  devices: z.object({ enrolled: count, online: count, isolated: count }),
  alerts: z.object({ open: count, low: count, medium: count, high: count, critical: count }),
  /** Open ones, likewise; absent from older sites. */
  incidents: z.object({ open: count, low: count, medium: count, high: count, critical: count }).optional(),
  log: z.object({ batches: count, events: count, bytes: count, nextOffset: count }),
  detector: z.object({
    connected: z.boolean(),
    /** What it has not decided of what arrives now: batches, events, and seconds since the oldest was received. */
    lagBatches: count,
    lagEvents: count.optional(),
    lagSeconds: count.optional(),
    /** What it catches up on the side, without delaying the rest: after an outage, and of devices that hold up others. */
    aside: z.object({ batches: count, events: count, seconds: count }).optional(),
    cursor: count,
    refused: count,
  }),
  deadLetters: count,
  /** Files collected from devices to be scanned; absent from older sites. */
  samples: z
    .object({
      /** In the spool, and their bytes. */
      files: count,
      bytes: count,
      /** Of them, not scanned yet. */
      waiting: count,
      /** Not here yet: a device is to send them. */
      wanted: count,
      /** Since the site was made: bytes that were not those of their hash, and files of devices that report too many, which are no longer remembered. */
      mismatched: count,
      forgotten: count,
    })
    .optional(),
  sinks: z.array(SinkStatus),
  keysVersion: count,
  /** Hash of the operators' root this site was made for. */
  anchor: z.string(),
});
export type SiteStatus = z.infer<typeof SiteStatus>;

export const Finding = z.object({ level: z.enum(["ok", "warning", "error"]), what: z.string(), todo: z.string().optional() });
export type Finding = z.infer<typeof Finding>;

/** Server-sent events of `GET /v1/stream`: the SSE `event` field is `kind`, `data` the JSON. */
export const StreamItem = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("alert"), alert: Alert }),
  z.object({ kind: z.literal("incident"), incident: Incident }),
  z.object({ kind: z.literal("device"), device: Device }),
  z.object({ kind: z.literal("command"), command: CommandRecord }),
  z.object({ kind: z.literal("site"), site: SiteStatus }),
]);
export type StreamItem = z.infer<typeof StreamItem>;

const limit = z.coerce.number().int().min(1).max(1000).default(200);
const sinceMs = z.coerce.number().int().nonnegative().optional();
const none = z.object({});
const byDevice = z.object({ id: deviceId });

type Route = {
  readonly method: "GET" | "POST" | "PATCH" | "PUT";
  readonly path: string;
  readonly summary: string;
  /** Without "operator" a route is open to anyone who reaches the port: enrolment, renewal, health and the installer only. */
  readonly auth: "operator" | "open";
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
  readonly body: z.ZodType | undefined;
  readonly response: z.ZodType;
};
const route = <const R extends Route>(r: R) => r;

export const routes = {
  ...openRoutes,
  site: route({
    method: "GET",
    path: "/v1/site",
    summary: "The site at a glance",
    auth: "operator",
    params: none,
    query: none,
    body: undefined,
    response: SiteStatus,
  }),
  doctor: route({
    method: "GET",
    path: "/v1/doctor",
    summary: "What is wrong, in plain words",
    auth: "operator",
    params: none,
    query: none,
    body: undefined,
    response: z.object({ findings: z.array(Finding) }),
  }),
  devices: route({
    method: "GET",
    path: "/v1/devices",
    summary: "All devices",
    auth: "operator",
    params: none,
    query: none,
    body: undefined,
    response: z.object({ devices: z.array(Device) }),
  }),
  device: route({
    method: "GET",
    path: "/v1/devices/:id",
    summary: "One device with its recent commands, and the loss ledger of its last `hours`",
    auth: "operator",
    params: byDevice,
    query: z.object({ hours: z.coerce.number().int().min(1).max(9600).default(24) }),
    body: undefined,
    // Absent from older sites.
    response: z.object({ device: Device, commands: z.array(CommandRecord), ledger: Ledger.optional() }),
  }),
  revoke: route({
    method: "POST",
    path: "/v1/devices/:id/revoke",
    summary: "Revoke a device's certificate and close its connection",
    auth: "operator",
    params: byDevice,
    query: none,
    body: undefined,
    response: z.object({ device: Device }),
  }),
  command: route({
    method: "POST",
    path: "/v1/devices/:id/commands",
    summary: "Carry a signed command to a device",
    auth: "operator",
    params: byDevice,
    query: none,
    body: z.object({ jws: z.string().max(16 * 1024) }),
    response: z.object({ command: CommandRecord }),
  }),
  alerts: route({
    method: "GET",
    path: "/v1/alerts",
    summary:
      "Alerts, newest first. `severity` means this one and above; `technique` T1059 includes its sub-techniques, such as T1059.004. `origin` own: of this site; mesh: of others; those of others hold the field `origin`",
    auth: "operator",
    params: none,
    query: z.object({
      severity: Severity.optional(),
      technique: z.string().max(16).optional(),
      device: deviceId.optional(),
      rule: z.string().max(128).optional(),
      status: AlertStatus.optional(),
      origin: z.enum(["all", "own", "mesh"]).optional(),
      sinceMs,
      limit,
    }),
    body: undefined,
    response: z.object({ alerts: z.array(Alert) }),
  }),
  alert: route({
    method: "GET",
    path: "/v1/alerts/:id",
    summary: "One alert with its events; those of another site's alert stay there",
    auth: "operator",
    params: z.object({ id: z.uuid() }),
    query: none,
    body: undefined,
    // `seen`: how often the same thing was seen in all. Absent from older sites, and of alerts of other sites.
    response: z.object({ alert: Alert, events: z.array(SensorEvent), seen: AlertRecurrence.optional() }),
  }),
  judge: route({
    method: "PATCH",
    path: "/v1/alerts/:id",
    summary:
      "Acknowledge, close, reopen, assign or annotate an alert; of another site's, for this site only. `verdict` says what it was and goes with `status` closed",
    auth: "operator",
    params: z.object({ id: z.uuid() }),
    query: none,
    body: z
      .object({
        status: AlertStatus.optional(),
        verdict: AlertVerdict.optional(),
        assignee: z.string().max(64).optional(),
        note: z.string().max(2000).optional(),
      })
      .refine(({ status, verdict }) => verdict === undefined || status === "closed", "a verdict goes with status closed"),
    response: z.object({ alert: Alert }),
  }),
  events: route({
    method: "GET",
    path: "/v1/events",
    summary:
      "Events from the log in the order they came; `after` continues, and the same `after` again with no events means the end. `sinceMs` is by the device's clock",
    auth: "operator",
    params: none,
    query: z.object({
      device: deviceId.optional(),
      type: z.string().max(64).optional(),
      sinceMs,
      after: z.coerce.number().int().nonnegative().optional(),
      limit,
    }),
    body: undefined,
    response: z.object({ events: z.array(SensorEvent), after: z.int().nonnegative() }),
  }),
  createToken: route({
    method: "POST",
    path: "/v1/tokens",
    summary: "Make an enrolment token",
    auth: "operator",
    params: none,
    query: none,
    body: z.object({
      ttlS: secretTtlS,
      uses: z.int().min(1).max(10_000).default(1),
    }),
    response: z.object({ token: z.string(), expiresMs: ms }),
  }),
  putKeys: route({
    method: "PUT",
    path: "/v1/keys",
    summary: "Publish a key list signed by the operators' root",
    auth: "operator",
    params: none,
    query: none,
    body: z.object({ jws: z.string().max(64 * 1024) }),
    response: z.object({ version: count }),
  }),
  packs: route({
    method: "GET",
    path: "/v1/packs",
    summary: "What operators set on devices: the newest signed pack of each kind and target",
    auth: "operator",
    params: none,
    query: none,
    body: undefined,
    response: z.object({ packs: z.array(PackRecord) }),
  }),
  putPack: route({
    method: "PUT",
    path: "/v1/packs",
    summary: "Carry a signed pack (such as settings) to the device or devices it is for: at once, and at every later connect",
    auth: "operator",
    params: none,
    query: none,
    body: z.object({ jws: z.string().max(MAX_PACK_BODY_CHARS) }),
    response: z.object({ pack: PackRecord }),
  }),
  sinks: route({
    method: "GET",
    path: "/v1/sinks",
    summary: "Where alerts leave",
    auth: "operator",
    params: none,
    query: none,
    body: undefined,
    response: z.object({ sinks: z.array(SinkStatus) }),
  }),
  testSink: route({
    method: "POST",
    path: "/v1/sinks/:name/test",
    summary: "Send a marked test message to a sink",
    auth: "operator",
    params: z.object({ name: z.string().max(64) }),
    query: none,
    body: undefined,
    response: z.object({ ok: z.boolean(), detail: z.string() }),
  }),
  ...meshRoutes,
  ...ruleRoutes,
  ...exceptionRoutes,
  ...iocRoutes,
  ...sampleRoutes,
  ...incidentRoutes,
} as const;
export type RouteName = keyof typeof routes;

type Of<N extends RouteName> = (typeof routes)[N];
export type ResponseOf<N extends RouteName> = z.output<Of<N>["response"]>;
export type BodyOf<N extends RouteName> = Of<N>["body"] extends z.ZodType ? z.input<Of<N>["body"]> : undefined;
export type QueryOf<N extends RouteName> = z.input<Of<N>["query"]>;
export type ParamsOf<N extends RouteName> = z.input<Of<N>["params"]>;

/** Not in the table because it does not end: `text/event-stream` of `StreamItem`. A `site` item comes first and every 5 s as a sign of life. */
export const STREAM_PATH = "/v1/stream";
