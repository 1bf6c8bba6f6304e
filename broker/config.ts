// Everything a site's broker can be told. Read with protocol/config.ts: command line > PICKET_* environment > file > default.
import * as z from "zod";

const DAYS_MAX = 3650;

const Webhook = z.strictObject({
  name: z.string().min(1).max(64).meta({ description: "Name of the sink in `picket sink list`" }),
  kind: z.literal("webhook").default("webhook"),
  url: z.url({ protocol: /^https?$/ }).meta({ description: "Where alerts are posted (Standard Webhooks)" }),
  secret: z.string().min(24).max(128).meta({ description: "Signing secret, whsec_ and base64" }),
  each: z
    .enum(["incident", "alert"])
    .default("incident")
    .meta({ description: "A message for each incident, with its alerts, or for each alert as before there were incidents" }),
});

export const BrokerConfig = z.strictObject({
  dir: z.string().default("/var/lib/picket/site").meta({ description: "The site's directory: CA, certificates, database" }),
  host: z.string().default("0.0.0.0").meta({ description: "Address to listen on; :: for both families" }),
  mqttPort: z.int().min(0).max(65535).default(8883).meta({ description: "MQTT over TLS; 0 picks a free port" }),
  httpsPort: z.int().min(0).max(65535).default(8443).meta({ description: "API, enrolment and installer; 0 picks a free port" }),
  publicHost: z
    .string()
    .max(253)
    .optional()
    .meta({ description: "Name or address devices reach the site by; default: the first host the site was made with" }),
  dist: z.string().default("/opt/picket/dist").meta({ description: "What devices install: written by install.sh, signed by an operator" }),
  log: z
    .strictObject({
      keepDays: z.number().positive().max(DAYS_MAX).default(30).meta({ description: "Days an event stays in the log" }),
      keepBytes: z
        .int()
        .min(1 << 20)
        .default(4 * 2 ** 30)
        .meta({ description: "Bytes of batches kept in the log; the oldest go first" }),
      reserveBytes: z
        .int()
        .min(1 << 20)
        .max(2 ** 34)
        .default(128 << 20)
        .meta({ description: "Free space kept for alerts and commands: below it events wait on their devices" }),
    })
    .prefault({}),
  quota: z
    .strictObject({
      messagesPerS: z.number().positive().default(200).meta({ description: "Messages a device may send each second in the long run" }),
      eventsPerS: z.number().positive().default(10_000).meta({ description: "Events a device may send each second in the long run" }),
      bytesPerS: z
        .number()
        .min(64 << 10)
        .default(2 << 20)
        .meta({ description: "Bytes a device may send each second in the long run" }),
      connectionsPerMinute: z.number().min(1).default(60).meta({ description: "How often a device, detector or peer site may connect" }),
    })
    .prefault({})
    .meta({ description: "For each device; what is above it waits there" }),
  alerts: z
    .strictObject({
      keepDays: z.number().positive().max(DAYS_MAX).default(365).meta({ description: "Days a closed alert is kept; open ones stay" }),
      keepCount: z
        .int()
        .min(1000)
        .default(100_000)
        .meta({ description: "Alerts kept; above it the oldest closed ones go first, and no open one does" }),
    })
    .prefault({}),
  metrics: z
    .strictObject({
      tokenSha256: z
        .string()
        .regex(/^[0-9a-f]{64}$/, "must be 64 digits, as `sha256sum` prints them")
        .optional()
        .meta({ description: "SHA-256 of a token that may read /metrics and nothing else; operators' credentials always may" }),
    })
    .prefault({}),
  samples: z
    .strictObject({
      keepBytes: z
        .int()
        .min(512 << 20)
        .max(2 ** 40)
        .default(2 ** 30)
        .meta({ description: "Bytes of files kept for scanning; those scanned first go first" }),
    })
    .prefault({}),
  mesh: z
    .strictObject({
      keepDays: z
        .number()
        .positive()
        .max(30)
        .default(14)
        .meta({ description: "Days an item waits for a peer that is away; what it then lacks is counted as lost" }),
      keepBytes: z
        .int()
        .min(1 << 20)
        .default(64 << 20)
        .meta({ description: "Bytes of items kept for peers, for each source (this site and each peer); the oldest go first" }),
    })
    .prefault({}),
  sinks: z.array(Webhook).max(16).default([]).meta({ description: "Where alerts leave" }),
});
export type BrokerConfig = z.output<typeof BrokerConfig>;
