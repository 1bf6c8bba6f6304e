// net.dns: what is sent to port 53, decoded by user space. Encrypted queries (DoT, DoH) look like any other connection, and a resolver asked through
// a UNIX socket (nss-resolve) is seen only when it asks the network itself. Go's resolver writes with write(2), glibc's over TCP with writev(2).
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

// Appends to what is in the record already. False when nothing more fits, or can be read.
static __always_inline int add_piece(struct dns_record *r, struct piece *piece) {
  __u64 at = r->len, len = piece->len;
  if (at >= DNS_BYTES) return 0;
  if (len > DNS_BYTES - at) len = DNS_BYTES - at;
  if (bpf_probe_read_user(&r->payload[at & (DNS_BYTES - 1)], len & (2 * DNS_BYTES - 1), (const void *)piece->base)) return 0;
  r->len = at + len;
  return 1;
}

static __always_inline int send_question(void *ctx, struct dns_record *r, __s32 fd, __u32 written) {
  __u32 len = r->len;
  if (len < 12) return 0; // less than a header
  begin(&r->head, RECORD_DNS);
  __u64 key = socket_key(fd);
  struct socket *socket = bpf_map_lookup_elem(&sockets, &key);
  r->stream = socket && !socket->datagram;
  r->written = written;
  send(ctx, r, __builtin_offsetof(struct dns_record, payload) + (len & (2 * DNS_BYTES - 1)), LOSS_NET);
  return 0;
}

static __noinline int send_dns(void *ctx, __s32 fd, __u64 payload, __u64 size, __u32 written) {
  struct scratch *s = scratch_of_cpu();
  if (!s) return 0;
  struct piece piece = {.base = payload, .len = size};
  s->dns.len = 0;
  return add_piece(&s->dns, &piece) ? send_question(ctx, &s->dns, fd, written) : 0;
}

// Header and question, or the length and both, may come in pieces.
#define PIECES 4
static __noinline int send_pieces(void *ctx, __s32 fd, __u64 at, __u64 count, __u32 written) {
  struct scratch *s = scratch_of_cpu();
  if (!s) return 0;
  s->dns.len = 0;
  for (__u64 i = 0; i < PIECES && i < count; i++) {
    struct piece piece = {};
    if (bpf_probe_read_user(&piece, sizeof piece, (const void *)(at + i * sizeof piece)) || !add_piece(&s->dns, &piece)) break;
  }
  return send_question(ctx, &s->dns, fd, written);
}

static __noinline int send_message(void *ctx, __s32 fd, __u64 at) {
  struct message message = {};
  if (bpf_probe_read_user(&message, sizeof message, (const void *)at)) return 0;
  return to_name_server(fd, message.name, (__u32)message.name_len) ? send_pieces(ctx, fd, message.iov, message.iov_len, 0) : 0;
}

SEC("tracepoint/syscalls/sys_enter_sendto")
int enter_sendto(struct enter *ctx) {
  __s32 fd = (__s32)ctx->args[0];
  if (!to_name_server(fd, ctx->args[4], (__u32)ctx->args[5]) || ignored()) return 0;
  return send_dns(ctx, fd, ctx->args[1], ctx->args[2], 0);
}

// One of the most frequent calls there are: nearly all processes are through here after one look.
static __always_inline int may_ask(__s32 fd) {
  __u32 *asker = asker_slot();
  return asker && *asker && to_name_server(fd, 0, 0) && !ignored();
}

SEC("tracepoint/syscalls/sys_enter_write")
int enter_write(struct enter *ctx) {
  __s32 fd = (__s32)ctx->args[0];
  return may_ask(fd) ? send_dns(ctx, fd, ctx->args[1], ctx->args[2], 1) : 0;
}

SEC("tracepoint/syscalls/sys_enter_writev")
int enter_writev(struct enter *ctx) {
  __s32 fd = (__s32)ctx->args[0];
  return may_ask(fd) ? send_pieces(ctx, fd, ctx->args[1], ctx->args[2], 1) : 0;
}

SEC("tracepoint/syscalls/sys_enter_sendmsg")
int enter_sendmsg(struct enter *ctx) { return ignored() ? 0 : send_message(ctx, (__s32)ctx->args[0], ctx->args[1]); }

// The C library asks for both kinds of address at once.
SEC("tracepoint/syscalls/sys_enter_sendmmsg")
int enter_sendmmsg(struct enter *ctx) {
  if (ignored()) return 0;
  send_message(ctx, (__s32)ctx->args[0], ctx->args[1]);
  if (ctx->args[2] > 1) send_message(ctx, (__s32)ctx->args[0], ctx->args[1] + MMSGHDR_BYTES);
  return 0;
}
