import type { Output } from "./output.ts";

/** Lines of one turn go out together, at most about this much at once: each write is a system call, and a turn can have thousands of lines. */
const TOGETHER_CHARS = 64 << 10;

export type CountedOutput = Output & {
  /** Hands over what waits for the end of the turn. */
  flush(): void;
};

/** Counts what a stream has not taken yet. Bun's `writableLength` stays 0 for a pipe, however much waits. `write` calls back when it is out. */
export function countedOutput(write: (text: string, done: () => void) => void): CountedOutput {
  let unread = 0;
  let waiting = "";
  const flush = () => {
    if (waiting === "") return;
    const text = waiting;
    waiting = "";
    const bytes = Buffer.byteLength(text);
    unread += bytes;
    write(text, () => {
      unread -= bytes;
    });
  };
  return {
    write: (text) => {
      if (waiting === "") queueMicrotask(flush);
      waiting += text;
      if (waiting.length >= TOGETHER_CHARS) flush();
    },
    unreadBytes: () => unread + waiting.length,
    flush,
  };
}
