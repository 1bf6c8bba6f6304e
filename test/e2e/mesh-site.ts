// A site's broker as a process of its own in a network namespace. Obeys one JSON line after another: an API call, or alerts to raise as the detector would.
import { createInterface } from "node:readline";
import { BrokerConfig } from "../../broker/config.ts";
import { startBroker } from "../../broker/main.ts";
import { commitAlerts } from "../../broker/mesh/testing/sites.ts";
import { callApi } from "../../broker/testing/site.ts";
import type { Order } from "./mesh-ring.ts";

const [dir = "", site = "", ca = "", token = ""] = process.argv.slice(2);
const broker = await startBroker(BrokerConfig.parse({ dir, host: "0.0.0.0" }), { log: () => {} });
console.log(JSON.stringify({ ready: true }));
for await (const line of createInterface({ input: process.stdin })) {
  const order: Order = JSON.parse(line);
  // Several at once: one that hangs must not hold up the others.
  void obey(order).then(
    (answer) => console.log(JSON.stringify({ id: order.id, answer })),
    (error: unknown) => console.log(JSON.stringify({ id: order.id, error: String(error) })),
  );
}
await broker[Symbol.asyncDispose]();

async function obey(order: Order): Promise<unknown> {
  if ("raise" in order) return commitAlerts({ dir, site, ca, port: broker.mqttPort }, order.raise);
  const { status, json } = await callApi({ port: broker.httpsPort, ca, token }, order.method, order.path, order.body);
  if (status !== 200) throw new Error(`${site} ${order.method} ${order.path}: ${JSON.stringify(json)}`);
  return json;
}
