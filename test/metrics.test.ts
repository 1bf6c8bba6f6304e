// docs/metrics.md against what the programs really tell. That they print all of their tables is tested where the tables are.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { agentMetrics } from "../agent/status-page/metrics.ts";
import { brokerMetrics } from "../broker/api/metrics.ts";
import { detectorMetrics } from "../detector/status-page.ts";
import type { Metrics } from "../protocol/metrics.ts";

const all: Metrics = { ...agentMetrics, ...brokerMetrics, ...detectorMetrics };
const page = readFileSync(new URL("../docs/metrics.md", import.meta.url), "utf8");
const rows = [...page.matchAll(/^\| `([a-z_]+)` \| (\w+) \| (.*?) ?\| (.+) \|$/gm)].map(
  ([, name = "", type, labels = "", meaning = ""]) => ({
    name,
    type,
    labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label),
    meaning,
  }),
);

test("each metric has its row, with its type and labels, and no row is of a metric that is gone", () => {
  expect(rows.map(({ name, type, labels }) => ({ name, type, labels })).toSorted((a, b) => (a.name < b.name ? -1 : 1))).toEqual(
    Object.entries(all)
      .map(([name, { type, labels }]) => ({ name, type, labels }))
      .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
  );
  for (const { name, meaning } of rows) expect(meaning.length, name).toBeGreaterThan(10);
});

test("whatever the page names in its examples exists", () => {
  for (const [name] of page.matchAll(/\bpicket_[a-z_]+/g)) expect(Object.keys(all)).toContain(name);
});

test("agent, broker and detector tell different things under different names", () => {
  const own = [agentMetrics, brokerMetrics, detectorMetrics].map((table) =>
    Object.keys(table).filter((name) => name.startsWith("picket_")),
  );
  // The site's and the detector's own view of its lag, of one thing, are told apart.
  const names = own.flat();
  expect(names.filter((name, at) => names.indexOf(name) !== at)).toEqual([]);
});
