// What this host has for the sensor, found by trying, never by a version number of the kernel.
import { existsSync } from "node:fs";
import { Unsupported } from "../unsupported.ts";
import { openKernel } from "./kernel.ts";
import { openLibbpf } from "./libbpf.ts";
import type { Way } from "./object.ts";
import type { CollectorName, Health } from "./programs.ts";
import { withTracefs } from "./tracefs.ts";

const PROBE_RING_BYTES = 1 << 16;

/** Each thing the sensor needs, then each collector, loaded and attached for a moment. `below` says what there is when BPF cannot be used; `way` is taken though there be a better one. Never throws. */
export function probeHost(below: (because: unknown) => ReadonlyMap<CollectorName, Health>, way?: Way): Map<string, Health> {
  const found = new Map<string, Health>();
  found.set(
    "libbpf",
    healthFrom(() => ({ level: "live", why: `version ${openLibbpf().libbpf_version_string()}` })),
  );
  found.set(
    "tracefs",
    healthFrom(() => ({
      level: "live",
      why: withTracefs((root, own) => (own ? "not mounted; can be, when it is needed" : `mounted at ${root}`)),
    })),
  );
  try {
    using kernel = openKernel({ ignorePid: 0, watch: { read: [], write: [] }, ringBytes: PROBE_RING_BYTES, ...(way ? { way } : {}) });
    const btf = existsSync("/sys/kernel/btf/vmlinux") ? "present" : "absent";
    found.set("bpf", { level: "live", why: `programs load and ${kernel.way}; kernel BTF is ${btf} and not needed` });
    for (const [name, health] of kernel.health) found.set(name, health);
  } catch (error) {
    found.set("bpf", offBecause(error));
    for (const [name, health] of below(error)) found.set(name, health);
  }
  return found;
}

/** The health of something that could not be started. */
export function offBecause(error: unknown): Health {
  const why = (error instanceof Error ? error.message : String(error)).slice(0, 512);
  const todo = error instanceof Unsupported ? error.todo : undefined;
  return { level: "off", why, ...(todo ? { todo } : {}) };
}

function healthFrom(probe: () => Health): Health {
  try {
    return probe();
  } catch (error) {
    return offBecause(error);
  }
}
