// A device as small as can be, as a process of its own: it connects, beats, and does so again when it is cut. Argument: a file with options as JSON.
import { readFileSync } from "node:fs";
import mqtt from "mqtt";

type Options = {
  readonly url: string;
  readonly keepaliveS: number;
  readonly beatMs: number;
  readonly status: { epoch: string; timeMs: number };
} & {
  readonly client: { clientId: string; ca: string; key: string; cert: string };
  readonly topic: string;
};
const { url, keepaliveS, beatMs, client: identity, topic, status } = JSON.parse(readFileSync(process.argv[2]!, "utf8")) as Options;
const client = mqtt.connect(url, {
  ...identity,
  ...{ protocolVersion: 4, keepalive: keepaliveS, reconnectPeriod: 200, connectTimeout: 1000 },
  will: { topic, payload: Buffer.from(JSON.stringify({ v: 1, state: "offline", epoch: status.epoch })), qos: 1, retain: false },
  // The certificate names the site's host, not the address of a namespace.
  ...({ checkServerIdentity: () => undefined } as object),
});
const beat = () => void (client.connected && client.publish(topic, JSON.stringify({ ...status, timeMs: Date.now() }), { qos: 1 }));
client.on("connect", beat);
client.on("error", () => {});
setInterval(beat, beatMs);
