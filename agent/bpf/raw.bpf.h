// For kernels without the tracepoints of single system calls (Raspberry Pi OS before April 2025): the two that see all of them, which hand over to the
// same programs by number. A context is laid out alike in both. Numbers of 32-bit programs are others, and are taken for what they look like.
#pragma once
#include "maps.bpf.h"

#define SYSCALLS 512
struct {
  __uint(type, BPF_MAP_TYPE_PROG_ARRAY);
  __uint(max_entries, SYSCALLS);
  __type(key, __u32);
  __type(value, __u32);
} enter_calls SEC(".maps"), exit_calls SEC(".maps");

SEC("tracepoint/raw_syscalls/sys_enter")
int raw_enter(struct enter *ctx) {
  bpf_tail_call(ctx, &enter_calls, (__u32)ctx->nr);
  return 0;
}

SEC("tracepoint/raw_syscalls/sys_exit")
int raw_exit(struct leave *ctx) {
  bpf_tail_call(ctx, &exit_calls, (__u32)ctx->nr);
  return 0;
}
