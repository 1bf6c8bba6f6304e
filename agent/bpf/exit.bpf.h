// process.exit: no tracepoint carries the exit status, so what decides it is remembered until the last thread is gone.
#pragma once
#include "inflight.bpf.h"
#include "tree.bpf.h"

static __always_inline int decide(enum exit_cause cause, __s32 value) {
  __u32 pid = bpf_get_current_pid_tgid() >> 32;
  struct fate *before = bpf_map_lookup_elem(&fates, &pid);
  if (before && before->cause == EXIT_THREAD) { // one thread's exit(2) gives way to the end of all
    before->value = value;
    before->cause = cause;
    return 0;
  }
  struct fate fate = {.cause = cause, .value = value};
  bpf_map_update_elem(&fates, &pid, &fate, BPF_NOEXIST); // the first to decide it is right
  return 0;
}

SEC("tracepoint/syscalls/sys_enter_exit_group")
int enter_exit_group(struct enter *ctx) { return decide(EXIT_GROUP, (__s32)ctx->args[0] & 0xff); }

SEC("tracepoint/syscalls/sys_enter_exit")
int enter_exit(struct enter *ctx) {
  __u64 id = bpf_get_current_pid_tgid();
  if (id >> 32 != (__u32)id) return 0; // wait(2) reports the leader's status
  return decide(EXIT_THREAD, (__s32)ctx->args[0] & 0xff);
}

// signal(7): ignored (CHLD, CONT, URG, WINCH) or stopping (STOP, TSTP, TTIN, TTOU) by default.
#define HARMLESS (1ULL << 17 | 1ULL << 18 | 1ULL << 23 | 1ULL << 28 | 1ULL << 19 | 1ULL << 20 | 1ULL << 21 | 1ULL << 22)
static __always_inline int ends(__u32 signal) { return signal > 0 && signal <= 64 && (signal == 64 || !(HARMLESS >> (signal & 63) & 1)); }

SEC("tracepoint/signal/signal_generate")
int signal_generate(void *ctx) {
  __u32 signal = 0, target = 0, result = 0;
  field(ctx, config.generate_sig, signal);
  if (!ends(signal)) return 0;
  field(ctx, config.generate_result, result);
  if (result != 0) return 0; // TRACE_SIGNAL_DELIVERED is 0; anything else was ignored, pending already or lost
  field(ctx, config.generate_pid, target);
  bpf_map_update_elem(&killers, &target, &signal, BPF_ANY);
  return 0;
}

SEC("tracepoint/signal/signal_deliver")
int signal_deliver(void *ctx) {
  __u32 signal = 0;
  __u64 handler = 0;
  field(ctx, config.deliver_sig, signal);
  field(ctx, config.deliver_handler, handler);
  if (handler != 0 || !ends(signal)) return 0;
  if (signal == 9) {
    __u64 id = bpf_get_current_pid_tgid();
    __u32 pid = id >> 32, tid = (__u32)id;
    __u32 *sent = bpf_map_lookup_elem(&killers, &pid);
    if (!sent) sent = bpf_map_lookup_elem(&killers, &tid);
    if (sent) signal = *sent;
  }
  return decide(EXIT_SIGNAL, signal);
}

SEC("tracepoint/sched/sched_process_exit")
int process_exit(void *ctx) {
  __u64 id = bpf_get_current_pid_tgid();
  __u32 pid = id >> 32, tid = (__u32)id;
  forget_call(tid);
  if (pid != tid) bpf_map_delete_elem(&killers, &tid);

  struct fate *fate = bpf_map_lookup_elem(&fates, &pid);
  __u32 maybe_alive = 0;
  if (config.exit_group_dead) {
    __u8 last = 0;
    field(ctx, config.exit_group_dead, last);
    if (!last) return 0;
  } else if (pid == tid) {
    if (!fate || fate->cause == EXIT_THREAD) {
      maybe_alive = 1;
      bpf_map_update_elem(&leaderless, &pid, &maybe_alive, BPF_ANY);
    }
  } else {
    if (!bpf_map_lookup_elem(&leaderless, &pid)) return 0;
    maybe_alive = 1;
  }

  struct exit_record *r = RESERVE(exit);
  if (r) {
    begin(&r->head, RECORD_EXIT);
    r->cause = fate ? fate->cause : EXIT_UNKNOWN;
    r->value = fate ? fate->value : -1;
    r->maybe_alive = maybe_alive;
    SUBMIT(ctx, r, LOSS_EXIT);
  } else {
    count_loss(LOSS_EXIT);
  }
  if (maybe_alive) return 0;
  bpf_map_delete_elem(&fates, &pid);
  bpf_map_delete_elem(&killers, &pid);
  forget_process(pid);
  return 0;
}
