import { writeFileSync } from "node:fs";
import { Failure } from "./failure.ts";

/** Writes a secret to a new file that only its owner may read. Throws `Failure`. */
export function writeSecret(file: string, text: string): void {
  try {
    // "wx": never into a file that exists, whose mode and owner are somebody else's choice.
    writeFileSync(file, `${text}\n`, { mode: 0o600, flag: "wx" });
  } catch (error) {
    const exists = (error as NodeJS.ErrnoException).code === "EEXIST";
    throw new Failure(
      `${file} cannot be written: ${exists ? "it exists already" : (error as Error).message}`,
      exists ? "Choose another --out, or delete it." : undefined,
    );
  }
}
