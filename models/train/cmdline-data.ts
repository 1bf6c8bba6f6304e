// Labelled command lines from outside, and which of them a shipped model may learn from.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import type { Line } from "./cmdline-examples.ts";

/** Sources whose licence allows it, with the licence. Everything that is not here only measures. */
const permissive: Readonly<Record<string, string>> = {
  "atomic-red-team": "MIT",
  "revshell-generator": "MIT",
  "tldr-pages": "CC-BY-4.0",
  "debian-maintainer-scripts": "DFSG",
  "systemd-units": "DFSG",
  "exec-trace": "own trace",
  cheat: "CC0-1.0",
  slp: "MIT",
  stockpile: "Apache-2.0",
  "ctid-emulation": "Apache-2.0",
};
/** Repositories of build and deployment scripts, by owner+name. */
const permissiveRepositories: Readonly<Record<string, string>> = {
  "benbjohnson+litestream": "Apache-2.0",
  "zwave-js+node-zwave-js": "MIT",
  "rust-lang+rust-analyzer": "MIT/Apache-2.0",
  "actions+starter-workflows": "MIT",
  "emqx+nanomq": "MIT",
  "cloudflare+workers-sdk": "MIT/Apache-2.0",
  "honojs+hono": "MIT",
  "caddyserver+caddy": "Apache-2.0",
  "cilium+ebpf": "MIT",
  "docker-library+docs": "MIT",
  "tigerbeetle+tigerbeetle": "Apache-2.0",
  "colinhacks+zod": "MIT",
  "project-chip+matter.js": "Apache-2.0",
  "fastify+fastify": "MIT",
  "elysiajs+elysia": "MIT",
  "pinojs+pino": "MIT",
  "moscajs+aedes": "MIT",
  "bottlerocket-os+bottlerocket": "MIT/Apache-2.0",
  "mqttjs+MQTT.js": "MIT",
  "Koenkk+zigbee-herdsman": "MIT",
};

/** The licence that lets a shipped model learn from a source; undefined when there is none. */
export function licenceOf(source: string): string | undefined {
  const [kind = "", of = ""] = source.split(":");
  return permissive[kind] ?? permissiveRepositories[of];
}

const Row = z.object({
  cmd: z.string(),
  label: z.union([z.literal(0), z.literal(1)]),
  source: z.string(),
  unit: z.enum(["line", "script", "session", "exec"]),
  group: z.string(),
  tier: z.enum(["overt", "dual_use"]).optional(),
  parent: z.string().optional(),
  hard_negative: z.boolean().optional(),
});

export type DataLine = Line & { readonly hard: boolean };

/** cmdline-dev.ndjson of a data folder. Throws with the line that cannot be read. */
export function readData(dir: string): DataLine[] {
  const path = join(dir, "cmdline-dev.ndjson");
  return readFileSync(path, "utf8")
    .split("\n")
    .flatMap((text, at) => {
      if (text === "") return [];
      const row = Row.safeParse(JSON.parse(text));
      if (!row.success) throw new Error(`${path}:${at + 1}: ${z.prettifyError(row.error)}`);
      const { cmd, label, source, group, tier, parent, hard_negative } = row.data;
      return [
        {
          text: cmd,
          label,
          source,
          group,
          hard: hard_negative ?? false,
          ...(tier === undefined ? {} : { tier }),
          ...(parent === undefined ? {} : { parent }),
        },
      ];
    });
}
