// Ends a run that hangs: in a thread of its own, since the one that hangs can do nothing.
import { writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** The input and how many came before it, where another thread sees it: [count, length, bytes...]. */
export type Shared = { readonly numbers: Int32Array; readonly bytes: Uint8Array };
export const HANG_MS = 20_000;
const HEAD_BYTES = 8;

export const shareOf = (memory: SharedArrayBuffer): Shared => ({
  numbers: new Int32Array(memory, 0, 2),
  bytes: new Uint8Array(memory, HEAD_BYTES),
});

/** Keeps an input for who has to find out why; returns where. */
export function keepInput(bytes: Uint8Array): string {
  const path = join(tmpdir(), `picket-fuzz-${Bun.hash(bytes).toString(16)}`);
  writeFileSync(path, bytes);
  return path;
}

declare const self: { onmessage: ((message: { data: SharedArrayBuffer }) => void) | null };
if (!Bun.isMainThread) {
  self.onmessage = ({ data }) => {
    const { numbers, bytes } = shareOf(data);
    let last = Atomics.load(numbers, 0);
    let sinceMs = performance.now();
    setInterval(() => {
      const now = Atomics.load(numbers, 0);
      if (now !== last) [last, sinceMs] = [now, performance.now()];
      if (performance.now() - sinceMs < HANG_MS) return;
      const path = keepInput(bytes.slice(0, numbers[1]!));
      process.stderr.write(`FOUND an input that takes more than ${HANG_MS / 1000} s: ${path}\n`);
      process.kill(process.pid, "SIGKILL");
    }, 500);
  };
}
