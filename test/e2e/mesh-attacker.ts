// What a site gone bad does with its real key, from its own namespace: floods, replays, forged origins, oversize, garbage. Ends by itself.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { alertItem, forge, type Impostor, impostor } from "../../broker/mesh/testing/impostor.ts";
import { detectionAt, meshIdentity } from "../../broker/mesh/testing/sites.ts";
import { MAX_ITEMS } from "../../protocol/mesh-limits.ts";

const [dir = "", host = "", target = "", caFile = ""] = process.argv.slice(2);
const own = "site-m";
const who = { ...meshIdentity({ dir }), name: own };
const where = { name: target, host, ca: readFileSync(join(caFile), "utf8"), broker: { mqttPort: 8883 } };
const hops = [own];

/** Runs an attack over a connection of its own; being cut is its normal end. */
async function attack(name: string, run: (as: Impostor) => Promise<void>): Promise<void> {
  try {
    const as = await impostor(where, who);
    await Promise.race([run(as), as.closed, Bun.sleep(4000)]);
    await as.end();
    console.log(`${name}: done`);
  } catch (error) {
    console.log(`${name}: refused (${error instanceof Error ? error.message : error})`);
  }
}

const mine = await Promise.all(
  Array.from({ length: MAX_ITEMS }, () => forge(who, alertItem(own, detectionAt(own, { summary: "ESC \u001b[8m hides" })))),
);
const forged = await Promise.all(
  ["site-a", "site-b", "site-c"].map(async (origin) => ({
    jws: await forge(who, alertItem(origin, detectionAt(origin, { summary: "FORGED", severity: "critical" }))),
    hops: [origin, own],
  })),
);
await attack("flood", async (as) => {
  await as.heard("hello");
  for (let round = 0; round < 20; round++) {
    await as.items(mine.map((jws) => ({ jws, hops })));
    await as.heard("ack");
  }
});
await attack("forged", async (as) => {
  await as.heard("hello");
  for (let round = 0; round < 20; round++) {
    await as.items(forged);
    await as.heard("ack");
  }
});
await attack("oversize", (as) => as.say("x".repeat(8 << 20)));
for (let round = 0; round < 5; round++) await attack("garbage", (as) => as.say("{]"));
process.exit(0);
