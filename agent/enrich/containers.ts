import type { Process } from "@picket/protocol/event";

export type Container = NonNullable<Process["container"]>;

const runtimes: readonly (readonly [RegExp, string])[] = [
  [/docker/, "docker"],
  [/libpod|podman/, "podman"],
  [/cri-containerd|containerd/, "containerd"],
  [/crio/, "cri-o"],
  [/\/lxc/, "lxc"],
];

/** The container a control group path (a line of /proc/PID/cgroup) belongs to: runtimes name the group after a 64-digit id; lxc after the container. */
export function containerOf(cgroup: string): Container | undefined {
  const lxc = /\/lxc(?:\.payload\.|\/)([\w.-]{1,64})/.exec(cgroup);
  const id = /([0-9a-f]{64})/.exec(cgroup)?.[1] ?? lxc?.[1];
  if (!id) return undefined;
  const runtime = runtimes.find(([pattern]) => pattern.test(cgroup))?.[1];
  return runtime ? { id, runtime } : { id };
}

const MAX_KNOWN = 4096;

/** Looks into /proc once for each control group: its id comes with every kernel record. */
export function containers(read: (pid: number) => string | undefined): (cgroup: bigint, pid: number) => Container | undefined {
  const known = new Map<bigint, Container | undefined>();
  return (cgroup, pid) => {
    if (known.has(cgroup)) return known.get(cgroup);
    const text = read(pid);
    if (text === undefined) return undefined; // Gone already: the next process of this group tells.
    const container = containerOf(text);
    if (known.size >= MAX_KNOWN) known.delete(known.keys().next().value!);
    known.set(cgroup, container);
    return container;
  };
}
