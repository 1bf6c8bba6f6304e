import type { Action } from "@picket/protocol/command";
import type { CommandRecord, Device } from "@picket/protocol/rest";
import type { SiteClient } from "./client.ts";
import { SiteError } from "./site-error.ts";

/** Signs an action for a device with the operator's key: compact JWS. */
export type Sign = (device: string, action: Action) => Promise<string>;

export type OrderStep = { readonly command: CommandRecord; readonly device: Device };

/** Signs and hands the command to the site, which keeps it until the device is there. */
export async function sendOrder(client: SiteClient, sign: Sign, device: string, action: Action): Promise<CommandRecord> {
  const jws = await sign(device, action);
  const { command } = await client.call("command", { params: { id: device }, body: { jws } });
  return command;
}

/**
 * How a sent command goes on: one step now and one for each look, until it is answered or expired.
 * A site that is away for a moment is asked again; anything else throws `SiteError`.
 */
export async function* followOrder(
  client: SiteClient,
  sent: CommandRecord,
  options: { pollMs?: number; signal?: AbortSignal } = {},
): AsyncGenerator<OrderStep> {
  const pollMs = options.pollMs ?? 500;
  while (!options.signal?.aborted) {
    const look = await client.call("device", { params: { id: sent.device }, signal: options.signal }).catch((error: unknown) => {
      if (error instanceof SiteError && (error.kind === "unreachable" || error.kind === "timeout")) return undefined;
      throw error;
    });
    const command = look?.commands.find((one) => one.jti === sent.jti);
    if (look && !command)
      throw new SiteError({
        kind: "broken",
        title: "the site no longer knows the order",
        detail: `${sent.act} of ${sent.device}, ${sent.jti}`,
        hint: `See \`picket device ${sent.device}\` for what the device does now.`,
      });
    if (look && command) {
      yield { command, device: look.device };
      if (command.result || command.state === "expired" || command.state === "answered") return;
    }
    await Bun.sleep(pollMs);
  }
}
