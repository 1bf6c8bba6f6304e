// A configuration file that somebody edits while the program runs.
import { readFileSync, statSync } from "node:fs";

const LOOK_EVERY_MS = 2000;

/**
 * Calls `changed` within about two seconds after the text of the file became another: also when it was replaced, made or removed, but not when it was only touched.
 * Looks by stat(2) and keeps no process alive.
 */
export function watchConfigFile(path: string, changed: () => void, everyMs: number = LOOK_EVERY_MS): Disposable {
  let text = read(path);
  let stamp: string | undefined;
  // Not fs.watchFile: it looks for the first time some time after it returned, and what changed until then it never tells.
  const look = () => {
    const found = stampOf(path);
    if (found === stamp) return;
    stamp = found;
    const now = read(path);
    if (now === text) return;
    text = now;
    changed();
  };
  const timer = setInterval(look, everyMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Another one for another file, or another time or size of the same. */
function stampOf(path: string): string {
  try {
    const { ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`;
  } catch {
    return "none";
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
