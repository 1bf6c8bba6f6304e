import type { Output } from "./output.ts";

/** Counts what a stream has not taken yet. Bun's `writableLength` stays 0 for a pipe, however much waits. `write` calls back when it is out. */
export function countedOutput(write: (text: string, done: () => void) => void): Output {
  let unread = 0;
  return {
    write: (text) => {
      const bytes = Buffer.byteLength(text);
      unread += bytes;
      write(text, () => {
        unread -= bytes;
      });
    },
    unreadBytes: () => unread,
  };
}
