// `picket token create`
import { writeFileSync } from "node:fs";
import { dateWords } from "@picket/tui/words";
import type { Command } from "commander";
import { siteOf } from "../access.ts";
import { durationOption, whole } from "../arguments.ts";
import { Failure } from "../failure.ts";
import { printJson } from "../output.ts";

type Options = { readonly ttl: number; readonly uses: number; readonly out?: string; readonly json?: boolean };

export function addToken(program: Command): void {
  const token = program.command("token").description("enrolment tokens");
  token
    .command("create")
    .description("make a token with which a machine becomes a device of this site")
    .addOption(durationOption("--ttl <time>", "how long it can be used, 1m to 30d", 3600_000))
    .option("--uses <n>", "how many devices may use it", whole(1, 10_000), 1)
    .option("--out <file>", "write it to this file (0600) instead of printing it")
    .option("--json", "one JSON object: { token, expiresMs }, or with --out { file, expiresMs }")
    .addHelpText(
      "after",
      "\nA token is a secret until it is used. On the device: picket-agent enroll --token-file FILE\n\nExamples:\n  picket token create --out TOKEN\n  picket token create --ttl 7d --uses 20 --out TOKEN\n  picket token create | ssh gw-014 'sudo picket-agent enroll --token-file /dev/stdin'",
    )
    .action(async (options: Options, command: Command) => {
      if (options.ttl < 60_000 || options.ttl > 30 * 86_400_000) throw new Failure("--ttl takes 1m to 30d", undefined, 2);
      const made = await siteOf(command).call("createToken", { body: { ttlS: Math.floor(options.ttl / 1000), uses: options.uses } });
      if (options.out === undefined) return options.json ? printJson(made) : console.log(made.token);
      writeSecret(options.out, made.token);
      if (options.json) printJson({ file: options.out, expiresMs: made.expiresMs });
      else
        console.error(
          `${options.out}: good for ${options.uses} device${options.uses === 1 ? "" : "s"} until ${dateWords(made.expiresMs)}\nNext, on the device: picket-agent enroll --token-file ${options.out}`,
        );
    });
}

function writeSecret(file: string, text: string): void {
  try {
    // "wx": never into a file that exists, whose mode and owner are somebody else's choice.
    writeFileSync(file, `${text}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === "EEXIST";
    throw new Failure(
      `${file} cannot be written: ${exists ? "it exists already" : (error as Error).message}`,
      exists ? "Choose another --out, or delete it." : undefined,
    );
  }
}
