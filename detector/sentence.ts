// One plain sentence of what was seen, with the values that made it match.
import { type EventOf, type EventType, processOf, type SensorEvent } from "@picket/protocol/event";
import { baseName, clean } from "./text.ts";

const MAX_VALUE = 300;
export const MAX_SUMMARY = 1000;

const value = (text: string): string => clean(text, MAX_VALUE);
const address = (ip: string, port: number): string => (ip.includes(":") ? `[${value(ip)}]:${port}` : `${value(ip)}:${port}`);
const row = (fields: Record<string, unknown>): string =>
  Object.entries(fields)
    .map(([key, field]) => `${key}=${String(field)}`)
    .join(" ");

// Exhaustive on purpose: a new event type must be given words before it compiles.
const did: { readonly [T in EventType]: (body: EventOf<T>["body"]) => string } = {
  "process.exec": ({ process }) => `ran: ${value(process.argv.join(" ") || process.exe)}`,
  "process.exit": ({ exitCode, signal }) => (signal ? `ended by signal ${signal}` : `ended with exit code ${exitCode}`),
  "process.ptrace": ({ targetPid, request }) => `traced pid ${targetPid} (${value(request)})`,
  "process.memfd": ({ name }) => `made the anonymous file ${value(name)}`,
  "process.io_uring": ({ op }) => (op === "setup" ? "made an io_uring" : `asked an io_uring for ${value(op)}`),
  "process.setuid": ({ from, to }) => `changed its user id from ${from} to ${to}`,
  "file.open": ({ file }) => `opened ${value(file.path)}`,
  "file.create": ({ file }) => `created ${value(file.path)}`,
  "file.modify": ({ file }) => `changed ${value(file.path)}`,
  "file.rename": ({ file }) => `renamed ${value(file.path)} to ${value(file.to)}`,
  "file.delete": ({ file }) => `deleted ${value(file.path)}`,
  "file.chmod": ({ file }) => `set mode ${file.mode.toString(8)} on ${value(file.path)}`,
  "file.hash": ({ file }) => `left ${value(file.path)}, ${file.size} bytes with the SHA-256 ${value(file.sha256)}`,
  "file.integrity": ({ file, change }) => `${change} the critical file ${value(file.path)}`,
  "net.connect": ({ net }) => `connected to ${address(net.dstIp, net.dstPort)}`,
  "net.listen": ({ net }) => `listened on ${address(net.ip, net.port)}`,
  "net.accept": ({ net }) => `accepted a connection from ${address(net.srcIp, net.srcPort)} on port ${net.port}`,
  "net.dns": ({ net }) => `asked for the name ${value(net.query)}`,
  "kernel.module": ({ name }) => `loaded the kernel module ${value(name)}`,
  "kernel.bpf": ({ cmd }) => `used bpf (${value(cmd)})`,
  "kernel.mount": ({ source, target }) => `mounted ${value(source)} on ${value(target)}`,
  "device.usb": ({ vendor, product, action }) => `USB device ${value(vendor)} ${value(product)}: ${action}`,
  "auth.login": ({ user, remoteIp, method, ok }) =>
    `login of ${value(user)} by ${value(method)}${remoteIp ? ` from ${value(remoteIp)}` : ""}: ${ok ? "accepted" : "refused"}`,
  "auth.sudo": ({ user, command, ok }) => `sudo by ${value(user)}: ${value(command)} (${ok ? "allowed" : "refused"})`,
  "log.line": ({ source, message }) => `${value(source)} logged: ${value(message)}`,
  "host.metrics": ({ cpu }) => `CPU ${Math.round(cpu.busy * 100)} % busy`,
  "host.inventory": ({ table, op, row: fields }) => `${value(table)}: ${op} ${value(row(fields))}`,
  "agent.start": ({ version }) => `agent ${value(version)} started`,
  "agent.stop": ({ why }) => `agent stopped: ${value(why)}`,
  "sensor.state": ({ collector, level, why }) => `collector ${value(collector)} is ${level}: ${value(why)}`,
  "sensor.lost": ({ collector, count, where, epoch, atMost }) =>
    `${atMost ? "at most " : ""}${count} events of ${value(collector)}${epoch ? ", of an earlier run," : ""} lost (${where})`,
  "response.result": ({ act, ok, message }) => `${value(act)} ${ok ? "done" : "failed"}: ${value(message)}`,
};

/** What an event says happened, without who did it. */
export const deed = (event: SensorEvent): string => (did[event.type] as (body: unknown) => string)(event.body);

/** A process in a sentence: "bash (pid 412), started by python3". */
export function actor(process: { pid: number; exe: string }, parent: string | undefined): string {
  const name = value(baseName(process.exe)) || "a process";
  const pid = process.pid > 0 ? ` (pid ${process.pid})` : "";
  return parent ? `${name}${pid}, started by ${value(baseName(parent))},` : `${name}${pid}`;
}

/** "bash (pid 412), started by python3, connected to 198.51.100.7:4444". */
export function sentence(event: SensorEvent, parent: string | undefined): string {
  const process = processOf(event);
  return clean(process ? `${actor(process, parent)} ${deed(event)}` : deed(event), MAX_SUMMARY);
}
