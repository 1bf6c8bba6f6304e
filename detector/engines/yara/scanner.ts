// YARA rules over files, in a thread of their own: nothing that a file or a rule does to the engine stops the detector.
import { createHash } from "node:crypto";
import { loadYara } from "@picket/rules/load";
import type { RuleFile, RuleProblem } from "@picket/rules/rule";
import { builtinYara } from "@picket/rules/yara/builtin";
import { startThread, type Thread, ThreadFailure } from "./thread.ts";
import type { Verdict } from "./verdict.ts";

export type { MatchedString, ScanError, Verdict, YaraMatch } from "./verdict.ts";
export { factsOf } from "./verdict.ts";

/** Part of every pack's identity: another engine may judge otherwise. */
const ENGINE = "@virustotal/yara-x 1.20.0";

export type ScannerOptions = {
  /** Files and folders of YARA rules (.yar, .yara). */
  readonly packs?: readonly string[];
  /** The rules Picket ships; default true. */
  readonly builtin?: boolean;
  /** Only files with such a text; default all. */
  readonly only?: (text: string) => boolean;
  readonly limits?: Partial<typeof defaultLimits>;
};

export const defaultLimits = {
  /** Of a file; larger ones are not scanned. */
  maxBytes: 32 << 20,
  /** Of one scan. */
  timeoutMs: 20_000,
  /** Of compiling all rules. */
  compileMs: 120_000,
  /** Scans after which a thread is replaced: the engine's memory only grows. */
  scans: 1000,
  /** Memory of the sandbox at which it is replaced. */
  heldBytes: 384 << 20,
  /** Without work the thread ends and gives its memory back. */
  idleMs: 300_000,
};

export type Scanner = AsyncDisposable & {
  /** SHA-256 over rules and engine, hex: a verdict holds for this pack only. */
  readonly pack: string;
  /** Rules that can match. */
  readonly rules: number;
  /** Rules and files that cannot be used; the others are. */
  readonly problems: readonly RuleProblem[];
  /**
   * What the rules say of a file. Scans run one after another; the caller's thread is not held, `bytes` are copied when the turn comes. What goes wrong is `error`: it says
   * nothing of the file, and may go well another time. Rejects only when `signal` aborted before the turn came, or the scanner was disposed.
   */
  scan(bytes: Uint8Array, signal?: AbortSignal): Promise<Verdict>;
};

/** Compiles the rules. Throws when there is no thread to be had, or rules that compile alone cannot be used together. */
export async function createScanner({ packs = [], builtin = true, only = () => true, limits: given }: ScannerOptions): Promise<Scanner> {
  const limits = { ...defaultLimits, ...given };
  const { files, errors } = await loadYara(packs);
  const problems: RuleProblem[] = [...errors];
  let sources: readonly RuleFile[] = [...(builtin ? builtinYara() : []), ...files].filter(({ text }) => only(text));
  const pack = hashOf(sources);

  let thread: Thread | undefined;
  let scans = 0;
  let idle: ReturnType<typeof setTimeout> | undefined;
  let last: Promise<unknown> = Promise.resolve();
  let disposed = false;

  const drop = () => {
    clearTimeout(idle);
    thread?.[Symbol.dispose]();
    thread = undefined;
  };

  const restWhenIdle = () => {
    clearTimeout(idle);
    idle = setTimeout(drop, limits.idleMs);
    idle.unref();
  };

  /** Rejects with ThreadFailure. */
  async function start(): Promise<{ rules: number; found: readonly RuleProblem[] }> {
    for (;;) {
      thread = startThread();
      scans = 0;
      try {
        const {
          loaded,
          problems: found,
          mended,
        } = await thread.ask({ do: "load", files: sources, timeoutMs: limits.timeoutMs }, "loaded", limits.compileMs);
        if (mended.length > 0) {
          const byName = new Map(mended.map((file) => [file.file, file]));
          sources = sources.map((file) => byName.get(file.file) ?? file);
        }
        return { rules: loaded, found };
      } catch (error) {
        drop();
        if (disposed || !(error instanceof ThreadFailure) || error.file === undefined) throw error;
        const { file } = sources[error.file]!;
        problems.push({ file, line: 1, message: `the compiler ended at this file, which is left out: ${error.message}` });
        sources = sources.filter((source) => source.file !== file);
      }
    }
  }

  async function scanNow(bytes: Uint8Array): Promise<Verdict> {
    clearTimeout(idle);
    try {
      if (!thread) await start();
      const { matches, heldBytes } = await thread!.ask({ do: "scan", bytes: new Uint8Array(bytes) }, "scanned", limits.timeoutMs);
      if (++scans >= limits.scans || heldBytes >= limits.heldBytes) drop();
      return { matches };
    } catch (error) {
      drop();
      if (!(error instanceof ThreadFailure)) throw error;
      return { matches: [], error: error.why };
    } finally {
      restWhenIdle();
    }
  }

  const { rules, found } = await start();
  problems.push(...found);
  restWhenIdle();
  return {
    pack,
    rules,
    problems,
    async scan(bytes, signal) {
      if (bytes.byteLength > limits.maxBytes) return { matches: [], error: "too big" };
      const before = last;
      const result = (async () => {
        await before;
        if (disposed) throw new Error("the scanner has been disposed");
        signal?.throwIfAborted();
        return scanNow(bytes);
      })();
      last = result.catch(() => undefined);
      return result;
    },
    [Symbol.asyncDispose]: async () => {
      disposed = true;
      drop();
      await last;
      clearTimeout(idle);
    },
  };
}

function hashOf(files: readonly RuleFile[]): string {
  const hash = createHash("sha256").update(ENGINE);
  // Lengths first, so that no two lists of files read the same.
  for (const { file, text } of files) hash.update(`\n${file.length} ${text.length}\n${file}${text}`);
  return hash.digest("hex");
}
