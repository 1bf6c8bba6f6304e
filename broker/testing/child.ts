// A broker as a process of its own, so that a test can kill -9 it. Arguments: the site's directory, and more configuration as JSON. Prints its ports as one JSON line.
import { BrokerConfig } from "../config.ts";
import { startBroker } from "../main.ts";

const [dir, config] = process.argv.slice(2);
const given = config === undefined ? {} : (JSON.parse(config) as object);
const broker = await startBroker(BrokerConfig.parse({ dir, host: "127.0.0.1", mqttPort: 0, httpsPort: 0, ...given }), { log: () => {} });
console.log(JSON.stringify({ mqttPort: broker.mqttPort, httpsPort: broker.httpsPort }));
