// `picket site init|show`
import { X509Certificate } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { Command } from "commander";
import { homeOf } from "../access.ts";
import { collect, whole } from "../arguments.ts";
import { Failure } from "../failure.ts";
import { printJson, printLine } from "../output.ts";

const DIR = "/var/lib/picket/site";

type InitOptions = {
  readonly site: string;
  readonly host: readonly string[];
  readonly operator?: string;
  readonly name: string;
  readonly dir: string;
  readonly port: number;
  readonly out?: string;
  readonly json?: boolean;
};

export function addSite(program: Command): void {
  const site = program.command("site").description("the site on this host");
  site
    .command("init")
    .description("make the site's CA, its certificates, its database and the first API credential")
    .requiredOption("--site <name>", "the site's name, as in `picket operator init`")
    .requiredOption("--host <host>", "name or address devices reach the site by; may be repeated, the first is told to devices", collect)
    .option("--operator <file>", "public.json of the operators (default: the one in the operator's home)")
    .option("--name <name>", "whom the API credential is for", "operator")
    .option("--dir <dir>", "where the site lives", DIR)
    .option("--port <n>", "HTTPS port, for the operator's site.json", whole(1, 65_535), 8443)
    .option(
      "--out <file>",
      "where to write the operator's site.json (default: the operator's home if its keys are there, else ./site.json)",
    )
    .option("--json", "one JSON object: { site, dir, access, anchor }")
    .addHelpText(
      "after",
      "\nThe site.json written here holds the API token: give it to the operator, it is kept nowhere else.\n\nExamples:\n  picket site init --site plant-7 --host site.plant-7.example --operator public.json\n  picket site init --site lab --host 192.0.2.10 --host lab.example",
    )
    .action(init);
  site
    .command("show")
    .description("show the site on this host and the configuration that would be used")
    .option("--config <file>", "site configuration, TOML; default: /etc/picket/site.toml")
    .option("--json", "one JSON object: { site, hosts, dir, ca, caExpires, certificateExpires, config }")
    .addHelpText("after", "\nExamples:\n  picket site show\n  picket site show --config ./.picket/site.toml --json")
    .action(show);
}

async function init(options: InitOptions, command: Command): Promise<void> {
  const home = homeOf(command);
  const publicFile = options.operator ? resolve(options.operator) : join(home, "public.json");
  const out = options.out ? resolve(options.out) : existsSync(join(home, "operator.jwk")) ? join(home, "site.json") : resolve("site.json");
  if (existsSync(out))
    throw new Failure(`${out} exists already`, "Name another place with --out, or move it away: it may be the only key to another site.");
  const [{ initSite }, { PublicFile }] = await Promise.all([import("@picket/broker/site"), import("../operator/keys.ts")]);
  const operator = PublicFile.safeParse(readJson(publicFile));
  if (!operator.success)
    throw new Failure(`${publicFile} is no public.json of operators`, "`picket operator init` writes it; copy it again.");
  const { site, host: hosts, dir, name } = options;
  const made = await initSite({ dir: resolve(dir), site, hosts, operator: operator.data, operatorName: name });
  const first = hosts[0]!;
  const url = `https://${first.includes(":") ? `[${first}]` : first}:${options.port}`;
  writeFileSync(out, `${JSON.stringify({ url, ca: made.ca, token: made.token, site }, null, 2)}\n`, { mode: 0o600, flag: "wx" });
  if (options.json) return printJson({ site, dir: resolve(dir), access: out, anchor: made.anchor });
  printLine(`The site ${site} is in ${resolve(dir)}.`);
  printLine(`${out} lets an operator in (it holds the only copy of the API token): put it into the operator's home.`);
  printLine("Next: picket up, then picket token create --out TOKEN for the first device.");
}

function readJson(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw new Failure(
      `${file} cannot be read: ${(error as Error).message}`,
      "Make operator keys with `picket operator init`, and name their public.json with --operator.",
    );
  }
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function show(options: { config?: string; json?: boolean }): Promise<void> {
  const [{ readSiteConfig, SiteConfig }, { printConfig }] = await Promise.all([
    import("../site-config.ts"),
    import("@picket/protocol/config"),
  ]);
  const config = readSiteConfig(options.config);
  const { dir } = config.broker;
  const path = join(dir, "site.json");
  if (!existsSync(path))
    throw new Failure(`${dir} holds no site`, "Make one with `picket site init`, or name its configuration with --config.");
  const file = readJson(path) as { site?: unknown; hosts?: unknown } | undefined;
  if (!file) throw new Failure(`${path} is damaged`, "Restore the site's directory from its backup.");
  const ca = new X509Certificate(readFileSync(join(dir, "ca.crt.pem")));
  const broker = new X509Certificate(readFileSync(join(dir, "broker.crt.pem")));
  const hash = new Bun.CryptoHasher("sha256").update(ca.publicKey.export({ type: "spki", format: "der" })).digest("base64url");
  // Secrets of sinks are for the receiver only.
  const shown = { ...config, broker: { ...config.broker, sinks: config.broker.sinks.map((sink) => ({ ...sink, secret: "(not shown)" })) } };
  const facts = { site: file.site, hosts: file.hosts, dir, ca: hash, caExpires: ca.validTo, certificateExpires: broker.validTo };
  if (options.json) return printJson({ ...facts, config: shown });
  printLine(`site ${String(file.site)} in ${dir}`);
  printLine(`  hosts        ${String(file.hosts)}`);
  printLine(`  CA           SHA-256 of its key ${hash}, until ${ca.validTo}`);
  printLine(`  certificate  of the broker, until ${broker.validTo}`);
  for (const line of printConfig(SiteConfig, shown).split("\n")) printLine(line);
}
