// process.exec: arguments as the caller passed them, path as the kernel ran it. Memory of the caller can change between
// the two, so arguments are a claim and the path is the truth. User space joins them by thread.
#pragma once
#include "call.bpf.h"
#include "exit.bpf.h"

static __always_inline int exec_args(void *ctx, const char *const *argv) {
  struct scratch *s = scratch_of_cpu();
  if (!s) return 0;
  struct args_record *r = &s->args;
  begin(&r->head, RECORD_ARGS);
  r->truncated = 0;
  r->faulted = 0;
  __u32 at = 0;
  for (int i = 0; i <= MAX_ARGS; i++) {
    const char *arg = 0;
    if (bpf_probe_read_user(&arg, sizeof arg, &argv[i])) {
      r->faulted = 1;
      break;
    }
    if (!arg) break;
    if (i == MAX_ARGS || at >= ARGS_BYTES) {
      r->truncated = 1;
      break;
    }
    // One byte more than could ever fit tells "just fits" from "cut".
    long n = bpf_probe_read_user_str(&r->args[at & (ARGS_BYTES - 1)], ARGS_BYTES + 1, arg);
    if (n < 0) {
      r->faulted = 1;
      break;
    }
    at += (__u32)n & (2 * ARGS_BYTES - 1);
    if (at > ARGS_BYTES) {
      r->truncated = 1;
      at = ARGS_BYTES;
      break;
    }
  }
  r->args_len = at;
  send(ctx, r, __builtin_offsetof(struct args_record, args) + (at & (2 * ARGS_BYTES - 1)), LOSS_ARGS);
  return 0;
}

#define ENV_MAX 64
#define LD_PRELOAD 0x4c4552505f444cULL // "LD_PREL", little-endian
#define LD_AUDIT 0x494455415f444cULL // "LD_AUDI"
#define SEVEN_BYTES 0x00ffffffffffffffULL

// A library that the program is made to load before its own: told by itself, for hardly any program has one.
static __always_inline int exec_preload(void *ctx, const char *const *envp) {
  for (int i = 0; i < ENV_MAX; i++) {
    const char *entry = 0;
    __u64 start = 0;
    if (bpf_probe_read_user(&entry, sizeof entry, &envp[i]) || !entry) return 0;
    // Shorter entries at the very end of a page are missed; the kernel puts the longest part of the environment there, not these.
    if (bpf_probe_read_user(&start, sizeof start, entry)) continue;
    start &= SEVEN_BYTES;
    if (start != LD_PRELOAD && start != LD_AUDIT) continue;
    struct call call = {.path = (__u64)entry};
    return enter_call(ctx, &call, CALL_PRELOAD, 0);
  }
  return 0;
}

SEC("tracepoint/syscalls/sys_enter_execve")
int enter_execve(struct enter *ctx) {
  exec_args(ctx, (const char *const *)ctx->args[1]);
  return exec_preload(ctx, (const char *const *)ctx->args[2]);
}

SEC("tracepoint/syscalls/sys_enter_execveat")
int enter_execveat(struct enter *ctx) {
  exec_args(ctx, (const char *const *)ctx->args[2]);
  return exec_preload(ctx, (const char *const *)ctx->args[3]);
}

#define SAME_BYTES 256
static __always_inline int same(const char *a, const char *b, long size) {
  for (int i = 0; i < SAME_BYTES; i += 8) {
    if (i >= size) return 1;
    __u64 differ = *(const __u64 *)(a + i) ^ *(const __u64 *)(b + i);
    if (size - i < 8) differ <<= (8 - (size - i)) * 8 & 63; // little-endian: what follows the end is old
    if (differ) return 0;
  }
  return 0;
}

// Linux 6.10: the only place that names a script's interpreter even when the script is gone a moment later.
SEC("tracepoint/sched/sched_prepare_exec")
int prepare_exec(void *ctx) {
  struct scratch *s = scratch_of_cpu();
  if (!s) return 0;
  __u32 interp = 0, filename = 0;
  field(ctx, config.prepare_interp, interp);
  field(ctx, config.prepare_filename, filename);
  struct interpreter_record *r = &s->interpreter;
  long n = bpf_probe_read_kernel_str(r->path, PATH_BYTES, (char *)ctx + (interp & 0xffff));
  if (n <= 0) return 0;
  long m = bpf_probe_read_kernel_str(s->to, PATH_BYTES, (char *)ctx + (filename & 0xffff));
  if (n == m && same(r->path, s->to, n)) return 0;
  begin(&r->head, RECORD_INTERPRETER);
  r->path_len = n;
  send(ctx, r, __builtin_offsetof(struct interpreter_record, path) + (n & (2 * PATH_BYTES - 1)), LOSS_TREE);
  return 0;
}

SEC("tracepoint/sched/sched_process_exec")
int process_exec(void *ctx) {
  struct scratch *s = scratch_of_cpu();
  if (!s) return 0;
  struct exec_record *r = &s->exec;
  begin(&r->head, RECORD_EXEC);
  forget_fate(r->head.pid); // execve kills the other threads, not the process
  leave_behind(r->head.pid, NEAR_FD); // directories are opened close-on-exec
  take_turn(r->head.pid);
  if (r->head.pid == config.ignore_pid) return 0;
  __u32 filename = 0;
  field(ctx, config.exec_filename, filename);
  field(ctx, config.exec_old_pid, r->old_tid);
  long n = bpf_probe_read_kernel_str(r->path, PATH_BYTES, (char *)ctx + (filename & 0xffff));
  if (n < 0) n = 0;
  r->path_len = n;
  send(ctx, r, __builtin_offsetof(struct exec_record, path) + (n & (2 * PATH_BYTES - 1)), LOSS_EXEC);
  return 0;
}
