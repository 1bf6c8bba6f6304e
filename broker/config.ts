// Everything a site's broker can be told. Read with protocol/config.ts: command line > PICKET_* environment > file > default.
import * as z from "zod";

const DAYS_MAX = 3650;

const Webhook = z.strictObject({
  name: z.string().min(1).max(64).meta({ description: "Name of the sink in `picket sink list`" }),
  kind: z.literal("webhook").default("webhook"),
  url: z.url({ protocol: /^https?$/ }).meta({ description: "Where alerts are posted (Standard Webhooks)" }),
  secret: z.string().min(24).max(128).meta({ description: "Signing secret, whsec_ and base64" }),
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
