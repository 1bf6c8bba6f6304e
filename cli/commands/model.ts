// `picket model`: what the models say.
import { models } from "@picket/detector/model-scores";
import { type Command, InvalidArgumentError } from "commander";
import { jsonLine } from "../output.ts";
import { readRecorded } from "../recorded-events.ts";
import { addModelTraining } from "./model-train.ts";

/** Adds `model` with its subcommands. `score` sets `process.exitCode` to 1 when a line or a file could not be used. */
export function addModel(program: Command): void {
  const model = program.command("model").description("ask the models, and learn what is usual at a site");
  model
    .command("score")
    .description("score each recorded event with one model: 0 to 1, higher is worse")
    .argument("<name>", `the model: ${names()}`, known)
    .argument("<events...>", "NDJSON files of recorded events; - is standard input")
    .option("--dir <dir>", "a site's directory: ask the model that the site learnt")
    .option("--json", "one JSON object a line: { id, score }")
    .addHelpText(
      "after",
      `\nModels:\n${Object.entries(models)
        .map(([name, { about }]) => `  ${name}  ${about}`)
        .join(
          "\n",
        )}\n\nExits 1 when a line or a file could not be used.\n\nExamples:\n  picket model score cmdline events.ndjson\n  picket events --type process.exec --since 1d --json | picket model score cmdline - --json\n  picket model score behaviour events.ndjson --dir /var/lib/picket/site`,
    )
    .action(score);
  addModelTraining(model);
}

const names = () => Object.keys(models).join(", ");

function known(name: string): string {
  if (!Object.hasOwn(models, name)) throw new InvalidArgumentError(`there is no such model: choose from ${names()}`);
  return name;
}

async function score(name: string, files: readonly string[], options: { json?: boolean; dir?: string }): Promise<void> {
  const scores = await models[name]!.open(options.dir);
  const complain = (at: { file: string; line: number; message: string }) => {
    process.exitCode = 1;
    console.error(printable(`${at.file}:${at.line}: error: ${at.message}`));
  };
  const out = Bun.stdout.writer();
  for await (const scored of scores(readRecorded(files, complain))) {
    out.write(options.json ? `${jsonLine(scored)}\n` : `${scored.score.toFixed(4)}  ${printable(scored.id)}\n`);
  }
  await out.end();
}

/** Recordings come from strangers: nothing of theirs may steer the terminal. */
const printable = (text: string) => Bun.stripANSI(text).replaceAll(/\p{Control}/gu, "\uFFFD");
