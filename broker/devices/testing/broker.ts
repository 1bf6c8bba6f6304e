// A broker in the namespace it is started in, on a clock that each number on standard input moves forward by so many ms. Arguments: the site's directory and an address.
import { BrokerConfig } from "../../config.ts";
import { startBroker } from "../../main.ts";

const [dir, host] = process.argv.slice(2);
let aheadMs = 0;
const broker = await startBroker(BrokerConfig.parse({ dir, host, mqttPort: 0, httpsPort: 0 }), {
  log: () => {},
  nowMs: () => Date.now() + aheadMs,
  sweepMs: 50,
});
console.log(JSON.stringify({ mqttPort: broker.mqttPort }));
for await (const line of console) aheadMs += Number(line);
