// `picket ioc import|list|show|remove|stats`
import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import type { IocMet, IocShown, IocSource } from "@picket/protocol/ioc";
import type { SiteClient } from "@picket/tui/client/client";
import { agoWords, dateWords } from "@picket/tui/words";
import { type Command, Option } from "commander";
import { siteOf } from "../access.ts";
import { duration, since, whole } from "../arguments.ts";
import { Failure } from "../failure.ts";
import { type Problem, upload } from "../ioc/import.ts";
import { type Format, formats, MAX_FILE_BYTES, readList } from "../ioc/read.ts";
import { followSearch } from "../ioc/search.ts";
import { plural, printJson, printLine, printTable, progress } from "../output.ts";

type Json = { readonly json?: boolean };
/** Lines that cannot be used are printed as far as this, and counted. */
const MAX_PRINTED = 20;

export function addIoc(program: Command): void {
  const ioc = program
    .command("ioc")
    .description("lists of indicators: hashes, addresses, domains, URLs and paths that somebody knows to be bad");
  addImport(ioc);
  addList(ioc);
  addShow(ioc);
  addRemove(ioc);
  addStats(ioc);
}

type ImportOptions = Json & {
  readonly source?: string;
  readonly format: Format;
  readonly confidence: number;
  readonly expires?: number;
  readonly dryRun?: boolean;
  readonly wait: boolean;
};

function addImport(ioc: Command): void {
  ioc
    .command("import")
    .description("put a list in force, in place of the one of the same name; the stored log is searched for what is new in it")
    .argument("<file>", "text, CSV, STIX 2.1 or MISP JSON; - reads standard input")
    .option("--source <name>", "what the list is called in alerts (default: the file's name)")
    .addOption(new Option("--format <format>", "what the file is").choices(formats).default("auto"))
    .addOption(
      new Option("--confidence <n>", "0-100, for what says none itself: severity follows from it").argParser(whole(0, 100)).default(50),
    )
    .option("--expires <time>", "for what says no time itself: it is not matched any more after so long (30d)", duration)
    .option("--dry-run", "only read the file and say what cannot be used")
    .option("--no-wait", "do not wait until the stored log was searched")
    .option("--json", "one JSON object: { source, read, duplicates, refused: [{ at, why }] }")
    .addHelpText(
      "after",
      "\nThe list is replaced whole or not at all. A line that cannot be used is named and stops no other.\nCtrl-C while the log is searched leaves the list in force and the search going on.\n\nExamples:\n  picket ioc import blocklist.txt --source feed-a --confidence 80 --expires 30d\n  picket ioc import bundle.json --dry-run\n  curl -s https://feed.example/list.csv | picket ioc import - --source feed-b",
    )
    .action(async (file: string, options: ImportOptions, command: Command) => {
      const list = read(file, options.format);
      const problems: Problem[] = [];
      if (options.dryRun) return printRead(file, options, dryRun(list.rows, problems), problems);
      const site = siteOf(command);
      using line = progress(process.stderr);
      let toldMs = performance.now();
      const tell = (read: number) => {
        // Elsewhere than on a terminal each time is a line.
        if (performance.now() - toldMs < (process.stderr.isTTY ? 200 : 5000)) return;
        toldMs = performance.now();
        line.say(`${read} indicators of ${file}`);
      };
      const done = await upload(site, list.rows, {
        source: options.source ?? nameOf(file),
        format: list.format,
        confidence: options.confidence,
        expiresMs: options.expires === undefined ? undefined : Date.now() + options.expires,
        problem: (one) => void problems.push(one),
        told: tell,
      });
      line[Symbol.dispose]();
      printRead(file, options, done, problems, done.source);
      if (options.wait && !options.json) await followSearch(site, done.source);
    });
}

function read(file: string, format: Format): ReturnType<typeof readList> {
  try {
    if (file !== "-" && statSync(file).size > MAX_FILE_BYTES) throw new Error(`it is larger than ${MAX_FILE_BYTES >> 20} MiB: split it`);
    return readList(readFileSync(file === "-" ? 0 : file), format);
  } catch (error) {
    throw new Failure(
      `${file}: ${(error as Error).message}`,
      "A list is text (one a line), CSV, a STIX 2.1 bundle or MISP JSON; --format says which.",
    );
  }
}

const nameOf = (file: string): string => {
  const name = basename(file === "-" ? "stdin" : file)
    .replace(/\.(txt|csv|json|list|ioc|netset|ipset)$/i, "")
    .replaceAll(/[^A-Za-z0-9._-]+/g, "-")
    .replaceAll(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, "")
    .slice(0, 64);
  return name.length < 2 ? `list-${name}` : name;
};

function dryRun(rows: ReturnType<typeof readList>["rows"], problems: Problem[]): { read: number; duplicates: number } {
  const seen = new Set<string>();
  let read = 0;
  for (const one of rows) {
    if ("why" in one) problems.push(one);
    else {
      read++;
      seen.add(`${one.row.kind} ${one.row.value}`);
    }
  }
  return { read, duplicates: read - seen.size };
}

function printRead(
  file: string,
  options: ImportOptions,
  { read, duplicates }: { read: number; duplicates: number },
  problems: readonly Problem[],
  source?: IocSource,
): void {
  if (options.json) {
    printJson({ ...(source ? { source } : {}), read, duplicates, refused: problems });
    return;
  }
  for (const { at, why } of problems.slice(0, MAX_PRINTED)) console.error(`${file}: ${at}: ${why}`.replaceAll(/\p{Control}/gu, " "));
  if (problems.length > MAX_PRINTED) console.error(`${problems.length - MAX_PRINTED} more cannot be used (--json names them all)`);
  const twice = duplicates > 0 ? `, ${duplicates} of them twice` : "";
  const left = problems.length > 0 ? `; ${plural(problems.length, "thing")} cannot be used` : "";
  if (!source) printLine(`${plural(read, "indicator")}${twice}${left}. Nothing was imported.`);
  else printLine(`"${source.source}" is in force: ${plural(source.indicators, "indicator")} (${kindWords(source)})${twice}${left}.`);
}

const kindWords = ({ byKind }: Pick<IocSource, "byKind">): string =>
  Object.entries(byKind)
    .map(([kind, count]) => `${count} ${kind}`)
    .join(", ");

function addList(ioc: Command): void {
  ioc
    .command("list")
    .description("show the lists in force, what devices met of them, and how far the stored log was searched")
    .option("--json", "one JSON object: { sources, indicators, most }")
    .addHelpText("after", "\nLists called mesh:SITE are what other sites share.\n\nExamples:\n  picket ioc list\n  picket ioc list --json")
    .action(async ({ json }: Json, command: Command) => {
      const all = await siteOf(command).call("iocs");
      if (json) return printJson(all);
      if (all.sources.length === 0) return printLine("No list. `picket ioc import FILE` puts one in force.");
      const nowMs = Date.now();
      printTable(
        ["list", "indicators", "imported", "expires", "met", "on devices", "in force", "log searched", "last failure"],
        all.sources.map((one) => row(one, nowMs)),
      );
    });
}

const row = (of: IocSource, nowMs: number): string[] => [
  of.trust === undefined ? of.source : `${of.source} (${of.trust})`,
  String(of.indicators),
  agoWords(of.importedMs, nowMs),
  of.expiresMs === undefined ? "never" : of.expiresMs <= nowMs ? "EXPIRED" : dateWords(of.expiresMs),
  String(of.met.indicators),
  String(of.met.devices),
  of.active ? "yes" : "not yet",
  searchWords(of),
  of.failure ? `${agoWords(of.failure.atMs, nowMs)}: ${of.failure.why}` : "-",
];

function searchWords({ past }: IocSource): string {
  if (!past) return "-";
  if (past.state !== "reading") return past.state;
  return `${Math.floor((past.read / Math.max(1, past.events)) * 100)} %`;
}

function addShow(ioc: Command): void {
  ioc
    .command("show")
    .description("show the indicators of a list; or which lists hold a value, and which devices met it")
    .argument("<what>", "the name of a list, or an address, domain, URL, hash or path")
    .option("--json", "one indicator a line (NDJSON); of a value, one JSON object: { found, met }")
    .addHelpText(
      "after",
      "\nExamples:\n  picket ioc show feed-a --json > feed-a.ndjson\n  picket ioc show 203.0.113.9\n  picket ioc show hxxp://evil.example/x",
    )
    .action(async (what: string, { json }: Json, command: Command) => {
      const site = siteOf(command);
      const { sources } = await site.call("iocs");
      if (sources.some(({ source }) => source === what)) return showList(site, what, json ?? false);
      const { found, met } = await site.call("iocFind", { query: { value: what.replace(/^hxxp/i, "http").replaceAll("[.]", ".") } });
      if (json) return printJson({ found, met });
      if (found.length === 0) printLine(`No list holds ${what}.`);
      for (const one of found) printLine(shownWords(one));
      printMet(met);
    });
}

async function showList(site: SiteClient, source: string, json: boolean): Promise<void> {
  for (let after: number | undefined = 0; after !== undefined; ) {
    const page: { indicators: IocShown[]; after?: number | undefined } = await site.call("iocRowsOf", {
      params: { source },
      query: { after },
    });
    for (const one of page.indicators) json ? printJson(one) : printLine(shownWords(one));
    after = page.after;
  }
}

const shownWords = ({ source, kind, value, confidence, expiresMs, label, tags }: IocShown): string =>
  [
    `${kind}  ${value}  ${source}  confidence ${confidence}`,
    expiresMs === undefined ? "" : `until ${dateWords(expiresMs)}`,
    label,
    tags.length > 0 && tags.join(", ") !== label ? `[${tags.join(", ")}]` : "",
  ]
    .filter((part) => part !== "")
    .join("  ");

function printMet(met: readonly IocMet[]): void {
  if (met.length === 0) return;
  printTable(
    ["device", "indicator", "list", "first", "last", "alert"],
    met.map((one) => [one.device, `${one.kind} ${one.value}`, one.source, dateWords(one.firstMs), dateWords(one.lastMs), one.alert]),
  );
}

function addRemove(ioc: Command): void {
  ioc
    .command("remove")
    .description("take a list out of force: nothing is matched with it from then on; its alerts stay")
    .argument("<name>", "as in `picket ioc list`")
    .option("--json", "one JSON object: { removed }")
    .addHelpText("after", "\nExample:\n  picket ioc remove feed-a")
    .action(async (source: string, { json }: Json, command: Command) => {
      const done = await siteOf(command).call("iocRemove", { params: { source } });
      if (json) printJson(done);
      else printLine(`Removed ${done.removed}.`);
    });
}

function addStats(ioc: Command): void {
  ioc
    .command("stats")
    .description("what the lists amount to, and what devices met of them")
    .option("--source <name>", "only of this list")
    .option("--since <time>", "what was met since then: 24h, 7d, or a date (default: 7d)", since)
    .option("--json", "one JSON object: { indicators, most, byKind, met }")
    .addHelpText("after", "\nExamples:\n  picket ioc stats\n  picket ioc stats --source feed-a --since 30d")
    .action(async (options: Json & { source?: string; since?: number }, command: Command) => {
      const site = siteOf(command);
      const { sources, indicators, most } = await site.call("iocs");
      const sinceMs = options.since ?? Date.now() - 7 * 86_400_000;
      const { met } = await site.call("iocMet", { query: { sinceMs, limit: 1000, ...(options.source ? { source: options.source } : {}) } });
      const byKind: Record<string, number> = {};
      for (const one of sources) for (const [kind, count] of Object.entries(one.byKind)) byKind[kind] = (byKind[kind] ?? 0) + count;
      if (options.json) return printJson({ indicators, most, byKind, met });
      printLine(
        `${plural(indicators, "indicator")} of at most ${most} in ${plural(sources.length, "list")}: ${kindWords({ byKind }) || "none"}`,
      );
      if (met.length === 0) return printLine(`No device met any since ${dateWords(sinceMs)}.`);
      printMet(met);
    });
}
