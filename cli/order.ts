// Orders are one thing with several actions: sign, hand over, wait, say how it went.
import type { Action } from "@picket/protocol/command";
import type { CommandRecord } from "@picket/protocol/rest";
import { followOrder, sendOrder } from "@picket/tui/client/order";
import { commandView } from "@picket/tui/words";
import type { Command } from "commander";
import { homeOf, siteOf } from "./access.ts";
import { signerOf } from "./console.ts";
import { Failure } from "./failure.ts";
import { printJson, printLine, progress } from "./output.ts";

export type OrderOptions = { readonly json?: boolean; readonly wait: boolean; readonly valid: number };

/** Orders `action` and, unless told not to, waits for the device's answer. Returns the order as it is then. */
export async function sendAndFollow(device: string, action: Action, options: OrderOptions, command: Command): Promise<CommandRecord> {
  const client = siteOf(command);
  using line = progress(process.stderr);
  line.say(`signing the order to ${action.act} ${device}`);
  let last = await sendOrder(client, signerOf(homeOf(command), options.valid), device, action);
  if (!options.wait) return last;
  for await (const step of followOrder(client, last)) {
    last = step.command;
    line.say(commandView(last, step.device, Date.now()).words);
  }
  return last;
}

/** The same, and says how it went. Throws `Failure` when the device refused, rolled back or never fetched it. */
export async function order(device: string, action: Action, options: OrderOptions, command: Command): Promise<void> {
  const last = await sendAndFollow(device, action, options, command);
  const view = commandView(last, undefined, Date.now());
  if (options.json) printJson({ command: last });
  if (view.outcome === "failed") throw failureOf(last);
  if (options.json) return;
  printLine(
    view.outcome === "done" ? `${view.words}.` : `The site has the order for ${device}; see \`picket device ${device}\` for how it goes.`,
  );
}

/** Why an order was not done, and what to do about it. */
export const failureOf = (of: CommandRecord): Failure =>
  new Failure(commandView(of, undefined, Date.now()).words, hints[of.result?.code ?? of.state]);

const hints: Record<string, string> = {
  expired: "The order was not fetched in time. Order again with a longer --valid, or look at the device.",
  "rolled-back":
    "The device found that isolation would cut it off from the site, and took it back. Look at its firewall and route to the site.",
  "unknown-key":
    "The device does not have your key in its key list. Publish the list: `picket operator init` made it, `picket site init` took it.",
  "old-key-list": "The device has a newer key list than the one that names you.",
  "other-site": "Your keys are for another site.",
  replayed: "The device has seen a higher counter of your key. Is a second copy of your keys in use, with a later clock?",
  "not-permitted": "The key list does not let your key order this.",
};
