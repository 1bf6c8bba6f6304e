// A broker as a process of its own, so that a test can kill -9 it. Prints its ports as one JSON line.
import { BrokerConfig } from "../config.ts";
import { startBroker } from "../main.ts";

const [dir] = process.argv.slice(2);
const broker = await startBroker(BrokerConfig.parse({ dir, host: "127.0.0.1", mqttPort: 0, httpsPort: 0 }), { log: () => {} });
console.log(JSON.stringify({ mqttPort: broker.mqttPort, httpsPort: broker.httpsPort }));
