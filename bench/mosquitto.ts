// The peer of `ingest`: mosquitto with the same certificates, on loopback, in a folder that goes away.
import { writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { installed, start } from "./program.ts";
import type { BenchSite } from "./site.ts";

export type Mosquitto = AsyncDisposable & { readonly pid: number; readonly port: number };

/**
 * Starts it, or resolves with undefined when it is not installed. It keeps everything in memory: `persistence false` is its default, and
 * no setting of it waits for the disk before PUBACK. `max_queued_messages 0`, or it drops messages under load.
 */
export async function startMosquitto(site: BenchSite): Promise<Mosquitto | undefined> {
  const program = installed("mosquitto");
  if (program === undefined) return undefined;
  const port = await freePort();
  const config = join(site.root, "mosquitto.conf");
  const lines = [
    "per_listener_settings false",
    `listener ${port} 127.0.0.1`,
    `cafile ${site.dir}/ca.crt.pem`,
    `certfile ${site.dir}/broker.crt.pem`,
    `keyfile ${site.dir}/broker.key.pem`,
    "require_certificate true",
    "use_identity_as_username true",
    "tls_version tlsv1.3",
    "allow_anonymous false",
    "persistence false",
    "max_queued_messages 0",
    "log_dest stderr",
    "log_type error",
    "log_type information",
    "connection_messages false",
    // Started as root it would become a user who cannot read the site's keys.
    "user root",
  ];
  writeFileSync(config, `${lines.join("\n")}\n`);
  const running = start([program, "-c", config]);
  await running.line(/running/);
  return { pid: running.pid, port, [Symbol.asyncDispose]: () => running[Symbol.asyncDispose]() };
}

/** mosquitto cannot be asked to pick a port and tell. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => (typeof address === "object" && address ? resolve(address.port) : reject(new Error("no port"))));
    });
  });
}
