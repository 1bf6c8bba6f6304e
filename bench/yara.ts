// What one core scans: programs and libraries of this machine, in the detector's own thread, one file after another.
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { createScanner, type ScannerOptions } from "../detector/engines/yara/scanner.ts";
import { openTextRules } from "../detector/engines/yara/texts.ts";
import { type BenchOptions, median, note, percentile, type Result } from "./result.ts";

const FOLDERS = ["/usr/bin", "/usr/sbin", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"];
/** At most so much of each kind is read. Bytes. */
const SAMPLE = 256 << 20;
const LARGE = 1 << 20;
const ROUNDS = 3;
const SMALL_SCANS = 200;
const MB = 1e6;

/** A rule that is meant for command lines. */
const TEXT_RULES = new URL("yara-text.yar", import.meta.url).pathname;

/** Public packs, where the project keeps its data. */
const PUBLIC = new URL("../../shared/data/yara", import.meta.url).pathname;

export default async function* yara({ rules }: BenchOptions): AsyncIterable<Result> {
  const folder = rules ?? (existsSync(PUBLIC) ? PUBLIC : undefined);
  const programs = programsOf(FOLDERS);
  if (programs.length === 0) {
    note(`yara: nothing to scan: there are no ELF files in ${FOLDERS.join(", ")}`);
    return;
  }
  const total = programs.reduce((sum, { length }) => sum + length, 0);
  note(`yara: ${programs.length} ELF files, ${Math.round(total / MB)} MB`);
  yield* measure("", {}, programs);
  yield* soak();
  if (folder === undefined) {
    note("yara: only the shipped rules were measured: name a folder of YARA rules with --rules DIR or PICKET_BENCH_RULES");
    return;
  }
  yield* measure("with_rules_", { packs: [folder] }, programs);
}

async function* measure(prefix: string, options: ScannerOptions, programs: readonly Uint8Array[]): AsyncIterable<Result> {
  const began = performance.now();
  await using scanner = await createScanner(options);
  const compiled = performance.now() - began;
  const small = new Uint8Array(1000);
  await scanner.scan(small);
  const first = performance.now() - began;
  const took = async (bytes: Uint8Array) => {
    const start = performance.now();
    const { error } = await scanner.scan(bytes);
    if (error) throw new Error(`yara: a file was not scanned: ${error}`);
    return performance.now() - start;
  };
  /** MB/s over all files, the middle of some rounds: time on the clock, and CPU time of all threads. */
  const rate = async (files: readonly Uint8Array[]) => {
    const megabytes = files.reduce((sum, { length }) => sum + length, 0) / MB;
    const clock: number[] = [];
    const cpu: number[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const before = process.cpuUsage();
      let ms = 0;
      for (const file of files) ms += await took(file);
      const used = process.cpuUsage(before);
      clock.push(megabytes / (ms / 1000));
      cpu.push(megabytes / ((used.user + used.system) / 1e6));
    }
    return { clock: Math.round(median(clock)), cpu: Math.round(median(cpu)) };
  };

  yield { metric: `${prefix}rules`, value: scanner.rules, unit: "rules" };
  yield { metric: `${prefix}compile_ms`, value: Math.round(compiled), unit: "ms" };
  yield { metric: `${prefix}first_verdict_ms`, value: Math.round(first), unit: "ms" };
  const perScan: number[] = [];
  for (let scan = 0; scan < SMALL_SCANS; scan++) perScan.push(await took(small));
  yield { metric: `${prefix}ms_per_scan_of_1_kb`, value: Number(percentile(perScan, 0.5).toFixed(2)), unit: "ms" };
  const all = await rate(programs);
  yield { metric: `${prefix}mb_per_s`, value: all.clock, unit: "MB/s" };
  yield { metric: `${prefix}mb_per_cpu_s`, value: all.cpu, unit: "MB/s" };
  const large = programs.filter(({ length }) => length >= LARGE);
  if (large.length > 0) yield { metric: `${prefix}mb_per_cpu_s_from_1_mib`, value: (await rate(large)).cpu, unit: "MB/s" };
}

/** Distinct files and command lines, one after another: threads are replaced many times meanwhile. */
const SOAK = 20_000;
const SOAK_LOOKS = 4;

/** What the process holds after each quarter of a soak, garbage collected. Half of what is scanned are files of some kilobytes, half are command lines. */
async function* soak(): AsyncIterable<Result> {
  await using scanner = await createScanner({});
  await using texts = await openTextRules({ packs: [TEXT_RULES], builtin: false, log: () => {} });
  let failed = 0;
  for (let look = 1; look <= SOAK_LOOKS; look++) {
    for (let at = 0; at < SOAK / SOAK_LOOKS / 2; at++) {
      const bytes = crypto.getRandomValues(new Uint8Array(4096));
      if ((await scanner.scan(bytes)).error) failed++;
      await texts?.scan(`sh -c echo ${look} ${at} ${Buffer.from(bytes.subarray(0, 48)).toString("base64")}`);
    }
    Bun.gc(true);
    yield {
      metric: `soak_rss_mib_after_${(SOAK / SOAK_LOOKS) * look}`,
      value: Math.round(process.memoryUsage.rss() / (1 << 20)),
      unit: "MiB",
    };
  }
  yield { metric: "soak_not_scanned", value: failed, unit: "files" };
}

/** ELF files, spread evenly over the folders' listings, none larger than the scanner takes. */
function programsOf(folders: readonly string[]): Uint8Array[] {
  const paths = folders.flatMap((folder) => {
    try {
      return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [join(folder, entry.name)] : []));
    } catch {
      return [];
    }
  });
  const sized = paths.map((path) => ({ path, size: statSync(path).size })).filter(({ size }) => size <= 32 << 20);
  const total = sized.reduce((sum, { size }) => sum + size, 0);
  const step = Math.max(1, Math.ceil(total / SAMPLE));
  return sized
    .filter((_, at) => at % step === 0)
    .map(({ path }) => new Uint8Array(readFileSync(path)))
    .filter((bytes) => bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46);
}
