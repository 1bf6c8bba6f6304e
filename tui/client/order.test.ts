import { afterAll, beforeAll, expect, test } from "vitest";
import { type FakeSite, startFakeSite } from "../testing/fake-site.ts";
import { madeDevice } from "../testing/made-up.ts";
import { commandView } from "../words.ts";
import { createClient } from "./client.ts";
import { followOrder, sendOrder } from "./order.ts";

let site: FakeSite;
beforeAll(async () => {
  site = await startFakeSite();
  site.devices.set("gw-014", madeDevice("gw-014", { presence: "offline", lastSeenMs: 1_700_000_000_000 }));
});
afterAll(() => site.stop());

const sign = async (device: string) => `isolate.${device}`;
const isolate = { act: "isolate", args: { deadManMs: 60_000, reason: "" } } as const;

test("an order is signed, handed over and followed to the device's answer", async () => {
  const client = createClient(site.access);
  const sent = await sendOrder(client, sign, "gw-014", isolate);
  const seen: string[] = [];
  for await (const { command, device } of followOrder(client, sent, { pollMs: 5 })) {
    seen.push(commandView(command, device, 1_700_000_180_000).words);
    const next = {
      ...command,
      state: "answered",
      result: { v: 1, act: "isolate", ok: true, code: "done", message: "", timeMs: 1 },
    } as const;
    if (command.state === "waiting") site.push({ kind: "command", command: { ...command, state: "sent" } });
    else site.push({ kind: "command", command: next });
  }
  expect(site.orders.at(-1)).toEqual({ device: "gw-014", jws: "isolate.gw-014" });
  expect(seen).toEqual([
    "waiting for gw-014 (offline, last seen 3 min ago); it obeys when it is back",
    "gw-014 has the order, waiting for its answer",
    "gw-014 is isolated: only its connection to the site is left",
  ]);
});

test("an order the site forgot is an error", async () => {
  const client = createClient(site.access);
  const sent = await sendOrder(client, sign, "gw-014", isolate);
  site.commands.length = 0;
  await expect(Array.fromAsync(followOrder(client, sent, { pollMs: 5 }))).rejects.toThrow(/no longer knows the order/);
});
