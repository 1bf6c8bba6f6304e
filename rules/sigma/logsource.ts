// Which of our events a Sigma log source means.
import type { EventType } from "@picket/protocol/event";
import type { Condition, Rule } from "../rule.ts";
import { auditEvents } from "./auditd.ts";

/** Categories of the Sigma taxonomy, with the meaning it gives them, for `product: linux` or none. */
export const sigmaCategories: Record<string, readonly EventType[]> = {
  process_creation: ["process.exec"],
  process_termination: ["process.exit"],
  process_access: ["process.ptrace"],
  network_connection: ["net.connect", "net.accept"],
  dns_query: ["net.dns"],
  // A file appears under a name: created, written again or moved there. Editors and droppers write a temporary file and rename it.
  file_event: ["file.create", "file.modify", "file.rename"],
  file_change: ["file.modify", "file.chmod"],
  file_rename: ["file.rename"],
  file_delete: ["file.delete"],
  file_access: ["file.open"],
  driver_load: ["kernel.module"],
};

/** What Sigma has no category for: `product: picket` only. */
export const picketCategories: Record<string, readonly EventType[]> = {
  process_memfd: ["process.memfd"],
  process_io_uring: ["process.io_uring"],
  process_setuid: ["process.setuid"],
  file_permission: ["file.chmod"],
  file_hash: ["file.hash"],
  file_integrity: ["file.integrity"],
  network_listen: ["net.listen"],
  bpf_load: ["kernel.bpf"],
  mount: ["kernel.mount"],
  usb: ["device.usb"],
  login: ["auth.login"],
  sudo: ["auth.sudo"],
  log: ["log.line"],
  inventory: ["host.inventory"],
  host_metrics: ["host.metrics"],
  agent_start: ["agent.start"],
  agent_stop: ["agent.stop"],
  sensor_state: ["sensor.state"],
  sensor_lost: ["sensor.lost"],
  command_result: ["response.result"],
};

/** Services whose log lines carry another name. Every other service is its own source. */
const serviceSources: Record<string, readonly string[]> = {
  auth: ["auth", "authpriv", "sshd", "sudo", "su", "login", "systemd-logind", "pkexec", "polkitd"],
  cron: ["cron", "crond", "crontab"],
  clamav: ["clamav", "clamd", "clamav-daemon", "clamscan", "freshclam"],
  guacamole: ["guacamole", "guacd"],
};

/** Whose lines an agent sends (docs/sensors.md); lines of others reach a site only if they are in the facilities auth or authpriv. */
const sentServices = new Set(["auth", "sshd", "sudo", "su", "login", "systemd-logind", "cron", "syslog", "kernel"]);

/** Logs that have a format of their own, which we do not read: their rules ask for fields a log line does not have. */
const otherFormats = new Set(["sysmon"]);

/** What the text logs of a system became. */
const logEvents: readonly EventType[] = ["log.line", "auth.login", "auth.sudo"];

export type Source = {
  readonly events: readonly EventType[];
  readonly only?: Condition;
  /** Events that answer a rule which these can not. */
  readonly instead?: readonly EventType[];
  /** The condition is written for records of the audit log. */
  readonly records?: true;
  /** What whoever loads the rule should know. */
  readonly note?: string;
};

/** A connection bears no name; that its program asked for the name a moment before, does. */
const insteadOf: Record<string, readonly EventType[]> = { network_connection: ["net.dns"] };

/** The events of a log source, or why there are none. */
export function eventsOf({ category, product, service }: Rule["logsource"]): Source | { readonly missing: string } {
  const name = [product && `product ${product}`, category && `category ${category}`, service && `service ${service}`]
    .filter(Boolean)
    .join(", ");
  const missing = { missing: `unsupported: log source (${name || "empty"}) is not one Picket's devices produce` };
  if (product !== undefined && product !== "linux" && product !== "picket") return missing;
  if (category !== undefined) {
    const events = own(sigmaCategories, category) ?? (product === "picket" ? own(picketCategories, category) : undefined);
    const instead = own(insteadOf, category);
    return events && service === undefined ? { events, ...(instead && { instead }) } : missing;
  }
  if (product !== "linux" || (service !== undefined && otherFormats.has(service))) return missing;
  if (service === "auditd") return { events: auditEvents, records: true };
  // No category: the text logs of the system, as Sigma means it.
  if (service === undefined || service === "syslog") return { events: logEvents };
  const sources = own(serviceSources, service) ?? [service];
  const tests = sources.map((text) => ({ kind: "equals", text: text.toLowerCase(), cased: false }) as const);
  return {
    events: logEvents,
    only: { op: "field", field: "Source", tests },
    ...(!sentServices.has(service) && { note: noteOf(service) }),
  };
}

const noteOf = (service: string) =>
  `unsupported in part: log source service ${service}: devices send its lines only where they go to the log facility auth or authpriv (docs/sigma.md)`;

const own = <T>(table: Record<string, T>, key: string): T | undefined => (Object.hasOwn(table, key) ? table[key] : undefined);
