// The system call a thread is in, from its first tracepoint to its second, when its end matters.
#pragma once
#include "out.bpf.h"

// What is told of a call as it begins.
struct call {
  __u32 op;
  __s32 dir_fd;
  __s32 to_dir_fd;
  __u32 flags;
  __u64 path;
  __u64 to; // 0: the call takes one path
  __u64 third;
};

struct inflight {
  __u32 op; // enum path_op, enum call_op, or one of the socket calls in net.bpf.h
  __u32 flags;
  __s32 fd;
  __s32 to_fd;
  __u32 sent; // the path is with user space already
  __u32 family;
  __u32 port;
  __u32 far; // a chdir to where nothing is watched for reading
  __u64 path; // else read it at the end: then its page is resident
  __u64 to;
  __u8 addr[16];
};

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 8192);
  __type(key, __u32); // tid
  __type(value, struct inflight);
} inflights SEC(".maps");

// How many threads are in one, by the lower bits of their id: nearly every call of a host is of no interest, and its end finds a 0 here sooner than nothing in the table.
#define BUSY_SLOTS 4096
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, BUSY_SLOTS);
  __type(key, __u32);
  __type(value, __u32);
} busy SEC(".maps");

static __always_inline __u32 *busy_of(__u32 tid) {
  __u32 slot = tid & (BUSY_SLOTS - 1);
  return bpf_map_lookup_elem(&busy, &slot);
}

static __always_inline void begin_call(const struct inflight *now, __u32 loss) {
  __u32 tid = (__u32)bpf_get_current_pid_tgid();
  __u32 *count = busy_of(tid);
  // A call whose end was never seen is in the table still: counted once.
  if (count && !bpf_map_lookup_elem(&inflights, &tid)) __sync_fetch_and_add(count, 1);
  if (!bpf_map_update_elem(&inflights, &tid, now, BPF_ANY)) return;
  if (count) __sync_fetch_and_add(count, -1);
  count_loss(loss);
}

static __always_inline void forget_call(__u32 tid) {
  __u32 *count = busy_of(tid);
  if (!bpf_map_delete_elem(&inflights, &tid) && count) __sync_fetch_and_add(count, -1);
}

// Copies and forgets the call this thread is in. False when it is not one of ours.
static __always_inline int end_call(struct inflight *now) {
  __u32 tid = (__u32)bpf_get_current_pid_tgid();
  __u32 *count = busy_of(tid);
  if (count && !*count) return 0;
  struct inflight *then = bpf_map_lookup_elem(&inflights, &tid);
  if (!then) return 0;
  *now = *then;
  forget_call(tid);
  return 1;
}
