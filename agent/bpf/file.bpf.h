// file.*, and chdir for the tree: the path at the start of the call, its result at the end, as two records that user space joins by thread.
#pragma once
#include "inflight.bpf.h"
#include "watch.bpf.h"

#define O_ACCMODE 3
#define O_CREAT 0100
#define O_TRUNC 01000
#define O_PATH 010000000
#define O_NONBLOCK 04000
#define F_DUPFD 0
#define F_DUPFD_CLOEXEC 1030
#define AT_REMOVEDIR 0x200

static __always_inline __u32 loss_of(__u32 op) { return op >= PATH_CHDIR && op <= PATH_DUP ? LOSS_TREE : LOSS_FILE; }

// Set-user-id and set-group-id: of interest wherever it happens.
#define SETS_ID 06000

static __always_inline enum intent intent_of(__u32 op, __u32 flags) {
  if (op != PATH_OPEN) return INTENT_WRITE;
  if (flags & (O_PATH | config.o_directory)) return INTENT_DIR;
  if (flags & (O_ACCMODE | O_CREAT | O_TRUNC)) return INTENT_WRITE;
  return flags & O_NONBLOCK ? INTENT_DIR : INTENT_READ; // tar opens directories like this
}

// Reads the paths of a call into `r`. Negative when a page is not resident.
static __always_inline long read_paths(struct scratch *s, __u64 path, __u64 to) {
  struct path_record *r = &s->path;
  long n = bpf_probe_read_user_str(r->text, PATH_BYTES, (const void *)path);
  if (n <= 0) return -1;
  // What an earlier, longer path left behind must not be looked at.
  *(__u64 *)&r->text[(n - 1) & (PATH_BYTES - 1)] = 0;
  r->path_len = n;
  r->to_len = 0;
  if (!to) return n;
  long m = bpf_probe_read_user_str(s->to, PATH_BYTES, (const void *)to);
  if (m <= 0) return -1;
  *(__u64 *)&s->to[(m - 1) & (PATH_BYTES - 1)] = 0;
  r->to_len = m;
  return n;
}

static __always_inline long send_paths(void *ctx, struct scratch *s, __u32 op, __s32 dir_fd, __s32 to_dir_fd, __u32 flags, __u64 to) {
  struct path_record *r = &s->path;
  begin(&r->head, RECORD_PATH);
  r->op = op;
  r->dir_fd = dir_fd;
  r->to_dir_fd = to_dir_fd;
  r->flags = flags;
  __u32 size = r->path_len & (2 * PATH_BYTES - 1);
  if (to) {
    __u32 room = r->to_len & (2 * PATH_BYTES - 1);
    if (room > PATH_BYTES) room = PATH_BYTES;
    bpf_probe_read_kernel(&r->text[size & (PATH_BYTES - 1)], room, s->to);
    size += room;
  }
  if (size > 2 * PATH_BYTES) size = 2 * PATH_BYTES;
  return send(ctx, r, __builtin_offsetof(struct path_record, text) + size, loss_of(op));
}

// 1: the directory is far from all watched prefixes for reading; it is absolute, and what it looks like.
static __always_inline int far(struct scratch *s) {
  if (s->path.text[0] != '/') return 0;
  scan_path(FIRST);
  if (!s->scan.ended || s->scan.odd || named(s->scan.whole, NAME_WHOLE)) return 0;
  return !(watched(key_of(s, FIRST)) & WATCH_READ);
}

static __noinline int enter_path(void *ctx, const struct call *call) {
  if (ignored()) return 0;
  struct scratch *s = scratch_of_cpu();
  if (!s) return 0;
  int is_far = 0, sent = 0;
  if (read_paths(s, call->path, call->to) > 0) {
    if (call->op == PATH_CHDIR) {
      is_far = far(s);
    } else {
      enum intent intent = intent_of(call->op, call->flags);
      int yes = of_interest(FIRST, call->dir_fd, intent);
      if (!yes && call->to) yes = of_interest(SECOND, call->to_dir_fd, intent);
      if (call->op == PATH_CHMOD && call->flags & SETS_ID) yes = 1;
      if (!yes) return 0;
    }
    // Lost and counted; but that a process moved must be known all the same.
    if (send_paths(ctx, s, call->op, call->dir_fd, call->to_dir_fd, call->flags, call->to) && call->op != PATH_CHDIR) return 0;
    sent = 1;
  }
  struct inflight now = {.op = call->op, .flags = call->flags, .fd = call->dir_fd, .to_fd = call->to_dir_fd, .path = call->path, .to = call->to};
  now.sent = sent;
  now.far = is_far;
  begin_call(&now, loss_of(call->op));
  return 0;
}

// Where the process can reach from now on. Returns its new `near`.
static __always_inline __u32 moved(__u32 pid, int is_far) {
  if (is_far) {
    leave_behind(pid, NEAR_CWD);
    return 0;
  }
  __u32 *near = bpf_map_lookup_elem(&nears, &pid);
  __u32 next = ((near ? *near : 0) | NEAR_CWD) + NEAR_MOVE;
  bpf_map_update_elem(&nears, &pid, &next, BPF_ANY);
  return next;
}

static __noinline int leave_path(struct leave *ctx) {
  struct inflight now;
  if (!end_call(&now)) return 0;

  __u32 pid = bpf_get_current_pid_tgid() >> 32;
  __u32 near = 0;
  if (ctx->value >= 0) {
    if (now.op == PATH_CHDIR || now.op == PATH_FCHDIR) near = moved(pid, now.far);
    if (now.op == PATH_OPEN && intent_of(PATH_OPEN, now.flags) == INTENT_DIR) come_near(pid, NEAR_FD);
  }
  if (!now.sent) {
    // The call itself has made the page resident, unless memory is so short that it has gone again. User space judges these few.
    struct scratch *s = scratch_of_cpu();
    if (!s || ctx->value < 0) return 0;
    if (read_paths(s, now.path, now.to) <= 0) {
      count_loss(loss_of(now.op) == LOSS_FILE ? LOSS_NAME : LOSS_TREE);
      return 0;
    }
    if (send_paths(ctx, s, now.op, now.fd, now.to_fd, now.flags, now.to)) return 0;
  }
  send_result(ctx, now.op, ctx->value, near, loss_of(now.op));
  return 0;
}

#define PATH_CALL(name, ...)                                     \
  SEC("tracepoint/syscalls/sys_enter_" #name)                    \
  int enter_##name(struct enter *ctx) {                          \
    struct call call = {__VA_ARGS__, 0};                            \
    return enter_path(ctx, &call);                                    \
  }                                                              \
  SEC("tracepoint/syscalls/sys_exit_" #name)                     \
  int exit_##name(struct leave *ctx) { return leave_path(ctx); }

#define ARG(n) ctx->args[n]
#define FD(n) (__s32) ctx->args[n]

// open, creat, rename, unlink, link and symlink exist on x86_64 only.
PATH_CALL(open, PATH_OPEN, AT_FDCWD, 0, (__u32)ARG(1), ARG(0), 0)
PATH_CALL(openat, PATH_OPEN, FD(0), 0, (__u32)ARG(2), ARG(1), 0)
PATH_CALL(creat, PATH_OPEN, AT_FDCWD, 0, 01 | O_CREAT | O_TRUNC, ARG(0), 0)
PATH_CALL(unlink, PATH_DELETE, AT_FDCWD, 0, 0, ARG(0), 0)
PATH_CALL(rename, PATH_RENAME, AT_FDCWD, AT_FDCWD, 0, ARG(0), ARG(1))
PATH_CALL(renameat, PATH_RENAME, FD(0), FD(2), 0, ARG(1), ARG(3))
PATH_CALL(renameat2, PATH_RENAME, FD(0), FD(2), 0, ARG(1), ARG(3))
PATH_CALL(link, PATH_LINK, AT_FDCWD, AT_FDCWD, 0, ARG(1), 0)
PATH_CALL(linkat, PATH_LINK, FD(2), 0, 0, ARG(3), 0)
PATH_CALL(symlink, PATH_LINK, AT_FDCWD, AT_FDCWD, 0, ARG(1), 0)
PATH_CALL(symlinkat, PATH_LINK, FD(1), 0, 0, ARG(2), 0)
// fchmodat2 is of Linux 6.6.
PATH_CALL(chmod, PATH_CHMOD, AT_FDCWD, 0, (__u32)ARG(1), ARG(0), 0)
PATH_CALL(fchmodat, PATH_CHMOD, FD(0), 0, (__u32)ARG(2), ARG(1), 0)
PATH_CALL(fchmodat2, PATH_CHMOD, FD(0), 0, (__u32)ARG(2), ARG(1), 0)
PATH_CALL(chdir, PATH_CHDIR, AT_FDCWD, 0, 0, ARG(0), 0)

SEC("tracepoint/syscalls/sys_enter_openat2")
int enter_openat2(struct enter *ctx) {
  __u64 flags = 0; // struct open_how begins with them
  bpf_probe_read_user(&flags, sizeof flags, (const void *)ctx->args[2]);
  struct call call = {PATH_OPEN, FD(0), 0, (__u32)flags, ARG(1), 0, 0};
  return enter_path(ctx, &call);
}
SEC("tracepoint/syscalls/sys_exit_openat2")
int exit_openat2(struct leave *ctx) { return leave_path(ctx); }

SEC("tracepoint/syscalls/sys_enter_unlinkat")
int enter_unlinkat(struct enter *ctx) {
  if (ctx->args[2] & AT_REMOVEDIR) return 0;
  struct call call = {PATH_DELETE, FD(0), 0, 0, ARG(1), 0};
  return enter_path(ctx, &call);
}
SEC("tracepoint/syscalls/sys_exit_unlinkat")
int exit_unlinkat(struct leave *ctx) { return leave_path(ctx); }

// Calls that take a descriptor only.
static __always_inline int enter_descriptor(void *ctx, __u32 op, __s32 fd, __u32 flags) {
  struct scratch *s = scratch_of_cpu();
  if (!s) return 0;
  s->path.path_len = 1;
  s->path.to_len = 0;
  s->path.text[0] = 0;
  send_paths(ctx, s, op, fd, 0, flags, 0);
  struct inflight now = {.op = op, .fd = fd, .sent = 1};
  begin_call(&now, loss_of(op));
  return 0;
}

SEC("tracepoint/syscalls/sys_enter_fchdir")
int enter_fchdir(struct enter *ctx) { return ignored() ? 0 : enter_descriptor(ctx, PATH_FCHDIR, FD(0), 0); }
SEC("tracepoint/syscalls/sys_exit_fchdir")
int exit_fchdir(struct leave *ctx) { return leave_path(ctx); }

// fts(3), and with it grep -r, rm -r and find, goes on with a duplicate of the directory it opened.
SEC("tracepoint/syscalls/sys_enter_fcntl")
int enter_fcntl(struct enter *ctx) {
  if (ctx->args[1] != F_DUPFD && ctx->args[1] != F_DUPFD_CLOEXEC) return 0;
  __u32 pid = bpf_get_current_pid_tgid() >> 32;
  __u32 *near = bpf_map_lookup_elem(&nears, &pid);
  if (!near || !(*near & NEAR_FD) || ignored()) return 0;
  return enter_descriptor(ctx, PATH_DUP, FD(0), 0);
}
SEC("tracepoint/syscalls/sys_exit_fcntl")
int exit_fcntl(struct leave *ctx) { return leave_path(ctx); }

// Where nothing can be said of the path, only what is of interest anywhere goes to user space, which asks /proc.
SEC("tracepoint/syscalls/sys_enter_fchmod")
int enter_fchmod(struct enter *ctx) {
  if (!(ctx->args[1] & SETS_ID) || ignored()) return 0;
  return enter_descriptor(ctx, PATH_FCHMOD, FD(0), (__u32)ctx->args[1]);
}
SEC("tracepoint/syscalls/sys_exit_fchmod")
int exit_fchmod(struct leave *ctx) { return leave_path(ctx); }
