// How records leave the kernel: through one ring (Linux 5.8), or, compiled with PERF, through a perf buffer of each CPU. Nobody is woken: user space polls.
#pragma once
#include "maps.bpf.h"

#ifdef PERF
#define ENOSPC 28

// By CPU: perf events of user space's, one opened on each.
struct {
  __uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
  __uint(key_size, sizeof(__u32));
  __uint(value_size, sizeof(__u32));
} ring SEC(".maps");

static __always_inline __u64 now_ns(void) { return bpf_ktime_get_ns() + config.asleep_ns; }

// Puts a record of fewer than 100 bytes together. 0 when there is no room.
#define RESERVE(name)                              \
  ({                                               \
    struct scratch *scratch_ = scratch_of_cpu();   \
    scratch_ ? &scratch_->brief.name : (void *)0; \
  })
#define SUBMIT(ctx, record, loss) send(ctx, record, sizeof *(record), loss)

static __always_inline long send(void *ctx, void *record, __u64 size, __u32 loss) {
  long error = bpf_perf_event_output(ctx, &ring, BPF_F_CURRENT_CPU, record, size);
  if (!error) return 0;
  count_loss(loss);
  if (error != -ENOSPC) count_loss(LOSS_CPU);
  return error;
}

// Before Linux 5.6 the verifier takes no function on its own, and walks through it from every call.
#define VERIFIED_ONCE static __noinline
#else
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 1 << 22);
} ring SEC(".maps");

static __always_inline __u64 now_ns(void) { return bpf_ktime_get_boot_ns(); }

#define RESERVE(name) ((struct name##_record *)bpf_ringbuf_reserve(&ring, sizeof(struct name##_record), 0))
#define SUBMIT(ctx, record, loss) bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP)

static __always_inline long send(void *ctx, void *record, __u64 size, __u32 loss) {
  long error = bpf_ringbuf_output(&ring, record, size, BPF_RB_NO_WAKEUP);
  if (error) count_loss(loss);
  return error;
}

// A global function of plain numbers is verified once, not once for every way to reach it.
#define VERIFIED_ONCE __noinline
#endif

static __always_inline void begin(struct record *head, enum record_kind kind) {
  __u64 id = bpf_get_current_pid_tgid();
  head->boot_ns = now_ns();
  head->cgroup = bpf_get_current_cgroup_id();
  head->kind = kind;
  head->pid = id >> 32;
  head->tid = (__u32)id;
  head->uid = (__u32)bpf_get_current_uid_gid();
  bpf_get_current_comm(head->comm, sizeof head->comm);
}

static __always_inline void send_result(void *ctx, __u32 op, __s64 value, __u32 near, __u32 loss) {
  struct result_record *r = RESERVE(result);
  if (!r) {
    count_loss(loss);
    return;
  }
  begin(&r->head, RECORD_RESULT);
  r->value = value;
  r->near = near;
  r->op = op;
  SUBMIT(ctx, r, loss);
}
