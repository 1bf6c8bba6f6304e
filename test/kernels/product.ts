// Our executables in a booted kernel: what is put there for each script of ./scripts.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "../e2e/program.ts";
import type { Kernel, Limited } from "./boot.ts";

/** What the scripts need besides libc and bash; util-linux has `setpriv`. */
export const packages = ["libbpf1", "nftables", "iproute2", "util-linux"];
/** nftables for isolation, the socket diagnosis that ends live connections, and links between namespaces. */
const modules = ["crc32c_generic", "nf_tables", "nft_*", "inet_diag", "tcp_diag", "udp_diag", "veth"];

type Product = { readonly kernel: Kernel; readonly btf: boolean /** Executables of the kernel's architecture. */; readonly dist: string };

/** Two minutes on an idle machine; a busy one takes a multiple. */
const LIMIT_MS = 600_000;

/** `picket-agent check` and `run --stdout`. */
export const sensorGuest = (of: Product): Limited => guest(of, "sensor", { "usr/local/bin/picket-agent": join(of.dist, "picket-agent") });

/** Broker and agent; a signed order isolates the device, another one releases it. `site` is a folder of `makeSite`; the models score `events`. */
export const isolationGuest = (of: Product & { readonly site: string; readonly events: string }): Limited =>
  guest(of, "isolation", { "usr/local/bin": of.dist, site: of.site, "events.ndjson": of.events });

/** Every kind of event of the kernel side, on each step of the sensor's ladder. `deeds` is agent/collectors/testing/deeds.c, compiled for the guest. */
export const everyEventGuest = (of: Omit<Product, "dist"> & { readonly agent: string; readonly deeds: string }): Limited => ({
  ...guest({ ...of, dist: "" }, "every-event", { "usr/local/bin/picket-agent": of.agent, "usr/local/bin/deeds": of.deeds }),
  modules: [...modules, "dummy"],
});

function guest(of: Product, script: string, files: Record<string, string>): Limited {
  const text = readFileSync(new URL(`scripts/${script}.sh`, import.meta.url), "utf8");
  return { kernel: of.kernel, btf: of.btf, packages, modules, files, script: text, limitMs: LIMIT_MS };
}

/**
 * Operator keys and a site in the empty folder `dir`, for the network of the isolation script. `picket` is the program of this machine, of the same version
 * as the one in there: here it takes no minute.
 */
export async function makeSite(picket: string, dir: string): Promise<void> {
  for (const argv of [
    ["operator", "init", "--site", "kernel", "--name", "tester"],
    ["site", "init", "--site", "kernel", "--host", "192.0.2.1", "--dir", join(dir, "site")],
  ]) {
    const { code, stderr } = await run([picket, "--home", join(dir, "operator"), ...argv]);
    if (code !== 0) throw new Error(`picket ${argv.join(" ")}: ${stderr}`);
  }
  writeFileSync(join(dir, "site.toml"), '[broker]\ndir = "/site/site"\n');
}
