// libbpf through bun:ffi. Debian 12, Raspberry Pi OS 12 and Ubuntu 24.04 have version 1 (package libbpf1); Ubuntu 22.04 has 0.5.
import { dlopen, FFIType as T } from "bun:ffi";
import { Unsupported } from "../unsupported.ts";

const { ptr: P, i32: I, u32: U, u64: L } = T;
const functions = {
  libbpf_major_version: { args: [], returns: U },
  libbpf_version_string: { args: [], returns: T.cstring },
  libbpf_set_print: { args: [P], returns: P },
  libbpf_num_possible_cpus: { args: [], returns: I },
  bpf_object__open_mem: { args: [P, L, P], returns: P },
  bpf_object__load: { args: [P], returns: I },
  bpf_object__close: { args: [P], returns: T.void },
  bpf_object__next_program: { args: [P, P], returns: P },
  bpf_object__find_map_by_name: { args: [P, P], returns: P },
  bpf_program__name: { args: [P], returns: T.cstring },
  bpf_program__section_name: { args: [P], returns: T.cstring },
  bpf_program__fd: { args: [P], returns: I },
  bpf_program__set_autoload: { args: [P, T.bool], returns: I },
  bpf_program__set_log_buf: { args: [P, P, L], returns: I },
  bpf_program__attach_perf_event: { args: [P, I], returns: P },
  bpf_link__destroy: { args: [P], returns: I },
  bpf_map_create: { args: [I, P, U, U, U, P], returns: I },
  bpf_map__fd: { args: [P], returns: I },
  bpf_map__set_initial_value: { args: [P, P, L], returns: I },
  bpf_map__set_max_entries: { args: [P, U], returns: I },
  bpf_map_update_elem: { args: [I, P, P, L], returns: I },
  bpf_map_lookup_elem: { args: [I, P, P], returns: I },
  bpf_map_delete_elem: { args: [I, P], returns: I },
} as const;

export type Libbpf = ReturnType<typeof dlopen<typeof functions>>["symbols"];

let opened: Libbpf | undefined;

/** The library, silenced: what it prints is reported as a reason instead. Throws `Unsupported` when it is missing or too old. */
export function openLibbpf(): Libbpf {
  if (opened) return opened;
  try {
    opened = dlopen("libbpf.so.1", functions).symbols;
  } catch (error) {
    throw missing(error);
  }
  opened.libbpf_set_print(null);
  return opened;
}

function missing(cause: unknown): Unsupported {
  if (loads("libbpf.so.1")) {
    return new Unsupported(
      `libbpf.so.1 lacks a function: ${cause instanceof Error ? cause.message : cause}`,
      "install libbpf1 1.0 or newer",
    );
  }
  if (loads("libbpf.so.0")) {
    return new Unsupported(
      "only libbpf 0.x is installed (Ubuntu 22.04 ships 0.5); libbpf.so.1 is needed",
      "upgrade to a release with the package libbpf1 (Debian 12, Raspberry Pi OS 12, Ubuntu 24.04), or install libbpf 1.0 or newer",
    );
  }
  return new Unsupported("libbpf.so.1 is not installed", "apt-get install libbpf1");
}

function loads(library: string): boolean {
  try {
    dlopen(library, { bpf_object__load: { args: [P], returns: I } }).close();
    return true;
  } catch {
    return false;
  }
}
