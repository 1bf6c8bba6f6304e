import { createInterface } from "node:readline/promises";
import { Failure } from "./failure.ts";

/**
 * Lets the operator type the device's name before something that cuts it off. Without a terminal only --yes will do.
 * Throws `Failure`: exit 2 without a terminal, 1 when the name is another.
 */
export async function confirmName(of: { name: string; doing: string; yes: boolean }): Promise<void> {
  if (of.yes) return;
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new Failure(`this would ${of.doing}, and there is no terminal to ask`, "Add --yes if that is what you want.", 2);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const typed = await terminal.question(`This will ${of.doing}.\nType the device's name to go on: `);
    if (typed.trim() !== of.name) throw new Failure(`${JSON.stringify(typed.trim())} is not ${of.name}: nothing was done`);
  } finally {
    terminal.close();
  }
}
