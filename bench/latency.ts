// From a program's start on a device to its alert on the site's disk: real agent, broker and detector, mTLS over loopback. Needs root.
// The clock starts just before the program is started, and stops when the alert's transaction shows to another reader of the
// broker's database, which looks every millisecond: SQLite lets a commit be seen only after the fsync of its log (WAL, synchronous=FULL).
import { chmodSync, copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Store } from "../broker/store/database.ts";
import { openStore } from "../broker/store/schema.ts";
import { settledRssBytes } from "./program.ts";
import { note, percentile, type Result } from "./result.ts";
import { createSite } from "./site.ts";

const SAMPLES = 250;
/** Not counted: code is compiled, caches fill. */
const WARM_UP = 20;
const PATIENCE_MS = 10_000;
/** Between samples, so that they do not fall in step with anybody's timer. */
const PAUSE_MS = 60;

/** Known to the site only, so that the device sends its event like any other. */
const SITE_RULE = `title: Program of the latency benchmark
id: 6f1d5c52-7d0b-4a55-9d1c-0a4a4f6f8b10
status: test
logsource:
  product: linux
  category: process_creation
detection:
  selection:
    Image|contains: /picket-bench-
  condition: selection
level: high
`;

export default async function* latency(): AsyncIterable<Result> {
  if (process.getuid?.() !== 0) {
    note("latency: needs root, as the agent does: nothing was measured");
    return;
  }
  using site = await createSite();
  const rule = join(site.root, "latency.yml");
  writeFileSync(rule, SITE_RULE);
  // A program in a hidden folder below /tmp is a local hit by a shipped rule; one below /var/lib is not.
  using local = programIn(join(site.root, ".local"));
  using decided = programIn(mkdtempSync("/var/lib/picket-bench-"));
  await using broker = await site.startBroker();
  await using detector = await site.startDetector(broker, [rule]);
  await using agent = await site.startAgent(broker, "bench-device");
  using store = openStore(join(site.dir, "site.db"));

  const kinds = { local: { program: local.path, ms: [] as number[] }, site: { program: decided.path, ms: [] as number[] } };
  for (let run = 1; run <= WARM_UP + SAMPLES; run++) {
    for (const { program, ms } of Object.values(kinds)) {
      const taken = await msUntilStored(store, program, run);
      if (run > WARM_UP) ms.push(taken);
      await Bun.sleep(Math.random() * PAUSE_MS);
    }
  }
  for (const [kind, { ms }] of Object.entries(kinds)) {
    for (const share of [50, 99] as const) yield { metric: `${kind}_p${share}_ms`, value: round1(percentile(ms, share / 100)), unit: "ms" };
    yield { metric: `${kind}_max_ms`, value: round1(Math.max(...ms)), unit: "ms" };
    yield { metric: `${kind}_samples`, value: ms.length, unit: "samples" };
  }
  for (const [name, { pid }] of Object.entries({ agent, broker, detector }))
    yield { metric: `${name}_rss_mb`, value: round1((await settledRssBytes(pid)) / 2 ** 20), unit: "MB" };
}

/** Starts `program` for the `run`th time and waits until the alert about it counts that many. */
async function msUntilStored(store: Store, program: string, run: number): Promise<number> {
  const version = store.db.query<{ data_version: number }, []>("PRAGMA data_version");
  const counted = store.db.query<{ n: number | null }, [string]>(
    "SELECT SUM(json_extract(detection, '$.count')) AS n FROM alerts WHERE engine = 'sigma' AND json_extract(detection, '$.process.exe') = ?",
  );
  let seen = version.get()!.data_version;
  const began = performance.now();
  const child = Bun.spawn([program], { stdin: "ignore", stdout: "ignore", stderr: "ignore" });
  for (;;) {
    await Bun.sleep(1);
    const now = version.get()!.data_version;
    if (now !== seen && (counted.get(program)!.n ?? 0) >= run) break;
    seen = now;
    if (performance.now() - began > PATIENCE_MS)
      throw new Error(`latency: run ${run} of ${program} is in no alert after ${PATIENCE_MS / 1000} s`);
  }
  const ms = performance.now() - began;
  await child.exited;
  return ms;
}

/** A program that does nothing, in a folder of its own. Disposing removes both. */
function programIn(folder: string): Disposable & { readonly path: string } {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "program");
  copyFileSync("/bin/true", path);
  chmodSync(path, 0o755);
  return { path, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

const round1 = (ms: number) => Number(ms.toFixed(1));
