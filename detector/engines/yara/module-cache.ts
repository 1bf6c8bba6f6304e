// YARA-X hands the same compiled conditions to the WebAssembly runtime for every scan.

/**
 * Keeps the last module made of at most 64 MiB of code, for when the same code comes again: each scan would otherwise compile it anew, which costs milliseconds
 * and, with a thousand rules, about a megabyte of memory that is slow to come back. Changes `WebAssembly.Module` of this thread.
 */
export function keepLastModule(): void {
  let last: { readonly sizeBytes: number; readonly hash: number | bigint; readonly module: WebAssembly.Module } | undefined;
  const Module = WebAssembly.Module;
  const construct = (made: typeof Module, [code]: [Bun.BufferSource]): WebAssembly.Module => {
    const bytes = ArrayBuffer.isView(code) ? new Uint8Array(code.buffer, code.byteOffset, code.byteLength) : new Uint8Array(code);
    const hash = Bun.hash(bytes);
    if (last?.hash === hash && last.sizeBytes === bytes.byteLength) return last.module;
    const module = new made(code);
    if (bytes.byteLength <= 64 << 20) last = { sizeBytes: bytes.byteLength, hash, module };
    return module;
  };
  WebAssembly.Module = new Proxy(Module, { construct });
}
