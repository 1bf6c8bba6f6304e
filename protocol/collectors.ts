// Which capability of a device brings which events: what a device says of its sensor then tells what its rules can see.
import type { EventType } from "./event.ts";

/**
 * Name of the capability (protocol/status.ts), "always" for what the agent says of itself, "nothing" for what no agent brings yet.
 * Exhaustive: a new event type must say where it comes from.
 */
export const capabilityOf: Readonly<Record<EventType, string>> = {
  "process.exec": "sensor.exec",
  "process.exit": "sensor.exit",
  "process.ptrace": "sensor.privilege",
  "process.memfd": "sensor.privilege",
  "process.io_uring": "sensor.io_uring",
  "process.setuid": "sensor.privilege",
  "file.open": "sensor.file",
  "file.create": "sensor.file",
  "file.modify": "sensor.file",
  "file.rename": "sensor.file",
  "file.delete": "sensor.file",
  "file.chmod": "sensor.file",
  "file.hash": "files",
  "file.integrity": "integrity",
  "net.connect": "sensor.net",
  "net.listen": "sensor.net",
  "net.accept": "sensor.net",
  "net.dns": "sensor.dns",
  "kernel.module": "sensor.kernel",
  "kernel.bpf": "sensor.kernel",
  "kernel.mount": "sensor.kernel",
  "device.usb": "usb",
  "auth.login": "logs",
  "auth.sudo": "logs",
  "log.line": "logs",
  "host.metrics": "always",
  "host.inventory": "inventory",
  "agent.start": "always",
  "agent.stop": "always",
  "sensor.state": "always",
  "sensor.lost": "always",
  "response.result": "always",
};
