// `bun run bench NAME [--json] [--scene SCENE] [--minutes N]`: one budget of DESIGN a name. One JSON object a line, so that runs can be compared by tools.
import { parseArgs } from "node:util";
import { undoAtEnd } from "./leftovers.ts";
import type { Bench, Result } from "./result.ts";

const benches: Record<string, () => Promise<{ default: Bench }>> = {
  wire: () => import("./wire.ts"),
  ingest: () => import("./ingest.ts"),
  drain: () => import("./drain.ts"),
  growth: () => import("./growth.ts"),
  detector: () => import("./detector.ts"),
  yara: () => import("./yara.ts"),
  ioc: () => import("./ioc.ts"),
  latency: () => import("./latency.ts"),
  kernel: () => import("./kernel.ts"),
  mesh: () => import("./mesh.ts"),
  model: () => import("./model.ts"),
  buffer: () => import("./buffer.ts"),
};

const { values, positionals } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    rules: { type: "string", default: process.env.PICKET_BENCH_RULES },
    scene: { type: "string" },
    minutes: { type: "string" },
  },
  allowPositionals: true,
});
const minutes = values.minutes === undefined ? undefined : Number(values.minutes);
if (minutes !== undefined && !(minutes > 0 && minutes <= 1440)) {
  console.error("bench: --minutes must be a number above 0, of at most 1440");
  process.exit(2);
}
undoAtEnd();
const names = positionals.length > 0 ? positionals : Object.keys(benches);

for (const name of names) {
  const load = benches[name];
  if (!load) {
    console.error(`bench: there is no ${JSON.stringify(name)}: choose from ${Object.keys(benches).join(", ")}`);
    process.exit(2);
  }
  const { default: run } = await load();
  for await (const result of run({ rules: values.rules, scene: values.scene, minutes })) print({ bench: name, ...result });
}

function print(result: { bench: string } & Result): void {
  if (values.json) {
    console.log(JSON.stringify(result));
    return;
  }
  const ratio = result.ratio === undefined ? "" : `  (${result.ratio.toFixed(2)}x of ${result.peer})`;
  console.log(`${result.bench.padEnd(9)}${result.metric.padEnd(34)}${result.value.toLocaleString("en")} ${result.unit}${ratio}`);
}
