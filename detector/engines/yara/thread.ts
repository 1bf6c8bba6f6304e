// The Worker from outside: one question at a time, an answer or the reason why there is none.
import type { Answer, Progress, Request } from "./messages.ts";

/** The thread is of no use any more: dispose it. */
export class ThreadFailure extends Error {
  readonly why: "timeout" | "crashed";
  /** The rule file the compiler was at, by its index. */
  readonly file: number | undefined;

  constructor(why: "timeout" | "crashed", message: string, file?: number) {
    super(message);
    this.why = why;
    this.file = file;
  }
}

export type Thread = Disposable & {
  /** The bytes to scan are handed over, and gone here. Rejects with ThreadFailure when the thread ends, fails or has not answered in time. */
  ask<Said extends Answer["said"]>(request: Request, expected: Said, timeoutMs: number): Promise<Extract<Answer, { said: Said }>>;
};

// In an executable all code lies in one virtual folder, with each entry point at its path from the root of the checkout (compile.ts names them).
const entry = import.meta.url.startsWith("file:///$bunfs/")
  ? new URL("./detector/engines/yara/worker.js", import.meta.url)
  : new URL("./worker.ts", import.meta.url);

type Waiting = { resolve(answer: Answer): void; reject(error: ThreadFailure): void };

/** Starts a thread that runs `program`. Disposing ends it, whatever it is doing. */
export function startThread(program: URL = entry): Thread {
  const worker = new Worker(program.href);
  let waiting: Waiting | undefined;
  let file: number | undefined;
  let ended: ThreadFailure | undefined;

  const end = (why: "timeout" | "crashed", message: string) => {
    ended ??= new ThreadFailure(why, message, file);
    worker.terminate();
    waiting?.reject(ended);
    waiting = undefined;
  };
  worker.onmessage = ({ data }: { data: Answer | Progress }) => {
    if (data.said === "file") file = data.index;
    else if (data.said === "failed") end(data.why, data.message);
    else {
      file = undefined;
      waiting?.resolve(data);
      waiting = undefined;
    }
  };
  worker.onerror = (event) => {
    event.preventDefault();
    end("crashed", event.message);
  };
  worker.addEventListener("close", () => end("crashed", "the thread ended"));

  return {
    async ask(request, expected, timeoutMs) {
      if (ended) throw ended;
      const { promise, resolve, reject } = Promise.withResolvers<Answer>();
      waiting = { resolve, reject };
      const timer = setTimeout(() => end("timeout", `no answer within ${timeoutMs} ms`), timeoutMs);
      worker.postMessage(request, request.do === "scan" ? [request.bytes.buffer] : []);
      try {
        const answer = await promise;
        if (answer.said !== expected) throw new ThreadFailure("crashed", `asked for ${expected}, it said ${answer.said}`);
        return answer as Extract<Answer, { said: typeof expected }>;
      } finally {
        clearTimeout(timer);
      }
    },
    [Symbol.dispose]: () => end("crashed", "the thread was ended"),
  };
}
