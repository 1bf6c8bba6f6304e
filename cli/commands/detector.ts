// `picket detector`: the site's detector alone, in the foreground. `picket up` supervises it together with the broker.
import type { Command } from "commander";
import { SITE_CONFIG } from "../config.ts";
import { explain } from "../failure.ts";

type Options = { readonly config?: string; readonly dir?: string };

export function addDetector(program: Command): void {
  program
    .command("detector")
    .description("run the site's detector in the foreground")
    .option("--config <file>", "site configuration, TOML; default: /etc/picket/site.toml")
    .option("--dir <dir>", "the site's directory; overrides the file")
    .addHelpText(
      "after",
      "\nLogs are JSON lines on stderr. SIGHUP or a changed configuration file: configuration and rules are read again.\n\nExamples:\n  picket detector\n  picket detector --config ./.picket/site.toml",
    )
    .action(async (options: Options) => {
      const [{ detectorOptions, startDetector }, { jsonLog }, { readSiteConfig }, { runInForeground }] = await Promise.all([
        import("@picket/detector/main"),
        import("@picket/detector/log"),
        import("../site-config.ts"),
        import("../foreground.ts"),
      ]);
      const log = jsonLog((line) => process.stderr.write(line), Date.now);
      const read = () => detectorOptions(readSiteConfig(options.config, { detector: { dir: options.dir } }).detector, log);
      await runInForeground(
        async (check) => {
          const made = await read();
          return check ? undefined : startDetector(made);
        },
        (error) => console.error(explain(error).lines.join("\n")),
        options.config ?? SITE_CONFIG,
      );
    });
}
