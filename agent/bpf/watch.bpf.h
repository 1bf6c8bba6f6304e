// Decides in the kernel whether a path can be of interest. It may say yes too often (user space resolves the path and decides), never no too
// often: a path that is relative, or has "..", "." or "//" in it, is not taken for what it looks like.
//
// What plain tracepoints on system calls cannot see: a watched file reached through a symbolic or hard link elsewhere, through io_uring or
// open_by_handle_at, by a 32-bit program on a 64-bit kernel, or through a descriptor passed by another process.
#pragma once
#include "tree.bpf.h"

// Watched prefixes. User space puts into each value the bits of all shorter prefixes that cover it.
struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(max_entries, 16384);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, struct watch_key);
  __type(value, __u32);
} watch SEC(".maps");

// How watched prefixes begin: their first 5, 6, 8 or 12 bytes, whichever is the most they have, hashed. Most paths of a host are not among them, and need no walk through the trie.
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct starts);
} prefix_starts SEC(".maps");

// FNV-1a of a name or path. Two with the same hash cost one needless record.
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 65536);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, __u64);
  __type(value, __u32);
} names SEC(".maps");

enum intent {
  INTENT_READ = 0,
  INTENT_DIR = 1, // opens a directory, or a handle (O_PATH), that later calls can start from
  INTENT_WRITE = 2,
};

#define AT_FDCWD (-100)
#define SCAN_BYTES 256
#ifdef PERF
#define WALK_BYTES 96 // within the 1,000,000 steps that a verifier without functions of their own takes at most
#else
#define WALK_BYTES SCAN_BYTES
#endif
#define FNV_BASIS 0xcbf29ce484222325ULL
#define FNV_PRIME 0x100000001b3ULL

// 1 when `byte` is `c`, else 0, in arithmetic: the verifier then sees one state a byte, not a tree of them. The compiler must not see through it.
static __always_inline __u64 is(__u64 byte, __u64 c) {
  __u64 x = (byte ^ c) - 1;
  asm volatile("%0 >>= 63" : "+r"(x));
  return x;
}

// Which of the two paths in the scratch buffer.
#define FIRST 0
#define SECOND 1

static __always_inline struct watch_key *key_of(struct scratch *s, __u32 which) {
  return (struct watch_key *)(which == FIRST ? &s->path.watch_bits : &s->to_bits);
}

// Fills scratch.scan.
VERIFIED_ONCE int scan_path(__u32 which) {
  struct scratch *s = scratch_of_cpu();
  if (!s) return 0;
  const char *path = key_of(s, which)->path;
  __u64 name = FNV_BASIS, whole = FNV_BASIS, odd = 0, up = 0, slash = 0;
  // Dots since the component began; 3 when something else came.
  __u64 dots = 3 & -is((__u8)path[0], '/');
  s->scan.ended = 0;
  for (int i = 0; i < WALK_BYTES; i++) {
    __u64 c = (__u8)path[i];
    if (c == 0) {
      s->scan.ended = 1;
      break;
    }
    __u64 is_slash = is(c, '/'), is_dot = is(c, '.');
    __u64 other = dots & dots >> 1 & 1;
    odd |= is_slash & (other ^ 1);
    up |= is_slash & dots >> 1 & (dots ^ 1) & 1;
    slash |= is_slash;
    whole = (whole ^ c) * FNV_PRIME;
    name = ((name ^ c) * FNV_PRIME & (is_slash - 1)) | (FNV_BASIS & -is_slash);
    dots = (is_slash - 1) & (((dots + 1 - other) & -is_dot) | (3 & (is_dot - 1)));
  }
  __u64 other = dots & dots >> 1 & 1;
  s->scan.odd = odd | (other ^ 1);
  s->scan.up = up | (dots >> 1 & (dots ^ 1) & 1);
  s->scan.slash = slash;
  s->scan.name = name;
  s->scan.whole = whole;
  return 0;
}

#define BYTES(c) (0x0101010101010101ULL * (c))
#define HAS_ZERO(x) (((x) - BYTES(1)) & ~(x) & BYTES(0x80))

// True when "//" or "/." may be in the path, eight bytes at a time. Bytes after the end must be zero up to the next word.
static __always_inline int maybe_odd(const char *path) {
  for (int i = 0; i < SCAN_BYTES; i += 8) {
    __u64 a = *(const __u64 *)(path + i);
    __u64 b = *(const __u64 *)(path + i + 1);
    // '/' is '.' + 1: setting the lowest bit makes them one.
    __u64 pair = (a ^ BYTES('/')) | ((b | BYTES(1)) ^ BYTES('/'));
    if (HAS_ZERO(pair)) return 1;
    if (HAS_ZERO(a)) return 0;
  }
  return 1;
}

static __always_inline int has_start(const struct starts *starts, __u64 start) {
  __u64 bit = start * START_PRIME >> 48;
  return starts->bits[bit >> 3] >> (bit & 7) & 1;
}

static __always_inline int may_be_watched(const char *path) {
  __u32 zero = 0;
  const struct starts *starts = bpf_map_lookup_elem(&prefix_starts, &zero);
  if (!starts || starts->shorter) return 1;
  __u64 eight = *(const __u64 *)path;
  __u64 four = *(const __u32 *)(path + 8);
  return has_start(starts, eight & 0xffffffffffULL) || has_start(starts, eight & 0xffffffffffffULL) || has_start(starts, eight) ||
         has_start(starts, eight + four * START_PRIME);
}

static __always_inline __u32 watched(struct watch_key *key) {
  if (!may_be_watched(key->path)) return 0;
  key->bits = WATCH_BYTES * 8;
  __u32 *bits = bpf_map_lookup_elem(&watch, key);
  return bits ? *bits : 0;
}

static __always_inline int named(__u64 hash, __u32 bits) {
  __u32 *value = bpf_map_lookup_elem(&names, &hash);
  return value && *value & bits;
}

static __always_inline int relative_of_interest(__u32 which, __s32 dir_fd, __u32 intent) {
  // Writes are few enough for user space to resolve every relative one.
  if (intent == INTENT_WRITE) return 1;
  __u32 pid = bpf_get_current_pid_tgid() >> 32;
  __u32 *near = bpf_map_lookup_elem(&nears, &pid);
  if (near && *near & (dir_fd == AT_FDCWD ? NEAR_CWD : NEAR_FD)) return 1;
  struct scratch *s = scratch_of_cpu();
  if (!s) return 1;
  scan_path(which);
  if (!s->scan.ended || s->scan.up) return 1;
  if (dir_fd != AT_FDCWD && s->scan.slash) return 1;
  return named(s->scan.name, intent == INTENT_DIR ? NAME_FILE | NAME_DIR : NAME_FILE);
}

// The path is in the scratch buffer, 8 zero bytes behind it.
VERIFIED_ONCE int of_interest(__u32 which, __s32 dir_fd, __u32 intent) {
  struct scratch *s = scratch_of_cpu();
  if (!s) return 1;
  struct watch_key *key = key_of(s, which);
  const char *path = key->path;
  if (path[0] != '/') return relative_of_interest(which, dir_fd, intent);

  if (watched(key) & (intent == INTENT_READ ? WATCH_READ : WATCH_READ | WATCH_WRITE)) return 1;
  // /proc/PID/root and /proc/PID/cwd lead everywhere.
  int proc = *(const __u32 *)path == 0x6f72702f; // "/pro"
  if (proc && intent == INTENT_WRITE) return 1;
  if (!proc && intent != INTENT_DIR && !maybe_odd(path)) return 0;

  scan_path(which);
  if (!s->scan.ended || s->scan.odd) return 1;
  if (intent == INTENT_WRITE) return 0;
  if (named(s->scan.name, NAME_FILE)) return proc;
  return intent == INTENT_DIR && named(s->scan.whole, NAME_WHOLE);
}
