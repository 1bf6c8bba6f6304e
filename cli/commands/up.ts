// `picket up`: broker and detector as two supervised processes; with --demo also keys, a device in its own namespace, and the console.
import type { Command } from "commander";

export function addUp(program: Command): void {
  program
    .command("up")
    .description("run a site: broker and detector, each restarted when it ends")
    .option("--demo", "make keys and a site under ./.picket, run a device in a network namespace, open the console")
    .option("--headless", "with --demo: no console, log in the foreground")
    .option("--config <file>", "site configuration, TOML; default: /etc/picket/site.toml")
    .addHelpText("after", "\nExamples:\n  picket up --config /etc/picket/site.toml\n  sudo picket up --demo")
    .action(async (options: { demo?: boolean; headless?: boolean; config?: string }) => {
      if (options.demo) {
        const { runDemo } = await import("../demo/run.ts");
        process.exitCode = await runDemo({ headless: options.headless ?? !process.stdout.isTTY });
        return;
      }
      const { runSite } = await import("../site-processes.ts");
      process.exitCode = await runSite(options.config);
    });
}
