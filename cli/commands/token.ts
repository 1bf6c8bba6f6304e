// `picket token create`
import { dateWords } from "@picket/tui/words";
import type { Command } from "commander";
import { homeOf, siteOf } from "../access.ts";
import { durationOption, whole } from "../arguments.ts";
import { Failure } from "../failure.ts";
import { plural, printJson } from "../output.ts";
import { writeSecret } from "../secret-file.ts";

type Options = { readonly ttl: number; readonly uses: number; readonly out?: string; readonly line?: boolean; readonly json?: boolean };

export function addToken(program: Command): void {
  const token = program.command("token").description("enrolment tokens");
  token
    .command("create")
    .description("make a token with which a machine becomes a device of this site, and the line that installs it there")
    .addOption(durationOption("--ttl <time>", "how long it can be used, 1m to 30d", 3600_000))
    .option("--uses <n>", "how many devices may use it", whole(1, 10_000), 1)
    .option("--out <file>", "write it to this file (0600) instead of printing it")
    .option("--line", "print the line to paste on the device; on a terminal that is what is printed anyway")
    .option("--json", "one JSON object: { token, expiresMs, line? }, or with --out { file, expiresMs, line? }")
    .addHelpText(
      "after",
      `
A token is a secret until it is used. The line fetches the installer from the site, runs it only if it is the one an operator signed, and gives it
the token. Where the agent is installed already: picket-agent enroll --token-file FILE

Examples:
  picket token create
  picket token create --ttl 7d --uses 20 --out TOKEN
  picket token create --line | ssh root@gw-014 bash
  picket token create | ssh gw-014 'sudo picket-agent enroll --token-file /dev/stdin'`,
    )
    .action(create);
}

async function create(options: Options, command: Command): Promise<void> {
  if (options.ttl < 60_000 || options.ttl > 30 * 86_400_000) throw new Failure("--ttl takes 1m to 30d", undefined, 2);
  const client = siteOf(command);
  const made = await client.call("createToken", { body: { ttlS: Math.floor(options.ttl / 1000), uses: options.uses } });
  const { checkToken, findInstaller, installLine } = await import("../operator/install-line.ts");
  const token = checkToken(made.token, homeOf(command));
  const wanted = options.line || options.json || options.out !== undefined || process.stdout.isTTY;
  const installer = wanted ? await findInstaller(client, homeOf(command), token) : { why: "" };
  const file = options.out;
  const line = "why" in installer ? undefined : installLine(installer, file === undefined ? made : { file });
  if (options.line && "why" in installer)
    throw new Failure(
      `no machine can be installed from this site yet: ${installer.why}`,
      "On its host: sudo ./install.sh --upgrade, with a release signed by `picket operator sign`.",
    );
  if (file !== undefined) writeSecret(file, made.token);
  if (options.json)
    return printJson({ ...(file === undefined ? made : { file, expiresMs: made.expiresMs }), ...(line === undefined ? {} : { line }) });
  const goodFor = `good for ${plural(options.uses, "device")} until ${dateWords(made.expiresMs)}`;
  if (file !== undefined) {
    console.error(`${file}: ${goodFor}`);
    console.error(`Next, on the device, with the file there: ${line?.trim() ?? `picket-agent enroll --token-file ${file}`}`);
    return;
  }
  if (wanted)
    console.error(
      line
        ? `${goodFor[0]!.toUpperCase()}${goodFor.slice(1)}. Paste this line on the device:`
        : `No line to paste: ${(installer as { why: string }).why}. The token is ${goodFor}:`,
    );
  console.log(line ?? made.token);
}
