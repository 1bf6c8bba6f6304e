// `picket demo attack`: something to see. Harmless, labelled, and undone.
import type { Command } from "commander";
import { untilInterrupted } from "../until.ts";

export function addDemo(program: Command): void {
  const demo = program.command("demo").description("try Picket out");
  demo
    .command("attack")
    .description("run a harmless look-alike of an intrusion on the demo's device, and undo it")
    .addHelpText(
      "after",
      `
It downloads a script from our own web server and runs it, reads /etc/shadow into nothing, adds a cron entry that
holds a comment, and lets a shell call our own listener. Then it deletes what it wrote.
Needs a running demo: sudo ./install.sh --demo`,
    )
    .action(async () => {
      const { demoAttack } = await import("../demo/on-device.ts");
      console.error(`demo: ${await demoAttack((text) => console.error(`demo: ${text}`), untilInterrupted())}`);
    });
}
