// What is known of a process from its first to its last thread: the tree, its way to watched paths, and how it will end.
#pragma once
#include "out.bpf.h"

// Absent, or 0, for nearly every process. User space clears NEAR_CWD again when it has looked.
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

struct fate {
  enum exit_cause cause;
  __s32 value;
};

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 8192);
  __type(key, __u32); // pid
  __type(value, struct fate);
} fates SEC(".maps");

// The last signal sent to a task that would end it. A fatal signal reaches every thread as SIGKILL: only this remembers SIGTERM.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 4096);
  __type(key, __u32); // tid it was sent to: the leader's for kill(2)
  __type(value, __u32);
} killers SEC(".maps");

// Processes whose first thread ended on its own while others may run. Only used where the kernel does not tell the last thread.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 1024);
  __type(key, __u32); // pid
  __type(value, __u32);
} leaderless SEC(".maps");

// When a process last began, ran another program or asked to be another user: what was told of it before says nothing of what it does since.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 8192);
  __type(key, __u32); // pid
  __type(value, __u64); // boot_ns
} turns SEC(".maps");

static __always_inline void take_turn(__u32 pid) {
  __u64 now = now_ns();
  bpf_map_update_elem(&turns, &pid, &now, BPF_ANY);
}

static __always_inline void forget_fate(__u32 pid) { bpf_map_delete_elem(&fates, &pid); }

#define CLONE_THREAD 0x10000

SEC("tracepoint/task/task_newtask")
int task_newtask(void *ctx) {
  __u64 flags = 0;
  __u32 child = 0;
  field(ctx, config.newtask_flags, flags);
  if (flags & CLONE_THREAD) return 0;
  field(ctx, config.newtask_pid, child);

  // Numbers come back: nothing of the last process that had this one may stay.
  forget_fate(child);
  forget_process(child);
  take_turn(child);
  bpf_map_delete_elem(&killers, &child);
  bpf_map_delete_elem(&leaderless, &child);

  __u32 parent = bpf_get_current_pid_tgid() >> 32;
  __u32 *near = bpf_map_lookup_elem(&nears, &parent);
  if (near) {
    __u32 inherited = *near & (NEAR_MOVE - 1);
    bpf_map_update_elem(&nears, &child, &inherited, BPF_ANY);
  }

  struct fork_record *r = RESERVE(fork);
  if (!r) {
    count_loss(LOSS_TREE);
    return 0;
  }
  begin(&r->head, RECORD_FORK);
  r->child = child;
  r->clone_flags = (__u32)flags;
  SUBMIT(ctx, r, LOSS_TREE);
  return 0;
}
