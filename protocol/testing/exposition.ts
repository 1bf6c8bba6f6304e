// Reads Prometheus text (format 0.0.4) as strictly as promtool checks it, and throws at the first thing it would not take.

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const LABEL = /^[a-zA-Z_][a-zA-Z0-9_]*$/;
const SAMPLE =
  /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (-?[0-9.]+(?:e[+-]?[0-9]+)?|\+Inf|-Inf|NaN)$/;
const PAIR = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"/g;
/** Prometheus' own naming practices: base units only. */
const NOT_BASE = /_(?:milliseconds|ms|minutes|hours|days|kilobytes|kib|mib|megabytes|percent)(?:_|$)/;

export type Read = {
  readonly type: string;
  readonly help: string;
  readonly samples: readonly { readonly name: string; readonly labels: Readonly<Record<string, string>>; readonly value: number }[];
};

export function readExposition(text: string): Map<string, Read> {
  if (!text.endsWith("\n")) throw new Error("the last line does not end");
  const found = new Map<
    string,
    { type: string; help: string; samples: { name: string; labels: Record<string, string>; value: number }[] }
  >();
  const seen = new Set<string>();
  let current = "";
  for (const line of text.slice(0, -1).split("\n")) {
    const [, kind, name = "", rest = ""] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (kind === "HELP") {
      if (!NAME.test(name) || NOT_BASE.test(name) || found.has(name)) throw new Error(`bad or second metric: ${line}`);
      found.set(name, { type: "", help: rest, samples: [] });
      current = name;
    } else if (kind === "TYPE") {
      if (name !== current || !["counter", "gauge", "histogram"].includes(rest)) throw new Error(`bad type: ${line}`);
      if ((rest === "counter") !== name.endsWith("_total")) throw new Error(`only counters end in _total: ${line}`);
      found.get(name)!.type = rest;
    } else found.get(current)?.samples.push(sampleOf(line, current, found.get(current)!.type, seen));
  }
  for (const [name, { type, samples }] of found) if (type === "histogram") checkHistogram(name, samples);
  return found;
}

function sampleOf(line: string, metric: string, type: string, seen: Set<string>) {
  const [, name = "", pairs = "", value = ""] = SAMPLE.exec(line) ?? [];
  if (name === "" || seen.has(`${name}{${pairs}}`)) throw new Error(`bad or second sample: ${line}`);
  seen.add(`${name}{${pairs}}`);
  const names = type === "histogram" ? ["_bucket", "_sum", "_count"].map((end) => metric + end) : [metric];
  if (!names.includes(name)) throw new Error(`a sample of another metric than ${metric}: ${line}`);
  const labels = Object.fromEntries([...pairs.matchAll(PAIR)].map(([, label = "", text = ""]) => [label, unescaped(text)]));
  if (!Object.keys(labels).every((label) => LABEL.test(label))) throw new Error(`bad label: ${line}`);
  const number = Number(value.replace("Inf", "Infinity"));
  if (type === "counter" && !(number >= 0)) throw new Error(`a counter below 0: ${line}`);
  return { name, labels, value: number };
}

const unescaped = (text: string) => text.replace(/\\(.)/g, (_, char: string) => (char === "n" ? "\n" : char));

function checkHistogram(metric: string, samples: Read["samples"]): void {
  const buckets = samples.filter(({ name }) => name === `${metric}_bucket`);
  const bounds = buckets.map(({ labels }) => Number(labels.le?.replace("Inf", "Infinity")));
  const rises = (values: readonly number[]) => values.every((value, at) => at === 0 || value >= values[at - 1]!);
  const count = samples.find(({ name }) => name === `${metric}_count`)?.value;
  if (
    bounds.at(-1) !== Number.POSITIVE_INFINITY ||
    !rises(bounds) ||
    !rises(buckets.map(({ value }) => value)) ||
    buckets.at(-1)?.value !== count
  )
    throw new Error(`${metric}: buckets do not add up`);
}
