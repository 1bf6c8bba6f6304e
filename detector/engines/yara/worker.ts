// The thread that scans. It may hang or end at any file: scanner.ts then ends it and starts another.
import init, { type Rules, type Scanner } from "@virustotal/yara-x";
import { checkFiles, compileFiles } from "./compile.ts";
import { matchesOf, type Scanned } from "./matches.ts";
import type { Answer, Progress, Request } from "./messages.ts";
import { reuseWasm } from "./reuse.ts";

declare const self: { postMessage(message: Answer | Progress): void; onmessage: (event: { data: Request }) => void };

/** Places of a pattern that are counted: rules compare such counts, with small numbers. */
const MAX_PLACES = 5000;

/** Starts the engine. Resolves to its memory. */
async function startEngine(): Promise<WebAssembly.Memory> {
  // The package exports no path to its module; in an executable it is an embedded asset, found through this import.
  // @ts-expect-error A file asset has no types.
  const wasm = (await import("../../node_modules/@virustotal/yara-x/pkg/yara_x_js_bg.wasm", { with: { type: "file" } })) as {
    default: string;
  };
  return (await init({ module_or_path: await Bun.file(wasm.default).arrayBuffer() })).memory;
}

/** Bytes scanned since garbage was collected: a heap this small would not ask for it, whatever the size of the buffers it lets go. */
const MAX_LET_GO = 64 << 20;

const reuse = reuseWasm();
let letGo = 0;
let rules: Rules | undefined;
let scanner: Scanner | undefined;

function answer(request: Request, memory: WebAssembly.Memory): Answer {
  const begin = (index: number) => self.postMessage({ said: "file", index });
  switch (request.do) {
    case "check":
      return { said: "checked", ...checkFiles(request.files, begin) };
    case "load": {
      const compiled = compileFiles(request.files, begin);
      rules = compiled.rules;
      scanner = rules.scanner();
      scanner.setTimeoutMs(request.timeoutMs);
      scanner.setMaxMatchesPerPattern(MAX_PLACES);
      return { said: "loaded", loaded: compiled.loaded, problems: compiled.problems, mended: compiled.mended };
    }
    case "scan": {
      if (!scanner) return { said: "failed", why: "crashed", message: "asked to scan before rules were loaded" };
      reuse.nextScan();
      const result = scanner.scan(request.bytes) as Scanned;
      const failure = result.errors[0];
      if (failure !== undefined) return { said: "failed", why: whyOf(failure), message: failure };
      return { said: "scanned", matches: matchesOf(result, request.bytes), heldBytes: memory.buffer.byteLength };
    }
  }
}

const whyOf = (message: string) => (/time/i.test(message) ? "timeout" : "crashed");

/** After a trap the engine cannot even be freed: the first error tells why. */
const messageOf = (error: unknown): string => String(error instanceof SuppressedError ? error.suppressed : error).slice(0, 500);

const engine = startEngine();

// Set before anything is awaited: a message that finds nobody is lost.
self.onmessage = async ({ data }) => {
  try {
    self.postMessage(answer(data, await engine));
    if (data.do === "scan") letGo += data.bytes.byteLength;
    if (letGo < MAX_LET_GO) return;
    letGo = 0;
    Bun.gc(true);
  } catch (error) {
    const message = messageOf(error);
    self.postMessage({ said: "failed", why: whyOf(message), message });
  }
};
