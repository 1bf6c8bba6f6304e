// State shared by all programs: the ring, the counters of what did not fit, configuration, and what a thread or process is in the middle of.
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
};
const volatile struct config config = {};

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 1 << 22);
} ring SEC(".maps");

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
  struct { // never read: keeps these in BTF, where the generator finds them
    enum loss loss;
    enum near near;
    enum watch_bits watch;
    enum name_bits name;
    enum call_op call;
    struct accept_record accept;
    struct fork_record fork;
    struct exit_record exit;
    struct result_record result;
    struct connect_record connect;
    struct listen_record listen;
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

static __always_inline void begin(struct record *head, enum record_kind kind) {
  __u64 id = bpf_get_current_pid_tgid();
  head->boot_ns = bpf_ktime_get_boot_ns();
  head->cgroup = bpf_get_current_cgroup_id();
  head->kind = kind;
  head->pid = id >> 32;
  head->tid = (__u32)id;
  head->uid = (__u32)bpf_get_current_uid_gid();
  bpf_get_current_comm(head->comm, sizeof head->comm);
}

// User space polls, so nobody is woken.
static __always_inline long send(void *record, __u64 size, __u32 loss) {
  long error = bpf_ringbuf_output(&ring, record, size, BPF_RB_NO_WAKEUP);
  if (error) count_loss(loss);
  return error;
}

static __always_inline void send_result(__u32 op, __s64 value, __u32 near, __u32 loss) {
  struct result_record *r = bpf_ringbuf_reserve(&ring, sizeof *r, 0);
  if (!r) {
    count_loss(loss);
    return;
  }
  begin(&r->head, RECORD_RESULT);
  r->value = value;
  r->near = near;
  r->op = op;
  bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
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
