// `picket broker`: the site's broker alone, in the foreground. `picket up` supervises it together with the detector.
import type { Command } from "commander";
import { SITE_CONFIG } from "../config.ts";
import { explain } from "../failure.ts";

type Options = { readonly config?: string; readonly dir?: string };

export function addBroker(program: Command): void {
  program
    .command("broker")
    .description("run the site's broker in the foreground")
    .option("--config <file>", "site configuration, TOML; default: /etc/picket/site.toml")
    .option("--dir <dir>", "the site's directory; overrides the file")
    .addHelpText(
      "after",
      "\nLogs are JSON lines on stderr. SIGHUP or a changed file: the configuration is read again.\n\nExamples:\n  picket broker\n  picket broker --config ./.picket/site.toml",
    )
    .action(async (options: Options) => {
      const [{ startBroker }, { readSiteConfig }, { runInForeground }] = await Promise.all([
        import("@picket/broker/main"),
        import("../site-config.ts"),
        import("../foreground.ts"),
      ]);
      const read = () => readSiteConfig(options.config, { broker: { dir: options.dir } }).broker;
      await runInForeground(
        async (check) => {
          const config = read();
          return check ? undefined : startBroker(config);
        },
        (error) => console.error(explain(error).lines.join("\n")),
        options.config ?? SITE_CONFIG,
      );
    });
}
