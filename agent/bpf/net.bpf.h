// net.connect, net.listen and net.accept. A connect is reported when it is tried: most of interest is in those that fail or never answer.
#pragma once
#include "inflight.bpf.h"
#include <bpf/bpf_endian.h>

#define AF_INET 2
#define AF_INET6 10
#define SOCK_TYPE_MASK 0xf
#define SOCK_DGRAM 2

// Beside enum path_op in inflight.op.
#define CALL_SOCKET 101
#define CALL_BIND 102
#define CALL_LISTEN 103
#define CALL_ACCEPT 104
#define DNS_PORT 53
#define TCP_SYN_SENT 2
#define CANARY_PORT 9

struct socket {
  __u32 datagram;
  __u32 dns; // connected to a name server
  __u32 family; // 0 until bound
  __u32 port;
  __u8 addr[16];
};

// By process and descriptor. Sockets that were inherited, passed or made before the start are missing: user space asks /proc.
struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 8192);
  __type(key, __u64);
  __type(value, struct socket);
} sockets SEC(".maps");

// Processes that ever connected to a name server, by the lower bits of their number: what others write(2) is looked at no further.
#define ASKER_SLOTS 4096
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, ASKER_SLOTS);
  __type(key, __u32);
  __type(value, __u32);
} askers SEC(".maps");

static __always_inline __u32 *asker_slot(void) {
  __u32 slot = bpf_get_current_pid_tgid() >> 32 & (ASKER_SLOTS - 1);
  return bpf_map_lookup_elem(&askers, &slot);
}

// Where the connect(2) goes that a thread is in, or was in last: what its socket does then is told already.
struct target {
  __u32 family;
  __u32 port;
  union {
    __u8 addr[16];
    __u64 halves[2];
  };
};
// No address at all means this host.
static __always_inline int same_target(const struct target *called, const struct target *is) {
  if (called->family != is->family || called->port != is->port) return 0;
  return (called->halves[0] == is->halves[0] && called->halves[1] == is->halves[1]) || !(called->halves[0] | called->halves[1]);
}

struct {
  __uint(type, BPF_MAP_TYPE_LRU_HASH);
  __uint(max_entries, 4096);
  __type(key, __u32); // tid
  __type(value, struct target);
} connecting SEC(".maps");
// struct sockaddr_in and sockaddr_in6, RFC 3493.
struct address {
  __u16 family;
  __be16 port;
  union {
    __u8 v4[4];
    struct {
      __u32 flow;
      __u8 v6[16];
    };
  };
};

static __always_inline __u64 socket_key(__s32 fd) { return (bpf_get_current_pid_tgid() >> 32 << 32) | (__u32)fd; }

static __always_inline int read_address(struct address *to, const void *from, __u64 size) {
  if (bpf_probe_read_user(&to->family, 2, from)) return 0;
  if (to->family == AF_INET) return size >= 16 && !bpf_probe_read_user(to, 8, from);
  if (to->family == AF_INET6) return size >= 24 && !bpf_probe_read_user(to, 24, from);
  return 0;
}

static __always_inline void copy_address(__u8 *to, const struct address *from) {
  if (from->family == AF_INET) __builtin_memcpy(to, from->v4, 4);
  else __builtin_memcpy(to, from->v6, 16);
}

SEC("tracepoint/syscalls/sys_enter_socket")
int enter_socket(struct enter *ctx) {
  if (ignored() || (ctx->args[0] != AF_INET && ctx->args[0] != AF_INET6)) return 0;
  struct inflight now = {.op = CALL_SOCKET, .flags = (ctx->args[1] & SOCK_TYPE_MASK) == SOCK_DGRAM};
  begin_call(&now, LOSS_NET);
  return 0;
}

SEC("tracepoint/syscalls/sys_exit_socket")
int exit_socket(struct leave *ctx) {
  struct inflight now;
  if (!end_call(&now) || ctx->value < 0) return 0;
  __u64 key = socket_key(ctx->value);
  struct socket socket = {.datagram = now.flags};
  bpf_map_update_elem(&sockets, &key, &socket, BPF_ANY);
  return 0;
}

// By which the agent sees that it sees: to port 9 of its own loopback, where nothing is sent.
static __always_inline int is_canary(const struct address *to) {
  return to->family == AF_INET && to->v4[0] == 127 && to->port == bpf_htons(CANARY_PORT);
}

static __always_inline int send_connect(void *ctx, __s32 fd, __u32 datagram, const struct target *to) {
  struct connect_record *r = RESERVE(connect);
  if (!r) {
    count_loss(LOSS_NET);
    return 0;
  }
  begin(&r->head, RECORD_CONNECT);
  r->fd = fd;
  r->datagram = datagram;
  r->family = to->family;
  r->port = to->port;
  __builtin_memcpy(r->addr, to->addr, sizeof r->addr);
  SUBMIT(ctx, r, LOSS_NET);
  return 0;
}

SEC("tracepoint/syscalls/sys_enter_connect")
int enter_connect(struct enter *ctx) {
  struct address address = {};
  if (!read_address(&address, (const void *)ctx->args[1], ctx->args[2])) return 0;
  if (ignored() && !is_canary(&address)) return 0;
  __u64 key = socket_key(ctx->args[0]);
  struct socket *socket = bpf_map_lookup_elem(&sockets, &key);
  __u32 datagram = socket ? socket->datagram : 0;
  // getaddrinfo(3) connects datagram sockets to port 0 to learn its own address: nothing is sent.
  if (datagram && !address.port) return 0;
  if (bpf_ntohs(address.port) == DNS_PORT) {
    struct socket peer = {.datagram = datagram};
    if (socket) peer = *socket;
    peer.dns = 1;
    bpf_map_update_elem(&sockets, &key, &peer, BPF_ANY);
    __u32 *asker = asker_slot();
    if (asker) *asker = 1;
  }
  struct target target = {.family = address.family, .port = bpf_ntohs(address.port)};
  copy_address(target.addr, &address);
  __u32 tid = (__u32)bpf_get_current_pid_tgid();
  if (!datagram) bpf_map_update_elem(&connecting, &tid, &target, BPF_ANY);
  return send_connect(ctx, (__s32)ctx->args[0], datagram, &target);
}

// TCP connections by whatever else there is: a request of a ring (io_uring), sendto(2) with MSG_FASTOPEN, a system call of a 32-bit program, or one whose
// address another thread changed after it was read above. The socket begins to connect in the same thread, or in one that works for the process.
SEC("tracepoint/sock/inet_sock_set_state")
int sock_set_state(void *ctx) {
  __u32 state = 0;
  field(ctx, config.state_new, state);
  if (state != TCP_SYN_SENT || ignored()) return 0;
  __u32 tid = (__u32)bpf_get_current_pid_tgid();
  __u16 family = 0, port = 0;
  field(ctx, config.state_family, family);
  field(ctx, config.state_port, port);
  struct target target = {.family = family, .port = port};
  if (family == AF_INET) {
    bpf_probe_read_kernel(target.addr, 4, (const char *)ctx + config.state_v4);
  } else if (config.state_v6) {
    field(ctx, config.state_v6, target.addr);
  }
  struct target *called = bpf_map_lookup_elem(&connecting, &tid);
  int told = called && same_target(called, &target);
  if (called) bpf_map_delete_elem(&connecting, &tid);
  return told ? 0 : send_connect(ctx, -1, 0, &target);
}

static __always_inline int send_listen(void *ctx, __s32 fd, const struct socket *socket) {
  struct listen_record *r = RESERVE(listen);
  if (!r) {
    count_loss(LOSS_NET);
    return 0;
  }
  begin(&r->head, RECORD_LISTEN);
  r->fd = fd;
  r->datagram = socket ? socket->datagram : 0;
  r->family = socket ? socket->family : 0;
  r->port = socket ? socket->port : 0;
  __builtin_memset(r->addr, 0, sizeof r->addr);
  if (socket) __builtin_memcpy(r->addr, socket->addr, sizeof r->addr);
  SUBMIT(ctx, r, LOSS_NET);
  return 0;
}

SEC("tracepoint/syscalls/sys_enter_bind")
int enter_bind(struct enter *ctx) {
  if (ignored()) return 0;
  struct address address = {};
  if (!read_address(&address, (const void *)ctx->args[1], ctx->args[2])) return 0;
  struct inflight now = {.op = CALL_BIND, .fd = (__s32)ctx->args[0], .family = address.family, .port = bpf_ntohs(address.port)};
  copy_address(now.addr, &address);
  begin_call(&now, LOSS_NET);
  return 0;
}

SEC("tracepoint/syscalls/sys_exit_bind")
int exit_bind(struct leave *ctx) {
  struct inflight now;
  if (!end_call(&now) || ctx->value < 0) return 0;
  __u64 key = socket_key(now.fd);
  struct socket *before = bpf_map_lookup_elem(&sockets, &key);
  struct socket socket = {.datagram = before ? before->datagram : 0, .family = now.family, .port = now.port};
  __builtin_memcpy(socket.addr, now.addr, sizeof socket.addr);
  bpf_map_update_elem(&sockets, &key, &socket, BPF_ANY);
  // Datagram sockets never listen(2): a chosen port says that one serves.
  return socket.datagram && socket.port ? send_listen(ctx, now.fd, &socket) : 0;
}

SEC("tracepoint/syscalls/sys_enter_listen")
int enter_listen(struct enter *ctx) {
  if (ignored()) return 0;
  struct inflight now = {.op = CALL_LISTEN, .fd = (__s32)ctx->args[0]};
  begin_call(&now, LOSS_NET);
  return 0;
}

SEC("tracepoint/syscalls/sys_exit_listen")
int exit_listen(struct leave *ctx) {
  struct inflight now;
  if (!end_call(&now) || ctx->value < 0) return 0;
  __u64 key = socket_key(now.fd);
  return send_listen(ctx, now.fd, bpf_map_lookup_elem(&sockets, &key));
}

static __always_inline int begin_accept(struct enter *ctx) {
  if (ignored()) return 0;
  struct inflight now = {.op = CALL_ACCEPT, .fd = (__s32)ctx->args[0], .path = ctx->args[1]};
  begin_call(&now, LOSS_NET);
  return 0;
}

// What a caller does not ask for is not told here: user space looks into /proc.
static __always_inline int end_accept(struct leave *ctx) {
  struct inflight now;
  if (!end_call(&now) || ctx->value < 0) return 0;
  struct address peer = {};
  __u16 family = 0;
  if (now.path) {
    if (bpf_probe_read_user(&family, sizeof family, (const void *)now.path)) return 0;
    if (family != AF_INET && family != AF_INET6) return 0;
    if (!read_address(&peer, (const void *)now.path, sizeof peer)) return 0;
  }
  struct accept_record *r = RESERVE(accept);
  if (!r) {
    count_loss(LOSS_NET);
    return 0;
  }
  begin(&r->head, RECORD_ACCEPT);
  r->fd = now.fd;
  r->new_fd = (__s32)ctx->value;
  r->family = family;
  r->port = bpf_ntohs(peer.port);
  __builtin_memset(r->addr, 0, sizeof r->addr);
  if (family) copy_address(r->addr, &peer);
  SUBMIT(ctx, r, LOSS_NET);
  return 0;
}

SEC("tracepoint/syscalls/sys_enter_accept")
int enter_accept(struct enter *ctx) { return begin_accept(ctx); }
SEC("tracepoint/syscalls/sys_exit_accept")
int exit_accept(struct leave *ctx) { return end_accept(ctx); }
SEC("tracepoint/syscalls/sys_enter_accept4")
int enter_accept4(struct enter *ctx) { return begin_accept(ctx); }
SEC("tracepoint/syscalls/sys_exit_accept4")
int exit_accept4(struct leave *ctx) { return end_accept(ctx); }
