// `bun run eval:rules`: how much of the labelled data the rules see, and how often they are wrong.
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { builtinRules } from "../builtin.ts";
import { compileRules, type Rule } from "../engine.ts";
import { loadRules } from "../load.ts";
import { readAtomic, readLines, readRenumbering, readTrace } from "./data.ts";
import type { Form } from "./forms.ts";
import { headline, type Input, judge, measure } from "./measure.ts";
import { details, summary } from "./report.ts";

const help = `bun run eval:rules [options]: how much of the labelled command lines the rules see, and how often they are wrong

  --data FOLDER     the labelled data (../shared/data)
  --rules PATH      rule file or folder to add; may be repeated
  --no-builtin      leave the shipped rules out
  --trace FILE      program starts of honest work, { argv, exe, parent? } a line, in place of those recorded for this; may be repeated
  --json            everything measured as one JSON object
  --markdown        writes the tables between the marks of docs/detection.md
  --show KIND       prints lines of half A instead: missed, false (with the rules that alert) or dual
  --source NAME     with --show: only of this source
  --form FORM       with --show: device, shell, words or typed

Half B is never shown: rules are written while looking at A, and measured on both.

Examples:
  bun run eval:rules
  bun run eval:rules --no-builtin --rules ../shared/data/sigma-linux/rules
  bun run eval:rules --show missed --source gtfobins`;

/** Program starts of package work, services, builds and scripts, recorded by an agent. */
const traces = ["./trace.ndjson", "../../models/train/cmdline-trace.ndjson"].map((path) => new URL(path, import.meta.url).pathname);

const { values: options } = parseArgs({
  allowNegative: true,
  options: {
    data: { type: "string", default: new URL("../../../shared/data", import.meta.url).pathname },
    rules: { type: "string", multiple: true, default: [] },
    builtin: { type: "boolean", default: true },
    trace: { type: "string", multiple: true, default: traces },
    json: { type: "boolean", default: false },
    markdown: { type: "boolean", default: false },
    show: { type: "string" },
    source: { type: "string" },
    form: { type: "string", default: headline },
    help: { type: "boolean", default: false },
  },
});

if (options.help) console.log(help);
else if (!existsSync(options.data)) fail(`${options.data}: there is no such folder; name it with --data`);
else {
  const loaded = await loadRules(options.rules);
  for (const { file, line, message } of loaded.errors) console.error(`${file}:${line}: ${message}`);
  const rules = [...(options.builtin ? builtinRules() : []), ...loaded.rules];
  const input: Input = {
    lines: readLines(options.data),
    atomic: readAtomic(options.data),
    renumbered: readRenumbering(options.data),
    trace: options.trace.flatMap((path) => readTrace(path)),
  };
  if (options.show !== undefined) show(options.show, input, rules);
  else {
    const measured = measure(compileRules(rules), rules, input);
    if (options.json) console.log(JSON.stringify(measured));
    else console.log(`${summary(measured)}\n\n${details(measured)}`);
    if (options.markdown) await writeDocs(summary(measured));
  }
}

function show(what: string, { lines }: Input, rules: readonly Rule[]): void {
  const matcher = compileRules(rules);
  const wanted = { missed: "overt", dual: "dual_use", false: "benign" }[what];
  if (wanted === undefined) {
    fail("--show takes missed, false or dual");
    return;
  }
  for (const line of lines) {
    const { text, kind, half, source } = line;
    if (half !== "A" || kind !== wanted || (options.source !== undefined && options.source !== source)) continue;
    const verdict = judge(matcher, line, options.form as Form);
    if (verdict.alerts !== (what === "false")) continue;
    const names = verdict.rules.filter((rule) => rule.alerts || what !== "false").map(({ file }) => file.replace(/^builtin\//, ""));
    console.log(JSON.stringify({ source, text, ...(names.length > 0 && { rules: names }) }));
  }
}

async function writeDocs(tables: string): Promise<void> {
  const docs = new URL("../../docs/detection.md", import.meta.url);
  const text = await Bun.file(docs).text();
  const [start, end] = ["<!-- quality -->", "<!-- /quality -->"];
  if (!text.includes(start) || !text.includes(end)) fail(`docs/detection.md has no ${start} ... ${end}`);
  else await Bun.write(docs, `${text.slice(0, text.indexOf(start) + start.length)}\n\n${tables}\n\n${text.slice(text.indexOf(end))}`);
}

function fail(message: string): void {
  console.error(message);
  process.exitCode = 1;
}
