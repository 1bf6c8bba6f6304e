// What the kernel side hands to user space. Offsets are generated from this file's BTF into layout.gen.ts: never type one.
#pragma once
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#define MAX_ARGS 32
#define ARGS_BYTES 4096
#define PATH_BYTES 4096 // PATH_MAX: the kernel refuses anything longer.

enum record_kind {
  RECORD_FORK = 1,
  RECORD_ARGS = 2,
  RECORD_INTERPRETER = 3,
  RECORD_EXEC = 4,
  RECORD_EXIT = 5,
  RECORD_PATH = 6,
  RECORD_RESULT = 7,
  RECORD_CONNECT = 8,
  RECORD_LISTEN = 9,
  RECORD_CALL = 10,
  RECORD_ACCEPT = 11,
  RECORD_DNS = 12,
};

// What was lost when the ring was full. FILE and NET count calls, some of which user space would have filtered out.
enum loss {
  LOSS_EXEC = 0,
  LOSS_EXIT = 1,
  LOSS_FILE = 2,
  LOSS_NET = 3,
  LOSS_TREE = 4, // fork, chdir, or a script's interpreter: no event of its own, but later ones know less
  LOSS_ARGS = 5, // the exec is still reported, with arguments from /proc where it still runs
  LOSS_CALL = 6,
  LOSS_CPU = 7, // counted beside another: nobody listens on this CPU
  LOSS_NAME = 8, // a call on a path that could not be read, neither at its begin nor at its end: of interest or not
  LOSS_COUNT = 9,
};

// How a process may reach a watched path without naming it in full.
enum near {
  NEAR_CWD = 1, // its working directory is inside or above a watched prefix, or not known yet
  NEAR_FD = 2, // it opened a directory inside or above a watched prefix
  NEAR_MOVE = 256, // from here up: how often it went somewhere that the kernel side could not judge
};

enum watch_bits {
  WATCH_READ = 1,
  WATCH_WRITE = 2,
};

enum name_bits {
  NAME_FILE = 1, // last component of a watched prefix for reading
  NAME_DIR = 2, // last component of a directory inside or above a watched prefix
  NAME_WHOLE = 4, // full path of such a directory
};

struct record {
  __u64 boot_ns; // CLOCK_BOOTTIME
  __u64 cgroup; // id in the unified hierarchy
  enum record_kind kind;
  __u32 pid; // user space's pid: the thread group
  __u32 tid;
  __u32 uid; // in the initial user namespace
  char comm[16];
};

struct fork_record {
  struct record head;
  __u32 child;
  __u32 clone_flags;
};

struct args_record {
  struct record head;
  __u32 args_len;
  __u8 truncated; // more than MAX_ARGS or ARGS_BYTES
  __u8 faulted; // a page of the arguments was not resident: user space may try /proc
  char args[ARGS_BYTES * 2 + 2]; // half of it is room that lets the verifier see every copy fit
};

struct interpreter_record {
  struct record head;
  __u32 path_len;
  char path[PATH_BYTES];
};

struct exec_record {
  struct record head;
  __u32 old_tid; // the thread that called execve: it takes the leader's id
  __u32 path_len;
  char path[PATH_BYTES];
};

enum exit_cause {
  EXIT_UNKNOWN = 0,
  EXIT_GROUP = 1,
  EXIT_SIGNAL = 2,
  EXIT_THREAD = 3, // exit(2) by one thread: the process ends only when it was the last
};

struct exit_record {
  struct record head;
  enum exit_cause cause;
  __s32 value; // exit status or signal
  __u32 maybe_alive; // this kernel does not say which thread is the last: user space looks into /proc
};

enum path_op {
  PATH_OPEN = 1,
  PATH_DELETE = 2,
  PATH_RENAME = 3,
  PATH_LINK = 4,
  PATH_CHDIR = 5,
  PATH_FCHDIR = 6,
  PATH_DUP = 7, // of a directory's descriptor
  PATH_CHMOD = 8,
  PATH_FCHMOD = 9,
};

struct path_record {
  struct record head;
  enum path_op op;
  __s32 dir_fd;
  __u32 flags;
  __s32 to_dir_fd;
  __u32 path_len; // with its NUL
  __u32 to_len;
  __u32 watch_bits; // the longest-prefix key starts here and goes on into `text`
  char text[PATH_BYTES * 2]; // path, then the path it is renamed to
};

struct result_record {
  struct record head;
  __s64 value;
  __u32 near; // of the process, after a chdir
  __u32 op; // enum path_op or call_op
};

// Numbers apart from path_op and from the socket calls in net.bpf.h: all share inflight.op.
enum call_op {
  CALL_PTRACE = 201,
  CALL_MEMFD = 202,
  CALL_SETUID = 203,
  CALL_MODULE = 204,
  CALL_MODULE_NAME = 205, // of the module that this thread is loading
  CALL_BPF = 206,
  CALL_MOUNT = 207,
  CALL_FSOPEN = 208,
  CALL_FSCONFIG = 209,
  CALL_MOVE_MOUNT = 210,
  CALL_PRELOAD = 211, // of the execve this thread is in
  CALL_URING = 212, // `a`: what a ring is asked for (enum io_uring_op), or URING_SETUP
};

// Beside the numbers of ptrace(2).
#define REQUEST_VM_WRITE 0x10000
// Beside enum io_uring_op.
#define URING_SETUP 0x100

#define CALL_TEXT_BYTES 256
struct call_record {
  struct record head;
  enum call_op op;
  __u32 wants_result; // a result record follows
  __u64 a;
  __s64 b;
  char text[CALL_TEXT_BYTES];
  char second[CALL_TEXT_BYTES];
  char third[CALL_TEXT_BYTES];
};

struct accept_record {
  struct record head;
  __s32 fd; // that listens
  __s32 new_fd;
  __u32 family; // 0: the caller did not want to know
  __u32 port;
  __u8 addr[16];
};

#define DNS_BYTES 512
struct dns_record {
  struct record head;
  __u32 stream; // over TCP: two bytes of length come first
  __u32 written; // with write(2) or writev(2): the descriptor may be another's by now
  __u32 len;
  char payload[DNS_BYTES * 3]; // all but the first of it is room that lets the verifier see every copy fit
};

struct connect_record {
  struct record head;
  __s32 fd;
  __u32 datagram;
  __u32 family;
  __u32 port;
  __u8 addr[16];
};

struct listen_record {
  struct record head;
  __s32 fd;
  __u32 datagram;
  __u32 family; // 0: not bound that we saw
  __u32 port;
  __u8 addr[16];
};
