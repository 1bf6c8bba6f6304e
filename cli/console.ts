import { DEAD_MAN_DEFAULT_MS } from "@picket/protocol/command";
import type { SiteClient } from "@picket/tui/client/client";
import type { Sign } from "@picket/tui/client/order";
import { userName } from "./config.ts";

/** How long an order waits for a device that is away, when nobody says otherwise. Milliseconds. */
export const ORDER_TTL_MS = 24 * 3600_000;

/** Signs with the operator key in `home`. The key is read at each order, so that a console without keys still watches. */
export function signerOf(home: string, ttlMs = ORDER_TTL_MS): Sign {
  return async (device, action) => {
    const [{ loadOperator }, { signCommand }] = await Promise.all([import("./operator/keys.ts"), import("./operator/sign.ts")]);
    const { jws } = await signCommand(await loadOperator(home), { device, action, ttlMs });
    return jws;
  };
}

/** Opens the console in this terminal; resolves when the operator quits or `signal` aborts. `demoAttack` runs on its key and says what it did. */
export async function openConsole(of: {
  home: string;
  client: SiteClient;
  demoAttack?: () => Promise<string>;
  signal?: AbortSignal;
}): Promise<void> {
  const [{ runConsole }, { loadOperator }] = await Promise.all([import("@picket/tui/main"), import("./operator/keys.ts")]);
  const operator = await loadOperator(of.home).catch(() => undefined);
  await runConsole({
    client: of.client,
    sign: signerOf(of.home),
    operator: operator?.name ?? userName(),
    deadManMs: DEAD_MAN_DEFAULT_MS,
    lookAhead: async (draft, how) => (await import("./exception-preview.ts")).previewException(of.client, draft, how),
    ...(of.demoAttack ? { demoAttack: of.demoAttack } : {}),
    ...(of.signal ? { signal: of.signal } : {}),
  });
}
