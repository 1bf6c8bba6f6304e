// `picket release ID`
import type { Command } from "commander";
import { device, durationOption } from "../arguments.ts";
import { ORDER_TTL_MS } from "../console.ts";
import { Failure } from "../failure.ts";
import { type OrderOptions, order } from "../order.ts";

type Options = OrderOptions & { readonly reason: string };

export function addRelease(program: Command): void {
  program
    .command("release")
    .description("give an isolated device its network back")
    .argument("<id>", "the device's name", device)
    .option("--reason <text>", "why; kept with the order", "ordered on the command line")
    .addOption(durationOption("--valid <time>", "how long the order waits for a device that is away", ORDER_TTL_MS))
    .option("--no-wait", "do not wait for the device's answer")
    .option("--json", "one JSON object: { command }, with the device's result")
    .addHelpText("after", "\nExamples:\n  picket release gw-014\n  picket release gw-014 --reason 'cleaned, ticket 4711' --json")
    .action(async (id: string, options: Options, command: Command) => {
      if (options.reason.length > 256) throw new Failure("--reason takes at most 256 characters", undefined, 2);
      await order(id, { act: "release", args: { reason: options.reason } }, options, command);
    });
}
