// A configuration file that somebody edits while the program runs.
import { readFileSync, unwatchFile, watchFile } from "node:fs";

const LOOK_EVERY_MS = 2000;

/**
 * Calls `changed` within about two seconds after the text of the file became another: also when it was replaced, made or removed, but not when it was only touched.
 * Looks by stat(2) and keeps no process alive.
 */
export function watchConfigFile(path: string, changed: () => void, everyMs: number = LOOK_EVERY_MS): Disposable {
  let text = read(path);
  const look = () => {
    const now = read(path);
    if (now === text) return;
    text = now;
    changed();
  };
  watchFile(path, { interval: everyMs, persistent: false }, look);
  return { [Symbol.dispose]: () => unwatchFile(path, look) };
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
