// Run as a child that is killed with SIGKILL while it writes. Prints the number of each event once it may have been seen by others, and those it had acknowledged.
import { EventBuffer } from "../buffer.ts";
import { boot, hit, plain } from "./events.ts";

const [path = "", epoch = "", mirror = ""] = process.argv.slice(2);
const buffer = new EventBuffer({ path, mirror, maxEvents: 1e6, maxBytes: 1e9, epoch: { epoch, boot, device: "pi" } });
for (let seq = 0; ; seq++) {
  buffer.append(seq % 7 === 0 ? hit(epoch, seq) : plain(epoch, seq));
  if (seq % 90 === 0) buffer.flush();
  if (seq % 50 === 20) {
    // Also by turns: what is acknowledged is in memory one time, in the file the other.
    const lease = buffer.lease({ events: 10, bytes: 1e6 });
    const acks = lease !== undefined && seq % 100 === 20;
    // Before the call: a kill between the two must not make it look lost.
    if (acks) process.stdout.write(`acked ${lease.epoch} ${lease.events.map((event) => event.seq).join(",")}\n`);
    if (acks) buffer.ack(lease);
  }
  if (seq % 3 === 0) {
    await Promise.resolve();
    process.stdout.write(`durable ${seq}\n`);
  }
  if (seq % 30 === 0) await Bun.sleep(0);
}
