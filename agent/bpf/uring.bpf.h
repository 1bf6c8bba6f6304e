// process.io_uring: requests to the kernel that are no system calls, so that no other program here sees what they open or change. The kernel tells which
// operation a ring is asked for, not its path or address: those lie in memory that it shares with the process. A TCP connection is told with its address by net.bpf.h.
#pragma once
#include "call.bpf.h"
#include "net.bpf.h"

#define URING_ACCEPT 13
#define URING_CONNECT 16

// enum io_uring_op: openat, openat2, connect, accept, renameat, unlinkat, symlinkat, linkat, bind, listen.
#define TOLD_OPS \
  (1ULL << 18 | 1ULL << 28 | 1ULL << URING_CONNECT | 1ULL << URING_ACCEPT | 1ULL << 35 | 1ULL << 36 | 1ULL << 38 | 1ULL << 39 | 1ULL << 56 | 1ULL << 57)

SEC("tracepoint/syscalls/sys_enter_io_uring_setup")
int enter_io_uring_setup(struct enter *ctx) {
  if (ignored() || told_before(CALL_URING, URING_SETUP, 0)) return 0;
  struct call call = {.flags = URING_SETUP};
  return enter_call(ctx, &call, CALL_URING, 1);
}
CALL_END(io_uring_setup)

static __always_inline int asked(void *ctx, __u8 opcode) {
  if (opcode > 63 || !(TOLD_OPS >> opcode & 1) || ignored()) return 0;
  if (told_before(CALL_URING, opcode, 0)) return 0;
  struct call call = {.flags = opcode};
  return enter_call(ctx, &call, CALL_URING, 0);
}

// Linux 6.3 and later, and before.
SEC("tracepoint/io_uring/io_uring_submit_req")
int uring_submit_req(void *ctx) {
  __u8 opcode = 0;
  field(ctx, config.uring_req_opcode, opcode);
  return asked(ctx, opcode);
}
SEC("tracepoint/io_uring/io_uring_submit_sqe")
int uring_submit_sqe(void *ctx) {
  __u8 opcode = 0;
  field(ctx, config.uring_sqe_opcode, opcode);
  return asked(ctx, opcode);
}
