// `picket tui`: the operator console.
import type { Command } from "commander";
import { homeOf, siteOf } from "../access.ts";
import { openConsole } from "../console.ts";
import { Failure } from "../failure.ts";

export function addTui(program: Command): void {
  program
    .command("tui")
    .description("open the console: watch alerts and devices, isolate and release")
    .addHelpText(
      "after",
      "\nThe keys are shown at the bottom of each screen. q quits.\n\nExamples:\n  picket tui\n  picket --home ./keys tui\n  NO_COLOR=1 picket tui",
    )
    .action(async (_: unknown, command: Command) => {
      const client = siteOf(command);
      if (!process.stdout.isTTY || !process.stdin.isTTY)
        throw new Failure("the console needs a terminal", "Use `picket alerts --follow` or `picket alerts --json` where there is none.");
      await openConsole({ home: homeOf(command), client });
    });
}
