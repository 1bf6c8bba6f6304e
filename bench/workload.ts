import type { SensorEvent } from "../protocol/event.ts";

const boot = "0b3a1c52-6f0e-4f60-9c7e-1d1f0f3a7c11";

/** A device's file workload as the sensor reports it: a few programs opening, writing and renaming many files. Same seed, same events. */
export function fileEvents(count: number, of: { device: string; epoch: string; seed: number }): SensorEvent[] {
  const random = lcg(of.seed);
  const programs = ["/usr/bin/tar", "/usr/bin/dpkg", "/usr/bin/python3.11", "/usr/sbin/cron"].map((exe, at) => ({
    pid: 2000 + Math.floor(random() * 20_000),
    startTicks: 900_000 + Math.floor(random() * 50_000),
    ppid: 800 + at,
    uid: at === 2 ? 1000 : 0,
    user: at === 2 ? "pi" : "root",
    exe,
    argv: [exe.slice(exe.lastIndexOf("/") + 1), "-x", "--file", `/var/backups/job-${at}.tar`],
    parent: { pid: 800 + at, exe: "/usr/bin/bash", argv: ["bash"] },
  }));
  let timeMs = 1_767_225_600_000;
  return Array.from({ length: count }, (_, seq): SensorEvent => {
    timeMs += Math.floor(random() * 4);
    const process = programs[Math.floor(random() * programs.length)]!;
    const path = `/etc/${["ssl", "systemd", "apt", "cron.d"][Math.floor(random() * 4)]}/${Math.floor(random() * 65536).toString(16)}.conf`;
    const envelope = { v: 1, device: of.device, epoch: of.epoch, seq, timeMs } as const;
    const kind = random();
    if (kind < 0.6) return { ...envelope, type: "file.create", body: { process, file: { path } } };
    if (kind < 0.9) return { ...envelope, type: "file.modify", body: { process, file: { path } } };
    return { ...envelope, type: "file.rename", body: { process, file: { path, to: `${path}.bak` } } };
  });
}

export const workloadBoot = boot;

/** Numerical Recipes' linear congruential generator: good enough to vary a workload, the same everywhere. */
export function lcg(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
