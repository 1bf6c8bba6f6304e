#!/usr/bin/env bun
// The `picket` command. It finds the command that was asked for and loads no other, so that each starts fast.
import { untrusted } from "@picket/tui/untrusted";
import { Command, CommanderError, Help, type Option } from "commander";
import { explain } from "./failure.ts";
import packageJson from "./package.json" with { type: "json" };

type Add = (program: Command) => void;

// In the order of --help. Each module adds its command; heavy parts are loaded in the action.
const commands: Record<string, () => Promise<Add>> = {
  up: async () => (await import("./commands/up.ts")).addUp,
  tui: async () => (await import("./commands/tui.ts")).addTui,
  incidents: async () => (await import("./commands/incidents.ts")).addIncidents,
  incident: async () => (await import("./commands/incidents.ts")).addIncident,
  alerts: async () => (await import("./commands/alerts.ts")).addAlerts,
  alert: async () => (await import("./commands/alert.ts")).addAlert,
  exceptions: async () => (await import("./commands/exceptions.ts")).addExceptions,
  devices: async () => (await import("./commands/devices.ts")).addDevices,
  device: async () => (await import("./commands/device.ts")).addDevice,
  isolate: async () => (await import("./commands/isolate.ts")).addIsolate,
  release: async () => (await import("./commands/release.ts")).addRelease,
  scan: async () => (await import("./commands/scan.ts")).addScan,
  settings: async () => (await import("./commands/settings.ts")).addSettings,
  events: async () => (await import("./commands/events.ts")).addEvents,
  ioc: async () => (await import("./commands/ioc.ts")).addIoc,
  token: async () => (await import("./commands/token.ts")).addToken,
  mesh: async () => (await import("./commands/mesh.ts")).addMesh,
  sink: async () => (await import("./commands/sink.ts")).addSink,
  doctor: async () => (await import("./commands/doctor.ts")).addDoctor,
  operator: async () => (await import("./commands/operator.ts")).addOperator,
  site: async () => (await import("./commands/site.ts")).addSite,
  broker: async () => (await import("./commands/broker.ts")).addBroker,
  detector: async () => (await import("./commands/detector.ts")).addDetector,
  rules: async () => (await import("./commands/rules.ts")).addRules,
  model: async () => (await import("./commands/model.ts")).addModel,
  hunt: async () => (await import("./commands/hunt.ts")).addHunt,
  replay: async () => (await import("./commands/replay.ts")).addReplay,
  demo: async () => (await import("./commands/demo.ts")).addDemo,
};

/** Runs `picket` with these arguments (without program names) and returns the exit code: 0 done, 1 failed, 2 called wrongly. */
export async function run(args: readonly string[]): Promise<number> {
  const program = new Command("picket")
    .description("Endpoint detection and response for the edge: the site's and the operator's command.")
    .version(packageJson.version)
    .option("--home <dir>", "operator's home: keys and site.json (default: PICKET_HOME, ./.picket/operator, ~/.config/picket)")
    .configureHelp({ showGlobalOptions: true })
    .showHelpAfterError("(--help says how)")
    // Commander repeats what was typed or pasted: it must not steer the terminal.
    .configureOutput({ outputError: (text, write) => write(text.split("\n").map(untrusted).join("\n")) })
    .exitOverride();
  const asked = args.filter((arg) => Object.hasOwn(commands, arg));
  for (const name of asked.length > 0 ? new Set(asked) : Object.keys(commands)) (await commands[name]!())(program);
  overrideExit(program);
  try {
    await program.parseAsync([...args], { from: "user" });
    return Number(process.exitCode ?? 0);
  } catch (error) {
    // Commander has said what is wrong by now; help and version are no errors.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    const { lines, exitCode } = explain(error);
    for (const text of lines) console.error(text);
    return exitCode;
  }
}

function overrideExit(command: Command): void {
  for (const sub of command.commands) {
    sub.exitOverride().configureHelp({ showGlobalOptions: true, visibleGlobalOptions });
    overrideExit(sub);
  }
}

/** Those that hold here too: an option that a command has itself hides its parent's. */
function visibleGlobalOptions(this: Help, command: Command): Option[] {
  return Help.prototype.visibleGlobalOptions.call(this, command).filter(({ long }) => !command.options.some((own) => own.long === long));
}

if (import.meta.main) {
  // `picket events | head` ends quietly. A terminal that was closed (EIO) has sent SIGHUP: whoever has something to undo is at it.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EIO") process.exit(error.code === "EPIPE" ? 0 : 1);
  });
  process.exitCode = await run(process.argv.slice(2));
}
