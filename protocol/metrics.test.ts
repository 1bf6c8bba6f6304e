import { expect, test } from "vitest";
import { exposition, Histogram, type Metrics } from "./metrics.ts";
import { readExposition } from "./testing/exposition.ts";

const table = {
  picket_things: { type: "gauge", help: "Things,\nof a \\ kind.", labels: ["name"] },
  picket_done_total: { type: "counter", help: "Done.", labels: [] },
  picket_took_seconds: { type: "histogram", help: "Took.", labels: [] },
} as const satisfies Metrics;

const took = (values: readonly number[]) => {
  const histogram = new Histogram([0.01, 0.1, 1]);
  for (const value of values) histogram.observe(value);
  return histogram.distribution();
};

test("what is written is read again, value by value", () => {
  const text = exposition(table, {
    picket_things: [
      { labels: { name: "a" }, value: 1.5 },
      { labels: { name: "b" }, value: Number.POSITIVE_INFINITY },
    ],
    picket_done_total: 1e21,
    picket_took_seconds: took([0.0078125, 0.0625, 0.5, 7]),
  });
  const read = readExposition(text);
  expect([...read.keys()]).toEqual(Object.keys(table));
  expect(read.get("picket_things")).toMatchObject({ type: "gauge", help: "Things,\\nof a \\\\ kind." });
  expect(read.get("picket_things")!.samples.map(({ labels, value }) => [labels.name, value])).toEqual([
    ["a", 1.5],
    ["b", Number.POSITIVE_INFINITY],
  ]);
  expect(read.get("picket_done_total")!.samples[0]!.value).toBe(1e21);
  const buckets = read.get("picket_took_seconds")!.samples.map(({ name, labels, value }) => [name, labels.le, value]);
  expect(buckets).toEqual([
    ["picket_took_seconds_bucket", "0.01", 1],
    ["picket_took_seconds_bucket", "0.1", 2],
    ["picket_took_seconds_bucket", "1", 3],
    ["picket_took_seconds_bucket", "+Inf", 4],
    ["picket_took_seconds_sum", undefined, 7.5703125],
    ["picket_took_seconds_count", undefined, 4],
  ]);
});

test("a label is anybody's text, and stays one", () => {
  const hostile = 'x"} 1\npicket_done_total 99 \\ \\n';
  const text = exposition(table, {
    picket_things: [{ labels: { name: hostile }, value: 1 }],
    picket_done_total: 0,
    picket_took_seconds: undefined,
  });
  const read = readExposition(text);
  expect(read.get("picket_things")!.samples).toEqual([{ name: "picket_things", labels: { name: hostile }, value: 1 }]);
  expect(read.get("picket_done_total")!.samples[0]!.value).toBe(0);
});

test("what is not known is left out, and what a metric knows none of shows its name only", () => {
  const read = readExposition(exposition(table, { picket_things: [], picket_done_total: undefined, picket_took_seconds: took([]) }));
  expect([...read].map(([name, { samples }]) => [name, samples.length])).toEqual([
    ["picket_things", 0],
    ["picket_took_seconds", 6],
  ]);
});

test.each([
  ["no end", "# HELP a b\n# TYPE a gauge\na 1"],
  ["a counter without _total", "# HELP a b\n# TYPE a counter\na 1\n"],
  ["a gauge with _total", "# HELP a_total b\n# TYPE a_total gauge\na_total 1\n"],
  ["another unit", "# HELP a_ms b\n# TYPE a_ms gauge\na_ms 1\n"],
  ["a sample twice", "# HELP a b\n# TYPE a gauge\na 1\na 2\n"],
  ["an open label", '# HELP a b\n# TYPE a gauge\na{x="1} 1\n'],
  ["buckets that fall", '# HELP a b\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n'],
])("the reader these tests rest on refuses %s", (_, text) => {
  expect(() => readExposition(text)).toThrow();
});
