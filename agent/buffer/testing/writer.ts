// Run as a child that is killed with SIGKILL while it writes. Prints the number of each event after the call that made it durable returned.
import { EventBuffer } from "../buffer.ts";
import { boot, hit, plain } from "./events.ts";

const [path = "", epoch = ""] = process.argv.slice(2);
const buffer = new EventBuffer({ path, maxEvents: 1e6, maxBytes: 1e9, epoch: { epoch, boot, device: "pi" } });
for (let seq = 0; ; seq++) {
  buffer.append(seq % 7 === 0 ? hit(epoch, seq) : plain(epoch, seq));
  if (seq % 3 === 0) buffer.flush();
  if (seq % 50 === 20) {
    const lease = buffer.lease({ events: 10, bytes: 1e6 });
    if (lease && seq % 100 === 20) buffer.ack(lease);
    if (lease && seq % 100 === 20) process.stdout.write(`acked ${lease.epoch} ${lease.events.map((event) => event.seq).join(",")}\n`);
  }
  if (seq % 3 === 0) process.stdout.write(`durable ${seq}\n`);
  if (seq % 30 === 0) await Bun.sleep(0);
}
