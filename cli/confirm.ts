import { createInterface } from "node:readline/promises";
import { Failure } from "./failure.ts";

/** Asks a question that Enter answers with no. Only where there is a terminal. */
export async function confirmYes(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  // Ctrl-C and Ctrl-D close it without an answer: that is a no.
  const closed = new Promise<undefined>((resolve) => terminal.once("close", () => resolve(undefined)));
  try {
    const typed = await Promise.race([terminal.question(`${question} [y/N] `), closed]);
    return /^y(es)?$/i.test(typed?.trim() ?? "");
  } finally {
    terminal.close();
  }
}

/**
 * Lets the operator type the device's name before something that cuts it off. `doing` looks first, so that nobody types a name to hear that
 * there is no such device. Throws `Failure`: exit 2 without a terminal, where only --yes will do; 1 when the name is another or none.
 */
export async function confirmName(name: string, doing: () => Promise<string>): Promise<void> {
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new Failure(`this asks for the name of ${name}, and there is no terminal to ask`, "Add --yes if you want it unasked.", 2);
  const what = await doing();
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  // Ctrl-C and Ctrl-D close it without an answer: that is a no, and must not look like a yes that was done.
  const closed = new Promise<undefined>((resolve) => terminal.once("close", () => resolve(undefined)));
  try {
    const typed = await Promise.race([terminal.question(`This will ${what}.\nType the device's name to go on: `), closed]);
    if (typed === undefined) console.error();
    if (typed?.trim() !== name)
      throw new Failure(typed ? `${JSON.stringify(typed.trim())} is not ${name}: nothing was done` : "no name was typed: nothing was done");
  } finally {
    terminal.close();
  }
}
