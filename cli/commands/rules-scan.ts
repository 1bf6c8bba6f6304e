// `picket rules scan`: which YARA rules a file matches, as the detector would judge it.
import { open } from "node:fs/promises";
import { createScanner, defaultLimits, type Verdict, type YaraMatch } from "@picket/detector/engines/yara/scanner";
import type { Command } from "commander";
import { collect } from "../arguments.ts";
import { plural, printJson, printLine } from "../output.ts";

type Options = { readonly rules?: readonly string[]; readonly builtin: boolean; readonly json?: boolean };

/** Adds `scan` to the command `rules`. It sets `process.exitCode` to 1 when a file or a rule cannot be used. */
export function addScan(rules: Command): void {
  rules
    .command("scan")
    .description("print which YARA rules each file matches; files are only read")
    .argument("<file...>", "files, at most 32 MiB each")
    .option("--rules <path>", "YARA file or folder to add to the shipped rules; may be repeated", collect)
    .option("--no-builtin", "leave the shipped rules out")
    .option("--json", "one JSON object a line: { file, matches, error? }")
    .addHelpText(
      "after",
      "\nExamples:\n  picket rules scan /tmp/suspicious\n  picket rules scan sample --rules my-rules/ --no-builtin --json",
    )
    .action(scan);
}

async function scan(files: readonly string[], options: Options): Promise<void> {
  await using scanner = await createScanner({ packs: options.rules ?? [], builtin: options.builtin });
  for (const { file, line, message } of scanner.problems) complain(`${file}:${line}: error: ${message}`);
  let found = 0;
  for (const file of files) {
    const bytes = await read(file).catch((error: unknown) =>
      complain(`${file}: cannot be read: ${error instanceof Error ? error.message : error}`),
    );
    if (!bytes) continue;
    const verdict = bytes === "too big" ? ({ matches: [], error: "too big" } satisfies Verdict) : await scanner.scan(bytes);
    if (verdict.error) complain(`${file}: not scanned: ${why[verdict.error]}`);
    if (verdict.matches.length > 0) found++;
    if (options.json) printJson({ file, ...verdict });
    else for (const match of verdict.matches) printLine(`${file}: ${sentence(match)}`);
  }
  if (!options.json) console.error(`${found} of ${plural(files.length, "file")} matched; ${plural(scanner.rules, "rule")}`);
}

const why: Record<NonNullable<Verdict["error"]>, string> = {
  timeout: `it took longer than ${defaultLimits.timeoutMs / 1000} s`,
  "too big": `it is larger than ${defaultLimits.maxBytes >> 20} MiB`,
  crashed: "the engine ended at it",
};

/** Looks at the size first: a device node or a disk image must not be read to its end. */
async function read(path: string): Promise<Uint8Array | "too big"> {
  await using file = await open(path);
  const info = await file.stat();
  if (!info.isFile()) throw new Error("not a file");
  return info.size > defaultLimits.maxBytes ? "too big" : file.readFile();
}

function sentence({ rule, meta, strings }: YaraMatch): string {
  const seen = strings.slice(0, 3).map(({ identifier, offsets, excerpt }) => `${identifier} at ${offsets[0]} "${excerpt}"`);
  return `${meta.severity} ${meta.title} (${rule})${seen.length > 0 ? `: ${seen.join(", ")}` : ""}`;
}

function complain(text: string): void {
  console.error(Bun.stripANSI(text).replaceAll(/\p{Control}/gu, "\uFFFD"));
  process.exitCode = 1;
}
