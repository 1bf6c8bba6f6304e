// net.dns: what is sent to port 53, decoded by user space. Encrypted queries (DoT, DoH) look like any other connection, and a resolver asked through
// a UNIX socket (nss-resolve) is seen only when it asks the network itself. A query written with write(2) is not seen.
#pragma once
#include "net.bpf.h"

// struct msghdr and mmsghdr of 64-bit systems, as far as they matter.
struct message {
  __u64 name;
  __u64 name_len; // and padding
  __u64 iov;
  __u64 iov_len;
  __u64 rest[3];
};
struct piece {
  __u64 base;
  __u64 len;
};
#define MMSGHDR_BYTES 64

static __always_inline int to_name_server(__s32 fd, __u64 name, __u32 name_len) {
  if (name) {
    struct address to = {};
    return read_address(&to, (const void *)name, name_len) && bpf_ntohs(to.port) == DNS_PORT;
  }
  __u64 key = socket_key(fd);
  struct socket *socket = bpf_map_lookup_elem(&sockets, &key);
  return socket && socket->dns;
}

static __noinline int send_dns(__s32 fd, __u64 payload, __u64 len) {
  struct scratch *s = scratch_of_cpu();
  if (!s || len < 12) return 0; // less than a header
  struct dns_record *r = &s->dns;
  if (len > DNS_BYTES) len = DNS_BYTES;
  if (bpf_probe_read_user(r->payload, len & (2 * DNS_BYTES - 1), (const void *)payload)) return 0;
  begin(&r->head, RECORD_DNS);
  __u64 key = socket_key(fd);
  struct socket *socket = bpf_map_lookup_elem(&sockets, &key);
  r->stream = socket && !socket->datagram;
  r->len = len;
  send(r, __builtin_offsetof(struct dns_record, payload) + (len & (2 * DNS_BYTES - 1)), LOSS_NET);
  return 0;
}

static __noinline int send_message(__s32 fd, __u64 at) {
  struct message message = {};
  struct piece first = {};
  if (bpf_probe_read_user(&message, sizeof message, (const void *)at)) return 0;
  if (!to_name_server(fd, message.name, (__u32)message.name_len) || !message.iov_len) return 0;
  if (bpf_probe_read_user(&first, sizeof first, (const void *)message.iov)) return 0;
  return send_dns(fd, first.base, first.len);
}

SEC("tracepoint/syscalls/sys_enter_sendto")
int enter_sendto(struct enter *ctx) {
  __s32 fd = (__s32)ctx->args[0];
  if (!to_name_server(fd, ctx->args[4], (__u32)ctx->args[5]) || ignored()) return 0;
  return send_dns(fd, ctx->args[1], ctx->args[2]);
}

SEC("tracepoint/syscalls/sys_enter_sendmsg")
int enter_sendmsg(struct enter *ctx) { return ignored() ? 0 : send_message((__s32)ctx->args[0], ctx->args[1]); }

// The C library asks for both kinds of address at once.
SEC("tracepoint/syscalls/sys_enter_sendmmsg")
int enter_sendmmsg(struct enter *ctx) {
  if (ignored()) return 0;
  send_message((__s32)ctx->args[0], ctx->args[1]);
  if (ctx->args[2] > 1) send_message((__s32)ctx->args[0], ctx->args[1] + MMSGHDR_BYTES);
  return 0;
}
