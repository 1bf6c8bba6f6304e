// `picket sink list|test`
import { agoWords } from "@picket/tui/words";
import type { Command } from "commander";
import { siteOf } from "../access.ts";
import { Failure } from "../failure.ts";
import { printJson, printLine, printTable } from "../output.ts";

export function addSink(program: Command): void {
  const sink = program.command("sink").description("where alerts leave the site");
  sink
    .command("list")
    .description("show each sink and how delivery goes")
    .option("--json", "one JSON object: { sinks: [...] }")
    .addHelpText("after", "\nSinks are configured in site.toml ([[broker.sinks]]).\n\nExample:\n  picket sink list")
    .action(async (options: { json?: boolean }, command: Command) => {
      const { sinks } = await siteOf(command).call("sinks");
      if (options.json) return printJson({ sinks });
      if (sinks.length === 0) return printLine("No sink. Add [[broker.sinks]] with name, url and secret to site.toml.");
      const last = (ms: number | undefined) => (ms === undefined ? "never" : agoWords(ms, Date.now()));
      printTable(
        ["sink", "kind", "queued", "delivered", "failed", "last delivery", "url", "last error"],
        sinks.map((one) => [
          one.name,
          one.kind,
          String(one.queued),
          String(one.delivered),
          String(one.failed),
          last(one.lastDeliveryMs),
          one.url,
          one.lastError ?? "-",
        ]),
      );
    });
  sink
    .command("test")
    .description("send a marked test message to a sink and say what it answered")
    .argument("<name>", "the sink's name in site.toml")
    .option("--json", "one JSON object: { ok, detail }")
    .addHelpText("after", "\nExample:\n  picket sink test siem")
    .action(async (name: string, options: { json?: boolean }, command: Command) => {
      const result = await siteOf(command).call("testSink", { params: { name } });
      if (options.json) printJson(result);
      if (!result.ok)
        throw new Failure(
          `the sink ${name} did not take the test message: ${result.detail}`,
          "Check its url and secret in site.toml, and the receiver's log.",
        );
      if (!options.json) printLine(`${name} took the test message: ${result.detail}`);
    });
}
