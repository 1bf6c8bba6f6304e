// Which events can be links of a chain, and as what.
import type { SensorEvent } from "@picket/protocol/event";
import type { Arrival } from "../finding.ts";
import { baseName } from "../text.ts";
import { type ProcessNode, parentOf, type Step } from "./node.ts";
import { isCredentialRead, isExternal, isNoisyTool, isShell, runsOneCommand } from "./programs.ts";

/** The step an event is, or undefined for most. */
export function stepOf(event: SensorEvent, node: ProcessNode, arrival: Arrival): Step | undefined {
  switch (event.type) {
    case "process.exec": {
      const { exe, argv } = event.body.process;
      const parent = parentOf(node, arrival.receivedMs);
      // `sh -c` by a package tool is its work, not somebody's shell.
      const own = isShell(exe) && !(runsOneCommand(argv) && parent !== undefined && isNoisyTool(parent.exe, parent.argv));
      return step(own ? "shell" : "exec", event, node, arrival, argv.length > 0 ? argv.join(" ") : exe, 0);
    }
    case "net.connect": {
      const { proto, dstIp, dstPort } = event.body.net;
      if (!isExternal(proto, dstIp, dstPort)) return undefined;
      return step("connect", event, node, arrival, dstIp.includes(":") ? `[${dstIp}]:${dstPort}` : `${dstIp}:${dstPort}`, dstPort);
    }
    case "file.open": {
      const { path, flags } = event.body.file;
      return isCredentialRead(path, flags, event.body.process.exe) ? step("read", event, node, arrival, path, 0) : undefined;
    }
    default:
      return undefined;
  }
}

function step(kind: Step["kind"], event: SensorEvent, node: ProcessNode, arrival: Arrival, object: string, port: number): Step {
  return {
    kind,
    node,
    parent: parentOf(node, arrival.receivedMs),
    pair: event.type === "process.exec" ? node.pair : undefined,
    program: baseName(node.exe),
    noisy: isNoisyTool(node.exe, node.argv),
    port,
    object,
    timeMs: event.timeMs,
    seq: event.seq,
    receivedMs: arrival.receivedMs,
    eventId: arrival.id,
  };
}
