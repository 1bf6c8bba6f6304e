// `picket operator init|list|grant|sign`
import { resolve } from "node:path";
import { type Right, rights } from "@picket/protocol/command";
import { Argument, type Command } from "commander";
import { homeOf, siteOf } from "../access.ts";
import { userName } from "../config.ts";
import { printJson, printLine, printTable } from "../output.ts";
import packageJson from "../package.json" with { type: "json" };

type InitOptions = { readonly site: string; readonly name?: string; readonly json?: boolean };

export function addOperator(program: Command): void {
  const operator = program.command("operator").description("operator keys: who may order devices");
  operator
    .command("init")
    .description("make root, recovery and operator keys where the operator works, never on the broker")
    .requiredOption("--site <name>", "name of the site the keys are for")
    .option("--name <name>", "your name in the key list (default: your user name)")
    .option("--json", "one JSON object: { home, site, name, kid, public }")
    .addHelpText(
      "after",
      "\nKeep root.jwk and recovery.jwk off line; only public.json goes to the site's host.\n\nExamples:\n  picket operator init --site plant-7\n  picket --home ./keys operator init --site plant-7 --name anna",
    )
    .action(async (options: InitOptions, command: Command) => {
      const { initOperator } = await import("../operator/keys.ts");
      const home = homeOf(command);
      const made = await initOperator({ home, site: options.site, name: options.name ?? userName() });
      const file = `${home}/public.json`;
      if (options.json) return printJson({ home, site: made.site, name: made.name, kid: made.kid, public: file });
      printLine(`Operator keys for the site ${made.site} are in ${home}.`);
      printLine("Back up root.jwk and recovery.jwk off line: they decide who may order the devices.");
      printLine(
        `Next, on the site's host: picket site init --site ${made.site} --host ADDRESS --operator public.json (copy ${file} there)`,
      );
    });
  operator
    .command("list")
    .description("show who the newest key list here lets order devices")
    .option("--json", "one JSON object: { site, version, operators: [...] }")
    .addHelpText("after", "\nExample:\n  picket operator list")
    .action(async (options: { json?: boolean }, command: Command) => {
      const { listOperators } = await import("../operator/keys.ts");
      const list = await listOperators(homeOf(command));
      if (options.json) return printJson(list);
      printLine(`site ${list.site}, key list version ${list.version}`);
      printTable(
        ["operator", "may", "key"],
        list.operators.map((one) => [one.self ? `${one.name} (you)` : one.name, one.may.join(", "), one.kid]),
      );
    });
  operator
    .command("grant")
    .description("let a listed operator do more, and publish the new key list to the site; needs root.jwk")
    .addArgument(new Argument("<right>", "what the operator may").choices([...rights]))
    .option("--to <name>", "the operator's name or key (default: you)")
    .option("--json", "one JSON object: { version, name, may }")
    .addHelpText("after", "\nExamples:\n  picket operator grant settings\n  picket operator grant release --to ben")
    .action(async (right: Right, options: { to?: string; json?: boolean }, command: Command) => {
      const { grantRight, listOperators, loadOperator, loadPublic } = await import("../operator/keys.ts");
      const home = homeOf(command);
      const who = options.to ?? (await loadOperator(home)).kid;
      const next = await grantRight(home, who, right);
      // Also when the list said so already: an earlier try may have ended before the site had it.
      const { version } = await siteOf(command).call("putKeys", { body: { jws: next?.jws ?? loadPublic(home).keys } });
      const { name, may } = (await listOperators(home)).operators.find((one) => one.kid === who || one.name === who)!;
      if (options.json) return printJson({ version, name, may });
      printLine(
        `${name} may ${may.join(", ")}: the site has version ${version} of the key list, and its devices hear of it as they connect.`,
      );
    });
  operator
    .command("sign")
    .description("sign what devices install, so that they take it from nobody else")
    .argument("[dir]", "folder with linux-x64/picket-agent, linux-arm64/picket-agent or both, as `bun run build` makes it", "dist")
    .option("--json", "one JSON object: { dir, site, iat, version, files: { NAME: SHA256 } }")
    .addHelpText(
      "after",
      "\nSigns with operator.jwk. The folder then goes to the site's host, where sudo ./install.sh --site or --upgrade takes it.\n\nExamples:\n  picket operator sign\n  picket operator sign /srv/picket/dist --json",
    )
    .action(async (dir: string, options: { json?: boolean }, command: Command) => {
      const [{ loadOperator }, { signRelease }] = await Promise.all([import("../operator/keys.ts"), import("../operator/release.ts")]);
      const operator = await loadOperator(homeOf(command));
      const release = await signRelease(operator, resolve(dir), { version: packageJson.version, nowMs: Date.now() });
      if (options.json) return printJson({ dir: resolve(dir), ...release });
      printLine(`Signed picket-agent ${release.version} for the site ${release.site}, as ${operator.name ?? operator.kid}:`);
      printTable(
        ["file", "SHA-256"],
        Object.entries(release.files).map(([name, hash]) => [name, hash]),
      );
      printLine(`Next, on the site's host, in a folder with install.sh and this ${dir}: sudo ./install.sh --upgrade`);
    });
}
