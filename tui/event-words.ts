import type { SensorEvent } from "@picket/protocol/event";

/** One event in a few words, without its type and time. Text from the device: still to be made safe where it is shown. */
export function eventWords(event: SensorEvent): string {
  const { type, body } = event;
  switch (type) {
    case "process.exec":
      return commandLine(body.process);
    case "process.exit":
      return `${body.process.exe} exit ${body.exitCode}${body.signal ? ` signal ${body.signal}` : ""}`;
    case "process.ptrace":
      return `${body.process.exe} ${body.request} pid ${body.targetPid}`;
    case "process.memfd":
      return `${body.process.exe} memfd ${body.name}`;
    case "process.io_uring":
      return `${body.process.exe} io_uring ${body.op}`;
    case "process.setuid":
      return `${body.process.exe} uid ${body.from} → ${body.to}`;
    case "file.open":
    case "file.create":
    case "file.modify":
    case "file.delete":
      return `${body.file.path}  by ${body.process.exe}`;
    case "file.rename":
      return `${body.file.path} → ${body.file.to}  by ${body.process.exe}`;
    case "file.chmod":
      return `${body.file.path} ${body.file.mode.toString(8)}  by ${body.process.exe}`;
    case "file.hash":
      return `${body.file.path} sha256 ${body.file.sha256}`;
    case "file.integrity":
      return `${body.file.path} ${body.change}${body.process ? `  by ${body.process.exe}` : ""}`;
    case "net.connect":
      return `${body.net.proto} to ${hostPort(body.net.dstIp, body.net.dstPort)}  by ${body.process.exe}`;
    case "net.listen":
      return `${body.net.proto} on ${hostPort(body.net.ip, body.net.port)}  by ${body.process.exe}`;
    case "net.accept":
      return `${body.net.proto} from ${hostPort(body.net.srcIp, body.net.srcPort)} on ${body.net.port}  by ${body.process.exe}`;
    case "net.dns":
      return `${body.net.query}  by ${body.process.exe}`;
    case "kernel.module":
      return `${body.name}${body.process ? `  by ${body.process.exe}` : ""}`;
    case "kernel.bpf":
      return `${body.cmd}  by ${body.process.exe}`;
    case "kernel.mount":
      return `${body.source} on ${body.target} (${body.fsType})  by ${body.process.exe}`;
    case "device.usb":
      return `${body.action} ${body.vendor} ${body.product}`;
    case "auth.login":
      return `${body.user} ${body.ok ? "logged in" : "was refused"} (${body.method})${body.remoteIp ? ` from ${body.remoteIp}` : ""}`;
    case "auth.sudo":
      return `${body.user} ${body.ok ? "ran" : "was refused"} ${body.command}`;
    case "log.line":
      return `${body.source}: ${body.message}`;
    case "host.metrics":
      return `cpu ${Math.round(body.cpu.busy * 100)} %, load ${body.cpu.load1}`;
    case "host.inventory":
      return `${body.table} ${body.op} ${Object.values(body.row).join(" ")}`;
    case "agent.start":
      return `agent ${body.version} on ${body.arch} ${body.kernel}`;
    case "agent.stop":
      return body.why;
    case "sensor.state":
      return `${body.collector} is ${body.level}: ${body.why}`;
    case "sensor.lost":
      return `${body.atMost ? "at most " : ""}${body.count} events${body.epoch ? " of an earlier run" : ""} lost in the ${body.where} (${body.collector})`;
    case "response.result":
      return `${body.act} ${body.ok ? "done" : `not done (${body.code})`}${body.message ? `: ${body.message}` : ""}`;
  }
}

/** The path the kernel ran, then the arguments after argv[0], quoted where they hold spaces or controls, which are shown as escapes. argv[0] is shown when it claims another name. */
export function commandLine(process: {
  readonly exe: string;
  readonly argv?: readonly string[] | undefined;
  readonly argvTruncated?: boolean | undefined;
}): string {
  const [name = process.exe, ...args] = process.argv ?? [];
  const base = (path: string) => path.slice(path.lastIndexOf("/") + 1);
  const alias = base(name.replace(/^-/, "")) === base(process.exe) ? "" : ` [as ${name}]`;
  const quoted = args.map((arg) => (arg === "" || /[\s'"\p{Control}]/u.test(arg) ? JSON.stringify(arg).replaceAll("\\\\", "\\") : arg));
  return `${process.exe}${alias}${quoted.length > 0 ? ` ${quoted.join(" ")}` : ""}${process.argvTruncated ? " …(more arguments)" : ""}`;
}

/** The events of an alert as they happened. The alert holds the deciding one first. */
export const inOrder = (events: readonly SensorEvent[]) => events.toSorted((a, b) => a.timeMs - b.timeMs || a.seq - b.seq);

const hostPort = (ip: string, port: number) => (ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`);
