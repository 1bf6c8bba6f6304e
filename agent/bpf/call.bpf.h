// Calls that are rare and telling: one record each as the call begins, and one with its result where only success counts.
#pragma once
#include "inflight.bpf.h"
#include "tree.bpf.h"

#define PTRACE_POKETEXT 4
#define PTRACE_POKEDATA 5
#define PTRACE_SETREGS 13
#define PTRACE_ATTACH 16
#define PTRACE_SEIZE 0x4206
#define PTRACE_SETREGSET 0x4205
#define BPF_CMD_PROG_LOAD 5
#define BPF_CMD_PROG_ATTACH 8
#define BPF_CMD_RAW_TRACEPOINT_OPEN 17
#define BPF_CMD_LINK_CREATE 28
#define FSCONFIG_SET_STRING 1
#define UNCHANGED 0xffffffffU

// What a process did to whom is told about once a minute: a debugger pokes a thousand times a second. But a number of a process comes back, the same
// process runs another program, and what it was refused as one user (real or effective: `turn` knows of both) is news when it does it as another.
struct told {
  __u32 pid;
  __u32 op;
  __u32 uid;
  __u32 minute;
  __u64 turn;
  __u64 a;
  __u64 b;
};
#define MINUTE_BITS 36 // of nanoseconds: 69 s
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 4096);
  __type(key, struct told);
  __type(value, __u32);
} tolds SEC(".maps");

static __always_inline int told_before(__u32 op, __u64 a, __u64 b) {
  struct told key = {.pid = bpf_get_current_pid_tgid() >> 32, .op = op, .a = a, .b = b};
  key.uid = (__u32)bpf_get_current_uid_gid();
  key.minute = now_ns() >> MINUTE_BITS;
  __u64 *turn = bpf_map_lookup_elem(&turns, &key.pid);
  if (turn) key.turn = *turn;
  if (bpf_map_lookup_elem(&tolds, &key)) return 1;
  __u32 one = 1;
  bpf_map_update_elem(&tolds, &key, &one, BPF_ANY);
  return 0;
}

static __always_inline void read_text(char *to, __u64 from) {
  // A page that is not resident leaves it empty.
  if (!from || bpf_probe_read_user_str(to, CALL_TEXT_BYTES, (const void *)from) <= 0) to[0] = 0;
}

static __noinline int enter_call(void *ctx, const struct call *call, __u32 op, __u64 wants_result) {
  struct scratch *s = scratch_of_cpu();
  if (!s) return 0;
  struct call_record *r = &s->call;
  begin(&r->head, RECORD_CALL);
  r->op = op;
  r->wants_result = wants_result;
  r->a = call->flags;
  r->b = (__s64)call->dir_fd;
  read_text(r->text, call->path);
  read_text(r->second, call->to);
  read_text(r->third, call->third);
  if (send(ctx, r, sizeof *r, LOSS_CALL) || !wants_result) return 0;
  struct inflight now = {.op = op, .sent = 1};
  begin_call(&now, LOSS_CALL);
  return 0;
}

static __noinline int leave_call(struct leave *ctx) {
  struct inflight now;
  if (!end_call(&now)) return 0;
  send_result(ctx, now.op, ctx->value, 0, LOSS_CALL);
  return 0;
}

#define CALL_END(name)                \
  SEC("tracepoint/syscalls/sys_exit_" #name) \
  int exit_##name(struct leave *ctx) { return leave_call(ctx); }

static __always_inline int traced(void *ctx, __u64 request, __u32 target) {
  if (ignored() || told_before(CALL_PTRACE, target, request)) return 0;
  struct call call = {.flags = (__u32)request, .dir_fd = (__s32)target};
  return enter_call(ctx, &call, CALL_PTRACE, 0);
}

SEC("tracepoint/syscalls/sys_enter_ptrace")
int enter_ptrace(struct enter *ctx) {
  __u64 request = ctx->args[0];
  if (request != PTRACE_ATTACH && request != PTRACE_SEIZE && request != PTRACE_POKETEXT && request != PTRACE_POKEDATA &&
      request != PTRACE_SETREGS && request != PTRACE_SETREGSET)
    return 0;
  return traced(ctx, request, (__u32)ctx->args[1]);
}

SEC("tracepoint/syscalls/sys_enter_process_vm_writev")
int enter_process_vm_writev(struct enter *ctx) { return traced(ctx, REQUEST_VM_WRITE, (__u32)ctx->args[0]); }

SEC("tracepoint/syscalls/sys_enter_memfd_create")
int enter_memfd_create(struct enter *ctx) {
  if (ignored()) return 0;
  struct call call = {.path = ctx->args[0]};
  return enter_call(ctx, &call, CALL_MEMFD, 1);
}
CALL_END(memfd_create)

static __always_inline int changes_uid(void *ctx, __u32 to) {
  take_turn(bpf_get_current_pid_tgid() >> 32);
  if (to == UNCHANGED || to == (__u32)bpf_get_current_uid_gid() || ignored()) return 0;
  struct call call = {.flags = to};
  return enter_call(ctx, &call, CALL_SETUID, 1);
}

SEC("tracepoint/syscalls/sys_enter_setuid")
int enter_setuid(struct enter *ctx) { return changes_uid(ctx, (__u32)ctx->args[0]); }
CALL_END(setuid)

// The effective one decides what a process may do.
SEC("tracepoint/syscalls/sys_enter_setreuid")
int enter_setreuid(struct enter *ctx) {
  __u32 real = (__u32)ctx->args[0], effective = (__u32)ctx->args[1];
  return changes_uid(ctx, effective == UNCHANGED ? real : effective);
}
CALL_END(setreuid)

SEC("tracepoint/syscalls/sys_enter_setresuid")
int enter_setresuid(struct enter *ctx) {
  __u32 real = (__u32)ctx->args[0], effective = (__u32)ctx->args[1];
  return changes_uid(ctx, effective == UNCHANGED ? real : effective);
}
CALL_END(setresuid)

SEC("tracepoint/syscalls/sys_enter_init_module")
int enter_init_module(struct enter *ctx) {
  struct call call = {.dir_fd = -1};
  return enter_call(ctx, &call, CALL_MODULE, 1);
}
CALL_END(init_module)

SEC("tracepoint/syscalls/sys_enter_finit_module")
int enter_finit_module(struct enter *ctx) {
  struct call call = {.dir_fd = (__s32)ctx->args[0]};
  return enter_call(ctx, &call, CALL_MODULE, 1);
}
CALL_END(finit_module)

// The name is inside the image: only this tells it, and only when the kernel took it.
SEC("tracepoint/module/module_load")
int module_load(void *ctx) {
  struct scratch *s = scratch_of_cpu();
  if (!s) return 0;
  __u32 name = 0;
  field(ctx, config.module_name, name);
  struct call_record *r = &s->call;
  begin(&r->head, RECORD_CALL);
  r->op = CALL_MODULE_NAME;
  r->wants_result = 0;
  r->a = r->b = 0;
  r->second[0] = r->third[0] = 0;
  if (bpf_probe_read_kernel_str(r->text, CALL_TEXT_BYTES, (char *)ctx + (name & 0xffff)) > 0) send(ctx, r, sizeof *r, LOSS_CALL);
  return 0;
}

SEC("tracepoint/syscalls/sys_enter_bpf")
int enter_bpf(struct enter *ctx) {
  __u64 cmd = ctx->args[0];
  if (cmd != BPF_CMD_PROG_LOAD && cmd != BPF_CMD_PROG_ATTACH && cmd != BPF_CMD_RAW_TRACEPOINT_OPEN && cmd != BPF_CMD_LINK_CREATE) return 0;
  if (ignored() || told_before(CALL_BPF, 0, cmd)) return 0;
  struct call call = {.flags = (__u32)cmd};
  return enter_call(ctx, &call, CALL_BPF, 0);
}

SEC("tracepoint/syscalls/sys_enter_mount")
int enter_mount(struct enter *ctx) {
  if (ignored()) return 0;
  struct call call = {.flags = (__u32)ctx->args[3], .path = ctx->args[0], .to = ctx->args[1], .third = ctx->args[2]};
  return enter_call(ctx, &call, CALL_MOUNT, 1);
}
CALL_END(mount)

// The newer way: fsopen names the type, fsconfig the source, move_mount the target. User space puts them together.
SEC("tracepoint/syscalls/sys_enter_fsopen")
int enter_fsopen(struct enter *ctx) {
  if (ignored()) return 0;
  struct call call = {.path = ctx->args[0]};
  return enter_call(ctx, &call, CALL_FSOPEN, 0);
}

SEC("tracepoint/syscalls/sys_enter_fsconfig")
int enter_fsconfig(struct enter *ctx) {
  if (ctx->args[1] != FSCONFIG_SET_STRING || ignored()) return 0;
  struct call call = {.path = ctx->args[2], .to = ctx->args[3]};
  return enter_call(ctx, &call, CALL_FSCONFIG, 0);
}

SEC("tracepoint/syscalls/sys_enter_move_mount")
int enter_move_mount(struct enter *ctx) {
  if (ignored()) return 0;
  struct call call = {.dir_fd = (__s32)ctx->args[2], .path = ctx->args[1], .to = ctx->args[3]};
  return enter_call(ctx, &call, CALL_MOVE_MOUNT, 1);
}
CALL_END(move_mount)
