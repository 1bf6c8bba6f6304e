// The process tree, and which processes can reach watched paths without naming them in full.
#pragma once
#include "maps.bpf.h"


// Absent for nearly every process. User space clears NEAR_CWD again when it has looked.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 16384);
  __type(key, __u32); // pid
  __type(value, __u32);
} nears SEC(".maps");

static __always_inline void come_near(__u32 pid, __u32 how) {
  __u32 *near = bpf_map_lookup_elem(&nears, &pid);
  if (near) *near |= how;
  else bpf_map_update_elem(&nears, &pid, &how, BPF_ANY);
}

static __always_inline void leave_behind(__u32 pid, __u32 how) {
  __u32 *near = bpf_map_lookup_elem(&nears, &pid);
  if (near) *near &= ~how;
}

static __always_inline void forget_process(__u32 pid) { bpf_map_delete_elem(&nears, &pid); }

#define CLONE_THREAD 0x10000

SEC("tracepoint/task/task_newtask")
int task_newtask(void *ctx) {
  __u64 flags = 0;
  __u32 child = 0;
  field(ctx, config.newtask_flags, flags);
  if (flags & CLONE_THREAD) return 0;
  field(ctx, config.newtask_pid, child);

  __u32 parent = bpf_get_current_pid_tgid() >> 32;
  __u32 *near = bpf_map_lookup_elem(&nears, &parent);
  if (near) {
    __u32 inherited = *near;
    bpf_map_update_elem(&nears, &child, &inherited, BPF_ANY);
  }

  struct fork_record *r = bpf_ringbuf_reserve(&ring, sizeof *r, 0);
  if (!r) {
    count_loss(LOSS_TREE);
    return 0;
  }
  begin(&r->head, RECORD_FORK);
  r->child = child;
  r->clone_flags = (__u32)flags;
  bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
  return 0;
}
