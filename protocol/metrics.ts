// Figures for Prometheus: a table of what a program tells, and the text it tells it in (text exposition format 0.0.4).

export const METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** One metric of a table. Its name says its base unit (seconds, bytes, ratio), and a counter's ends in _total. */
export type Metric = {
  readonly type: "counter" | "gauge" | "histogram";
  readonly help: string;
  readonly labels: readonly string[];
};
export type Metrics = Readonly<Record<string, Metric>>;

export type Sample = { readonly labels?: Readonly<Record<string, string>>; readonly value: number };
/** Of a histogram: how many observations were at most `le`, for each bound; all of them; their sum. */
export type Distribution = {
  readonly buckets: readonly (readonly [le: number, count: number])[];
  readonly count: number;
  readonly sum: number;
};

/** A value for each metric of the table; undefined leaves out what is not known now. */
export type Values<T extends Metrics> = {
  readonly [N in keyof T]: T[N]["type"] extends "histogram" ? Distribution | undefined : number | readonly Sample[] | undefined;
};

/** What every program tells of itself, under the names all Prometheus clients use. */
export const processMetrics = {
  process_cpu_seconds_total: { type: "counter", help: "CPU time used, user and system.", labels: [] },
  process_resident_memory_bytes: { type: "gauge", help: "Resident memory.", labels: [] },
  process_start_time_seconds: { type: "gauge", help: "When the process started, Unix time.", labels: [] },
} as const satisfies Metrics;

/** Figures of the process that calls. */
export function processValues(nowMs: number): Values<typeof processMetrics> {
  const { user, system } = process.cpuUsage();
  return {
    process_cpu_seconds_total: (user + system) / 1e6,
    process_resident_memory_bytes: process.memoryUsage.rss(),
    process_start_time_seconds: Math.round(nowMs - process.uptime() * 1000) / 1000,
  };
}

/** The text of all that is known. Text in labels may be anybody's: it is escaped, and cannot end its line. */
export function exposition<T extends Metrics>(table: T, values: Values<T>): string {
  const lines: string[] = [];
  for (const [name, { type, help }] of Object.entries(table)) {
    const value = values[name] as number | readonly Sample[] | Distribution | undefined;
    if (value === undefined) continue;
    lines.push(`# HELP ${name} ${escaped(help)}`, `# TYPE ${name} ${type}`);
    if (typeof value === "number") lines.push(line(name, undefined, value));
    else if ("buckets" in value) lines.push(...distribution(name, value));
    else for (const { labels, value: one } of value) lines.push(line(name, labels, one));
  }
  return `${lines.join("\n")}\n`;
}

function distribution(name: string, { buckets, count, sum }: Distribution): string[] {
  return [
    ...buckets.map(([le, below]) => line(`${name}_bucket`, { le: number(le) }, below)),
    line(`${name}_bucket`, { le: "+Inf" }, count),
    line(`${name}_sum`, undefined, sum),
    line(`${name}_count`, undefined, count),
  ];
}

function line(name: string, labels: Readonly<Record<string, string>> | undefined, value: number): string {
  const pairs = Object.entries(labels ?? {}).map(([label, text]) => `${label}="${escaped(text).replaceAll('"', '\\"')}"`);
  return `${name}${pairs.length > 0 ? `{${pairs.join(",")}}` : ""} ${number(value)}`;
}

const escaped = (text: string) => text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");

function number(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  return Number.isFinite(value) ? String(value) : value > 0 ? "+Inf" : "-Inf";
}

/** Counts observations by size. `bounds`: ascending, in the metric's unit. */
export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: number[];
  #sum = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Array<number>(bounds.length + 1).fill(0);
  }

  observe(value: number): void {
    const found = this.#bounds.findIndex((bound) => value <= bound);
    const at = found === -1 ? this.#bounds.length : found;
    this.#counts[at] = this.#counts[at]! + 1;
    this.#sum += value;
  }

  distribution(): Distribution {
    let count = 0;
    const buckets = this.#bounds.map((bound, at): [number, number] => {
      count += this.#counts[at]!;
      return [bound, count];
    });
    return { buckets, count: count + this.#counts.at(-1)!, sum: this.#sum };
  }
}
