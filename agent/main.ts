#!/usr/bin/env bun
// The `picket-agent` command: arguments, environment and signals. What each command does lies in the file it calls.
import { readFileSync } from "node:fs";
import { BadConfig, printConfig } from "@picket/protocol/config";
import { watchConfigFile } from "@picket/protocol/config-file";
import { deviceId } from "@picket/protocol/names";
import type { Capability } from "@picket/protocol/status";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import { AgentConfig, DEFAULT_FILE, explicitSettings, loadConfig } from "./config.ts";
import { version } from "./host.ts";
import { createLog } from "./log.ts";

type Globals = { config?: string; state?: string };

const program = new Command("picket-agent")
  .description("Watches this host's kernel and reports to its site; isolates the host when its operators order it.")
  .version(version)
  .option("--config <file>", "configuration (default: /etc/picket/agent.toml)")
  .option("--state <dir>", "folder of identity, buffer and isolation state (default: /var/lib/picket/agent)")
  .exitOverride()
  .showHelpAfterError("(--help says how)")
  // Commander repeats what was typed or pasted: it must not steer the terminal.
  .configureOutput({ outputError: (text, write) => write(text.replaceAll(/[^\P{Control}\n]/gu, "\uFFFD")) })
  .configureHelp({ showGlobalOptions: true });

const examples = (...of: readonly string[]) => `\nExamples:\n${of.map((text) => `  picket-agent ${text}`).join("\n")}`;
const configOf = (command: Command): AgentConfig => loadConfig({ ...globals(command), env: process.env });
const explicitOf = (command: Command) => explicitSettings({ ...globals(command), env: process.env });
const globals = (command: Command) => {
  const { config, state } = command.optsWithGlobals<Globals>();
  return { file: config, state };
};

program
  .command("run")
  .description("run the agent in the foreground")
  .addOption(new Option("--stdout", "print events as NDJSON instead of sending them; needs no site").conflicts("file"))
  .option("--file <file>", "append events as NDJSON to a file that is rotated (keys file.maxBytes, file.keep); needs no site")
  .addHelpText(
    "after",
    examples("run", "run --stdout | jq -c 'select(.type == \"net.connect\")'", "run --file /var/log/picket/events.ndjson"),
  )
  .action(async (options: { stdout?: boolean; file?: string }, command: Command) => {
    if (options.file !== undefined) await runToFile(command, options.file);
    else await (options.stdout ? runToStdout(command) : runForSite(command));
  });

program
  .command("enroll")
  .description("make this machine a device of a site")
  .requiredOption("--token-file <file>", "file with the token from `picket token create`; - reads standard input")
  .option("--name <name>", "wished device name (default: this host's name)", checkedName)
  .option("--replace", "give up the identity this machine has")
  .addHelpText("after", examples("enroll --token-file TOKEN", "enroll --token-file - --name gw-014 < TOKEN"))
  .action(async (options: { tokenFile: string; name?: string; replace?: boolean }, command: Command) => {
    const { enrollHost } = await import("./enroll-host.ts");
    const token = options.tokenFile === "-" ? await Bun.stdin.text() : readToken(options.tokenFile);
    const identity = await enrollHost({ token, name: options.name, replace: options.replace === true, dir: configOf(command).state });
    console.error(`This machine is now the device ${identity.device} of site ${identity.site}. Start it with: picket-agent run`);
  });

program
  .command("check")
  .description("say for each capability of this host: live, degraded or off, why, and what to do")
  .option("--json", "one JSON array: [{ name, level, why, todo? }]")
  .addHelpText(
    "after",
    `\nExits 1 when something is off.\n${examples("check", "check --json | jq -r '.[] | select(.level != \"live\") | .name'")}`,
  )
  .action(async (options: { json?: boolean }, command: Command) => {
    const { checkCapabilities } = await import("./check.ts");
    const capabilities = await checkCapabilities(configOf(command), explicitOf(command));
    console.log(options.json ? JSON.stringify(capabilities) : describe(capabilities));
    if (capabilities.some(({ level }) => level === "off")) process.exitCode = 1;
  });

program
  .command("config")
  .description("show the configuration")
  .requiredOption("--print", "print what is in effect, with a description of each key")
  .addHelpText("after", examples("config --print", "config --print --config ./agent.toml"))
  .action(async (_options: unknown, command: Command) => {
    const { printSettings } = await import("./print-settings.ts");
    const config = configOf(command);
    console.log(`${printSettings(config, explicitOf(command))}${printConfig(AgentConfig, config)}`);
  });

program
  .command("status")
  .description("say what the running agent is doing")
  .option("--json", "one JSON object: what the agent last wrote, and whether it runs")
  .addHelpText("after", `\nExits 1 when no agent runs.\n${examples("status", "status --json | jq .connected")}`)
  .action(async (options: { json?: boolean }, command: Command) => {
    const { describeStatus, readStatus, statusPath } = await import("./status-file.ts");
    const { state } = configOf(command);
    const found = readStatus(statusPath(state));
    if (!found)
      throw new Error(`no agent has run with the state folder ${state}: start one with picket-agent run, or name another with --state`);
    console.log(options.json ? JSON.stringify({ running: found.running, ...found.status }) : describeStatus(found, Date.now()));
    if (!found.running) process.exitCode = 1;
  });

function checkedName(name: string): string {
  const parsed = deviceId.safeParse(name);
  if (!parsed.success) throw new InvalidArgumentError(parsed.error.issues[0]?.message ?? "this cannot be a device's name");
  return parsed.data;
}

function readToken(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`the token cannot be read: ${why}\nMake one at the site: picket token create --out FILE`);
  }
}

const describe = (capabilities: readonly Capability[]) =>
  capabilities
    .flatMap(({ name, level, why, todo }) => [`${level.padEnd(9)} ${name}: ${why}`, ...(todo ? [`          -> ${todo}`] : [])])
    .map((line) => line.replaceAll(/\p{C}/gu, "\uFFFD"))
    .join("\n");

/** Runs until SIGTERM or SIGINT; SIGHUP or a changed file starts anew with the configuration as it is then, unless that has an error. */
async function runForSite(command: Command): Promise<void> {
  const [{ startAgent }, { keepWatchdog }] = await Promise.all([import("./run.ts"), import("./watchdog.ts")]);
  using _watchdog = await keepWatchdog(process.env);
  const write = (line: string) => void process.stderr.write(line);
  process.stderr.on("error", () => {});
  for (let config = configOf(command), explicit = explicitOf(command); ; ) {
    const log = createLog(config.log, write);
    // Listened to from the first moment: a signal during the start must end it cleanly too.
    const accept = (name: NodeJS.Signals) => {
      if (name !== "SIGHUP") return true;
      try {
        [config, explicit] = [configOf(command), explicitOf(command)];
        return true;
      } catch (error) {
        log("error", "the configuration has errors; the old one stays in effect", { error: String(error) });
        return false;
      }
    };
    const signalled = nextSignal(accept, globals(command).file ?? process.env.PICKET_CONFIG ?? DEFAULT_FILE);
    const agent = await startAgent(config, explicit, log);
    const signal = await signalled;
    await agent.stop(signal);
    if (signal !== "SIGHUP") return;
  }
}

/** Runs until SIGTERM, SIGINT or SIGHUP. */
async function runToFile(command: Command, path: string): Promise<void> {
  const [{ openRotatingFile }, { printEvents }] = await Promise.all([import("./output/rotating-file.ts"), import("./standalone.ts")]);
  const config = configOf(command);
  const log = createLog(config.log, (line) => void process.stderr.write(line));
  const onProblem = (error: Error | undefined) =>
    error
      ? log("error", "the file cannot be written; events wait, and are counted when there is no more room", {
          file: path,
          error: error.message,
        })
      : log("info", "the file can be written again", { file: path });
  const file = openRotatingFile({ path, ...config.file, onProblem });
  const signalled = nextSignal(() => true);
  const events = printEvents(config, file, log);
  log("info", "events go to a file", { file: path });
  events.stop(await signalled);
  const unwritten = file.end();
  if (unwritten > 0) throw new Error(`${path}: ${unwritten} bytes of events could not be written and are lost`);
}

async function runToStdout(command: Command): Promise<void> {
  const [{ countedOutput }, { printEvents }] = await Promise.all([import("./output/stream.ts"), import("./standalone.ts")]);
  const config = configOf(command);
  const log = createLog(config.log, (line) => void process.stderr.write(line));
  const closed = Promise.withResolvers<string>();
  // The reader has gone (`| head`): that is an end, not an error.
  process.stdout.on("error", () => closed.resolve("the reader closed the pipe"));
  const output = countedOutput((text, done) => void process.stdout.write(text, done));
  const signalled = nextSignal(() => true);
  const events = printEvents(config, output, log);
  const why = await Promise.race([signalled, closed.promise]);
  events.stop(why);
  output.flush();
  await new Promise<void>((resolve) => {
    process.stdout.write("", () => resolve());
    setTimeout(resolve, 1000).unref();
  });
}

/** The next signal that `accept` takes. A change of `file` is a SIGHUP. */
function nextSignal(accept: (signal: NodeJS.Signals) => boolean, file?: string): Promise<NodeJS.Signals> {
  return new Promise((resolve) => {
    const names = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
    const on = (signal: NodeJS.Signals) => {
      if (!accept(signal)) return;
      for (const name of names) process.off(name, on);
      watching?.[Symbol.dispose]();
      resolve(signal);
    };
    const watching = file === undefined ? undefined : watchConfigFile(file, () => on("SIGHUP"));
    for (const name of names) process.on(name, on);
  });
}

async function main(): Promise<number> {
  if (process.env.NODE_TLS_REJECT_UNAUTHORIZED === "0") {
    console.error("picket-agent: NODE_TLS_REJECT_UNAUTHORIZED=0 switches certificate checks off: unset it");
    return 2;
  }
  try {
    await program.parseAsync();
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    console.error(`picket-agent: ${error instanceof Error ? error.message : error}`);
    return error instanceof BadConfig ? 2 : 1;
  }
}

process.exit(await main());
