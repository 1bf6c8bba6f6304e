// What a program is by its path alone, asked of every step: worked out once a path.
import { baseName } from "../text.ts";
import { isOddProgram } from "./places.ts";
import { isInterpreter, isRoot, isShell } from "./programs.ts";

type Traits = {
  readonly name: string;
  readonly root: boolean;
  readonly shell: boolean;
  readonly interpreter: boolean;
  readonly odd: boolean;
};

/** Paths remembered; a device may invent as many as it likes. */
const MAX_KNOWN = 2048;
const MAX_PATH = 512;
const known = new Map<string, Traits>();

export function traitsOf(exe: string): Traits {
  const before = known.get(exe);
  if (before) return before;
  const name = baseName(exe);
  const made = { name, root: isRoot(exe), shell: isShell(exe), interpreter: isInterpreter(name), odd: isOddProgram(exe) };
  if (exe.length > MAX_PATH) return made;
  if (known.size >= MAX_KNOWN) known.clear();
  known.set(exe, made);
  return made;
}
