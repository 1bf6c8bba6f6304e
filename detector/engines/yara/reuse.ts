// YARA-X hands the same compiled conditions to the WebAssembly runtime for every scan, with a new memory of one page. Bun compiles the one again, which costs milliseconds
// and memory that is slow to come back; the other makes it collect all garbage, since memories are few. Together that is most of what a scan of a small file costs.

/** To be called before each scan, so that a memory is never given out twice within one. */
export type Reuse = { nextScan(): void };

const PAGE = 65536;

/** Changes `WebAssembly.Module` and `WebAssembly.Memory` of this thread: the last module is kept for when the same code comes again, and one memory of a single page. */
export function reuseWasm(): Reuse {
  const { Module, Memory } = WebAssembly;
  let last: { readonly sizeBytes: number; readonly hash: number | bigint; readonly module: WebAssembly.Module } | undefined;
  let memory: WebAssembly.Memory | undefined;
  let free = false;

  WebAssembly.Module = new Proxy(Module, {
    construct(made, [code]: [Bun.BufferSource]) {
      const bytes = ArrayBuffer.isView(code) ? new Uint8Array(code.buffer, code.byteOffset, code.byteLength) : new Uint8Array(code);
      const hash = Bun.hash(bytes);
      if (last?.hash !== hash || last.sizeBytes !== bytes.byteLength) last = { hash, sizeBytes: bytes.byteLength, module: new made(code) };
      return last.module;
    },
  });
  WebAssembly.Memory = new Proxy(Memory, {
    construct(made, [of]: [{ readonly initial: number; readonly maximum?: number; readonly shared?: boolean }]) {
      if (!free || of.initial !== 1 || of.maximum !== 1 || of.shared) return new made(of);
      free = false;
      if (memory?.buffer.byteLength === PAGE) new Uint8Array(memory.buffer).fill(0);
      else memory = new made(of);
      return memory;
    },
  });
  return {
    nextScan() {
      free = true;
    },
  };
}
