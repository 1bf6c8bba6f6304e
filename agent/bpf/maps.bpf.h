// State shared by all programs: configuration, the counters of what did not fit, and room to put records together.
#pragma once
#include "record.bpf.h"

// Set before load. Offsets in tracepoints differ between kernels; tracefs tells them.
struct config {
  __u32 ignore_pid;
  __u32 o_directory; // 0200000 on x86, 040000 on arm64
  __u32 exec_filename;
  __u32 exec_old_pid;
  __u32 prepare_interp;
  __u32 prepare_filename;
  __u32 newtask_pid;
  __u32 newtask_flags;
  __u32 exit_group_dead; // 0: this kernel (before 6.16) does not say
  __u32 generate_sig;
  __u32 generate_pid;
  __u32 generate_result;
  __u32 deliver_sig;
  __u32 deliver_handler;
  __u32 module_name;
  __u32 uring_req_opcode;
  __u32 uring_sqe_opcode;
  __u32 state_new;
  __u32 state_family;
  __u32 state_port;
  __u32 state_v4;
  __u32 state_v6;
  __u64 asleep_ns; // what the boot clock is ahead of the monotonic one; only where a kernel may lack bpf_ktime_get_boot_ns
};
#ifdef PERF
// Written again whenever the host was asleep.
volatile struct config config SEC(".data") = {};
#else
const volatile struct config config = {};
#endif

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, LOSS_COUNT);
  __type(key, __u32);
  __type(value, __u64);
} lost SEC(".maps");

#define WATCH_BYTES 128
struct watch_key {
  __u32 bits;
  char path[WATCH_BYTES];
};

#define START_PRIME 0x9e3779b97f4a7c15ULL
struct starts {
  __u8 bits[8192];
  __u32 shorter; // a prefix has less than 5 bytes: every path may be watched
};

// What a path is made of.
struct scan {
  __u64 name; // FNV-1a of the last component
  __u64 whole; // and of the whole
  __u32 odd; // an empty component, "." or ".."
  __u32 up; // ".."
  __u32 slash;
  __u32 ended;
};

// Tracepoint programs run with preemption off, so one buffer a CPU is enough.
struct scratch {
  union {
    struct args_record args;
    struct interpreter_record interpreter;
    struct exec_record exec;
    struct path_record path;
    struct call_record call;
    struct dns_record dns;
  };
  __u32 to_bits; // a key of the watch trie, like path.watch_bits
  char to[PATH_BYTES];
  struct scan scan;
  char spare[8];
  struct { // where out.bpf.h puts the short ones together, when it cannot do it in place
    struct accept_record accept;
    struct fork_record fork;
    struct exit_record exit;
    struct result_record result;
    struct connect_record connect;
    struct listen_record listen;
  } brief;
  struct { // never read: keeps these in BTF, where the generator finds them
    enum loss loss;
    enum near near;
    enum watch_bits watch;
    enum name_bits name;
    enum call_op call;
    struct watch_key key;
  } exported;
};

struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct scratch);
} scratches SEC(".maps");

static __always_inline struct scratch *scratch_of_cpu(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&scratches, &zero);
}

static __always_inline void count_loss(__u32 what) {
  __u64 *count = bpf_map_lookup_elem(&lost, &what);
  if (count) *count += 1;
}

static __always_inline int ignored(void) { return (__u32)(bpf_get_current_pid_tgid() >> 32) == config.ignore_pid; }

// Arguments and result of any system call's tracepoint, laid out alike on every 64-bit architecture.
// The kernel refuses a program that reads more arguments than its call has.
struct enter {
  __u64 common;
  __s64 nr;
  __u64 args[6];
};
struct leave {
  __u64 common;
  __s64 nr;
  __s64 value;
};

// A field of a tracepoint that is not a system call. `at` must come from `config`.
#define field(ctx, at, to) bpf_probe_read_kernel(&(to), sizeof(to), (const char *)(ctx) + (at))
