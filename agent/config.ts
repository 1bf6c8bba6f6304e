// Everything an agent can be told. Precedence: command line > PICKET_* environment > agent.toml > what the site sets (docs/settings.md) > default (protocol/config.ts).
import { readFileSync } from "node:fs";
import { BadConfig, type ConfigSources, readConfig } from "@picket/protocol/config";
import { host } from "@picket/protocol/enroll";
import { HEARTBEAT_S } from "@picket/protocol/status";
import { statusSettings } from "@picket/protocol/status-page";
import { RE2JS } from "re2js";
import * as z from "zod";
import type { Local } from "./settings/settings.ts";

export const DEFAULT_FILE = "/etc/picket/agent.toml";
export const DEFAULT_STATE = "/var/lib/picket/agent";

const path = z
  .string()
  .regex(/^(?:\/|~\/)/, 'must begin with "/" or "~/"')
  .max(255);
const prefixes = z.array(path).max(256);

/** Secrets and traces: reading them is rare and tells much. */
const readByDefault = [
  "/etc/shadow",
  "/etc/gshadow",
  "/etc/sudoers",
  "/etc/security/opasswd",
  "/etc/ssh/ssh_host_",
  "/etc/krb5.keytab",
  "/etc/wpa_supplicant/",
  "/etc/NetworkManager/system-connections/",
  "~/.ssh/",
  "~/.aws/",
  "~/.kube/",
  "~/.config/gcloud/",
  "~/.docker/config.json",
  "~/.netrc",
  "~/.git-credentials",
  "~/.gnupg/",
  "~/.pgpass",
  "~/.bash_history",
  "~/.zsh_history",
];

/** Where programs, boot and login configuration lie, and where intruders put what they bring: world-writable folders and memory. */
const writeByDefault = [
  "/etc/",
  "/bin/",
  "/sbin/",
  "/boot/",
  "/lib/systemd/",
  "/usr/bin/",
  "/usr/sbin/",
  "/usr/lib/systemd/",
  "/usr/local/",
  "/var/spool/cron/",
  "/var/www/",
  "/root/",
  "/tmp/",
  "/var/tmp/",
  "/dev/shm/",
  "/run/shm/",
  "/var/log/",
  "~/.ssh/",
  "~/.config/autostart/",
  "~/.config/systemd/",
  "~/.bashrc",
  "~/.bash_profile",
  "~/.bash_login",
  "~/.bash_logout",
  "~/.bash_history",
  "~/.profile",
  "~/.zshrc",
  "~/.zshenv",
  "~/.zsh_history",
];

/** What decides who may log in, what runs at boot and at login, and where names lead. Few files, and seldom changed. */
const criticalByDefault = [
  "/etc/passwd",
  "/etc/shadow",
  "/etc/group",
  "/etc/gshadow",
  "/etc/sudoers",
  "/etc/sudoers.d/",
  "/etc/ssh/sshd_config",
  "/etc/ssh/sshd_config.d/",
  "/etc/pam.d/",
  "/etc/security/",
  "/etc/crontab",
  "/etc/cron.d/",
  "/etc/cron.hourly/",
  "/etc/cron.daily/",
  "/etc/cron.weekly/",
  "/etc/cron.monthly/",
  "/var/spool/cron/crontabs/",
  "/etc/systemd/system/",
  "/etc/init.d/",
  "/etc/rc.local",
  "/etc/udev/rules.d/",
  "/etc/modules",
  "/etc/modules-load.d/",
  "/etc/modprobe.d/",
  "/etc/ld.so.preload",
  "/etc/ld.so.conf",
  "/etc/ld.so.conf.d/",
  "/etc/profile",
  "/etc/profile.d/",
  "/etc/bash.bashrc",
  "/etc/environment",
  "/etc/hosts",
  "/etc/nsswitch.conf",
  "/etc/resolv.conf",
  "/etc/fstab",
  "/etc/picket/",
  "/boot/config.txt",
  "/boot/cmdline.txt",
  "/boot/firmware/config.txt",
  "/boot/firmware/cmdline.txt",
  "/root/.ssh/",
  "/root/.profile",
  "/root/.bashrc",
];

function isPattern(text: string): boolean {
  try {
    RE2JS.compile(text);
    return true;
  } catch {
    return false;
  }
}

export const AgentConfig = z.strictObject({
  state: z.string().min(1).default(DEFAULT_STATE).meta({ description: "Folder of this device's identity, buffer and isolation state" }),
  site: z
    .strictObject({
      hosts: z.array(host).max(8).default([]).meta({
        description: "Names or addresses of the site, tried in order instead of those of the token; its certificate must name each",
      }),
    })
    .prefault({}),
  log: z.enum(["info", "warn", "error"]).default("info").meta({ description: "Least important log line written to standard error" }),
  heartbeatS: z
    .int()
    .min(5)
    .max(30)
    .default(HEARTBEAT_S)
    .meta({ description: "Seconds between heartbeats; the site calls a device offline after 45 s without one" }),
  canaryS: z
    .int()
    .min(5)
    .max(3600)
    .default(60)
    .meta({ description: "Seconds between two looks of the agent at itself: what it does, the sensor must see" }),
  metricsS: z
    .int()
    .min(10)
    .max(3600)
    .default(60)
    .meta({ description: "Seconds between two host.metrics: processor, memory, disks, network, temperature, busiest programs" }),
  inventory: z
    .boolean()
    .default(true)
    .meta({ description: "Tell what there is on the device, and what changes: users, keys, ports, units, crontabs, packages and more" }),
  eventsPerS: z
    .int()
    .min(100)
    .max(1_000_000)
    .default(2000)
    .meta({ description: "Events kept per second, on average; above it those without hits are shed and counted, file events first" }),
  eventsPerProcessPerS: z
    .int()
    .min(100)
    .max(1_000_000)
    .default(1000)
    .meta({ description: "File and network events kept per second of one process, on average; above it they are shed likewise" }),
  own: z
    .strictObject({
      cpuPercent: z.number().min(1).max(1600).default(50).meta({
        description: "Share of one core the agent may take, over ten seconds; above it events without hits are shed, file events first",
      }),
      rssBytes: z
        .int()
        .min(32 << 20)
        .max(2 ** 40)
        .default(96 << 20)
        .meta({ description: "Resident memory above which the agent says that it is too large, bytes" }),
    })
    .prefault({}),
  watch: z
    .strictObject({
      read: prefixes.default(readByDefault).meta({ description: "Path prefixes whose reading is reported; ~/ is every user's home" }),
      write: prefixes
        .default(writeByDefault)
        .meta({ description: "Path prefixes in which creating, changing, renaming and deleting is reported" }),
    })
    .prefault({}),
  status: statusSettings(9100),
  sensor: z
    .strictObject({
      ringBytes: z
        .int()
        .min(64 << 10)
        .max(64 << 20)
        .default(4 << 20)
        .meta({ description: "Size of the kernel's ring buffer, bytes" }),
    })
    .prefault({}),
  file: z
    .strictObject({
      maxBytes: z
        .int()
        .min(64 << 10)
        .max(2 ** 40)
        .default(16 << 20)
        .meta({ description: "With run --file: size at which the file is rotated, bytes" }),
      keep: z.int().min(0).max(999).default(4).meta({ description: "With run --file: older files kept, as FILE.1 and so on" }),
    })
    .prefault({}),
  samples: z
    .strictObject({
      hash: z.boolean().default(true).meta({ description: "Report the SHA-256 of files that run and files written below watch.write" }),
      send: z
        .boolean()
        .default(true)
        .meta({ description: "Send the site a file whose hash this device reported, when the site asks for it to scan it" }),
      skip: prefixes
        .default(["/var/log/"])
        .meta({ description: "Path prefixes below watch.write whose files are neither hashed nor sent" }),
      hashBytesPerS: z
        .int()
        .min(64 << 10)
        .max(2 ** 30)
        .default(8 << 20)
        .meta({ description: "Bytes read per second to be hashed" }),
      sendBytesPerS: z
        .int()
        .min(16 << 10)
        .max(2 ** 30)
        .default(1 << 20)
        .meta({ description: "Bytes of files sent per second; events go first" }),
    })
    .prefault({}),
  rules: z
    .strictObject({
      local: z.boolean().default(true).meta({
        description: "Match the shipped rules and those of signed packs on the device, so that hits overtake and survive an outage",
      }),
    })
    .prefault({}),
  privacy: z
    .strictObject({
      mask: z
        .boolean()
        .default(true)
        .meta({ description: "Cover passwords, tokens and keys in command lines and log lines before they leave the device" }),
      names: z
        .array(z.string().min(1).max(64))
        .max(256)
        .default([])
        .meta({ description: "More names of options, variables and fields that hold secrets, besides those everybody uses" }),
      patterns: z
        .array(z.string().min(1).max(512).refine(isPattern, "is no regular expression (RE2)"))
        .max(64)
        .default([])
        .meta({ description: "More patterns (RE2): what the first group matches is covered, or all of it without a group" }),
    })
    .prefault({}),
  logs: z
    .strictObject({
      source: z.enum(["auto", "journal", "files", "off"]).default("auto").meta({
        description: "Where logins, sudo and log lines are read: the journal, text logs, or (auto) the journal where there is one",
      }),
    })
    .prefault({}),
  integrity: z
    .strictObject({
      paths: prefixes
        .default(criticalByDefault)
        .meta({ description: "Critical files and folders whose content, owner and mode are compared with what they were" }),
      everyS: z
        .int()
        .min(10)
        .max(86_400)
        .default(300)
        .meta({ description: "Seconds between two looks at all of them; what the sensor sees somebody at is looked at within a second" }),
    })
    .prefault({}),
  buffer: z
    .strictObject({
      maxEvents: z.int().min(1000).max(5_000_000).default(500_000).meta({ description: "Events kept while the site cannot be reached" }),
      maxBytes: z
        .int()
        .min(1 << 20)
        .max(64 * 2 ** 30)
        .default(256 << 20)
        .meta({ description: "Bytes of them; the oldest events without hits go first" }),
      durability: z.enum(["balanced", "strict"]).default("balanced").meta({
        description:
          "strict: every event is on the disk before it is sent. balanced: those without hits that the site has within a second are never written",
      }),
      flashBytesPerDay: z
        .int()
        .min(1 << 20)
        .max(2 ** 40)
        .default(512 << 20)
        .meta({
          description: "Bytes the agent may write in 24 hours; above it (balanced) events without hits stay in memory, and the oldest go",
        }),
    })
    .prefault({}),
});
export type AgentConfig = z.output<typeof AgentConfig>;

type Where = { readonly file?: string | undefined; readonly state?: string | undefined; readonly env: Record<string, string | undefined> };

/**
 * Reads the configuration. `file` given on the command line must exist; the default one need not. Throws `BadConfig` with every problem.
 */
export function loadConfig(of: Where): AgentConfig {
  return readConfig(AgentConfig, sourcesOf(of));
}

/** What the configuration says explicitly of what the site may set too (protocol/settings.ts). Throws as `loadConfig` does. */
export const explicitSettings = (of: Where): Local => {
  const { heartbeatS, canaryS, metricsS, eventsPerS } = AgentConfig.shape;
  const given = z.object({
    heartbeatS: heartbeatS.unwrap().optional(),
    canaryS: canaryS.unwrap().optional(),
    metricsS: metricsS.unwrap().optional(),
    eventsPerS: eventsPerS.unwrap().optional(),
  });
  return readConfig(given, sourcesOf(of)) as Local;
};

function sourcesOf(of: Where): ConfigSources {
  const file = of.file ?? of.env.PICKET_CONFIG;
  return { args: { state: of.state }, env: of.env, file: readText(file ?? DEFAULT_FILE, file !== undefined) };
}

function readText(name: string, required: boolean): { name: string; text: string } | undefined {
  try {
    return { name, text: readFileSync(name, "utf8") };
  } catch (error) {
    if (!required && (error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new BadConfig(`${name}: ${error instanceof Error ? error.message : error}`);
  }
}
