// `picket isolate ID`
import { DEAD_MAN_DEFAULT_MS } from "@picket/protocol/command";
import { presenceWords, spanWords } from "@picket/tui/words";
import type { Command } from "commander";
import { siteOf } from "../access.ts";
import { device, durationOption } from "../arguments.ts";
import { confirmName } from "../confirm.ts";
import { ORDER_TTL_MS } from "../console.ts";
import { Failure } from "../failure.ts";
import { type OrderOptions, order } from "../order.ts";

type Options = OrderOptions & { readonly deadMan: number; readonly reason: string; readonly yes?: boolean };

export function addIsolate(program: Command): void {
  program
    .command("isolate")
    .description("cut a device off from everything but the site, also sessions that are open now")
    .argument("<id>", "the device's name", device)
    .addOption(
      durationOption("--dead-man <time>", "release by itself when the site was unreachable for this long (1m to 30d)", DEAD_MAN_DEFAULT_MS),
    )
    .option("--reason <text>", "why; kept with the order and on the device", "ordered on the command line")
    .addOption(durationOption("--valid <time>", "how long the order waits for a device that is away", ORDER_TTL_MS))
    .option("--no-wait", "do not wait for the device's answer")
    .option("--yes", "do not ask for the device's name; required without a terminal")
    .option("--json", "one JSON object: { command }, with the device's result")
    .addHelpText(
      "after",
      "\nExits 0 when the device says it is isolated, 1 when it refused or rolled back.\n\nExamples:\n  picket isolate gw-014\n  picket isolate gw-014 --dead-man 4h --reason 'reverse shell, ticket 4711'\n  picket isolate gw-014 --yes --json",
    )
    .action(async (id: string, options: Options, command: Command) => {
      if (options.deadMan < 60_000 || options.deadMan > 30 * 86_400_000) throw new Failure("--dead-man takes 1m to 30d", undefined, 2);
      if (options.reason.length > 256) throw new Failure("--reason takes at most 256 characters", undefined, 2);
      if (!options.yes)
        await confirmName(id, async () => {
          const { device } = await siteOf(command).call("device", { params: { id } });
          const presence = device.presence === "online" ? "" : ` (${presenceWords(device, Date.now())}: it obeys when it is back)`;
          return `cut ${id} off from everything but the site${presence}; it lets itself go after ${spanWords(options.deadMan)} without the site`;
        });
      await order(id, { act: "isolate", args: { deadManMs: options.deadMan, reason: options.reason } }, options, command);
    });
}
