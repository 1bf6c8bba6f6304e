// What intruders do, done to nobody but ourselves: deeds DEED [ARGUMENT...]. Each prints nothing and ends with 0 when it could be tried.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static int child(void) {
  int pid = fork();
  if (pid == 0) {
    pause();
    _exit(0);
  }
  return pid;
}

static int end(int pid) {
  kill(pid, SIGKILL);
  return waitpid(pid, 0, 0) != pid;
}

static int attach(void) {
  int pid = child();
  if (ptrace(PTRACE_ATTACH, pid, 0, 0)) return 1;
  waitpid(pid, 0, 0);
  for (int again = 0; again < 100; again++) ptrace(PTRACE_POKEDATA, pid, 0, 0);
  return end(pid);
}

// The same process attaches to the same one a second time, as another program.
static int attach_again(const char *self) {
  int pid = child();
  if (ptrace(PTRACE_ATTACH, pid, 0, 0)) return 1;
  waitpid(pid, 0, 0);
  ptrace(PTRACE_DETACH, pid, 0, 0);
  char number[16];
  snprintf(number, sizeof number, "%d", pid);
  execl(self, self, "attach-to", number, (char *)0);
  return 1;
}

static int attach_to(int pid) {
  if (ptrace(PTRACE_ATTACH, pid, 0, 0)) return 1;
  waitpid(pid, 0, 0);
  return end(pid);
}

// As nobody by the effective user id, then as root; the real one is root's all the time.
static int bpf_as_root_again(void) {
  if (syscall(SYS_setresuid, -1, 65534, -1) || !syscall(SYS_bpf, 5, 0, 0)) return 1;
  if (syscall(SYS_setresuid, -1, 0, -1)) return 1;
  return syscall(SYS_bpf, 5, 0, 0) == 0;
}

static char shared[8];
static int inject(void) {
  int pid = child();
  struct iovec local = {"picket", 6}, remote = {shared, 6};
  if (process_vm_writev(pid, &local, 1, &remote, 1, 0) != 6) return 1;
  return end(pid);
}

static int fileless(const char *name) {
  int memory = memfd_create(name, MFD_CLOEXEC), program = open("/bin/true", O_RDONLY);
  struct stat stat;
  if (memory < 0 || fstat(program, &stat) || sendfile(memory, program, 0, stat.st_size) != stat.st_size) return 1;
  char *argv[] = {"harmless", 0}, *envp[] = {0};
  fexecve(memory, argv, envp);
  return 1;
}

static struct sockaddr_in loopback(int port) {
  struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port)};
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return to;
}

static int question(char *to, const char *name) {
  static const char head[12] = {1, 2, 1, 0, 0, 1}, tail[5] = {0, 0, 1, 0, 1};
  memcpy(to, head, 12);
  char *at = to + 12;
  for (const char *label = name; *label;) {
    size_t size = strcspn(label, ".");
    *at++ = size;
    memcpy(at, label, size);
    at += size;
    label += size + (label[size] == '.');
  }
  memcpy(at, tail, 5);
  return at + 5 - to;
}

// Each of the ways a resolver sends: with an address, as a message, as several.
static int ask(char **names) {
  struct sockaddr_in to = loopback(53);
  char first[512], second[512];
  int loose = socket(AF_INET, SOCK_DGRAM, 0);
  sendto(loose, first, question(first, names[0]), 0, (struct sockaddr *)&to, sizeof to);
  struct iovec one = {first, question(first, names[1])};
  struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &one, .msg_iovlen = 1};
  sendmsg(loose, &message, 0);
  int bound = socket(AF_INET, SOCK_DGRAM, 0);
  if (connect(bound, (struct sockaddr *)&to, sizeof to)) return 1;
  struct iovec both[] = {{first, question(first, names[2])}, {second, question(second, names[3])}};
  struct mmsghdr messages[] = {{.msg_hdr = {.msg_iov = &both[0], .msg_iovlen = 1}}, {.msg_hdr = {.msg_iov = &both[1], .msg_iovlen = 1}}};
  sendmmsg(bound, messages, 2, 0);
  return 0;
}

// Header and question apart; then over a descriptor that is connected, with write and with writev; and over TCP, with the length apart.
static int ask_in_pieces(char **names) {
  struct sockaddr_in to = loopback(53);
  char text[512];
  int loose = socket(AF_INET, SOCK_DGRAM, 0);
  int size = question(text, names[0]);
  struct iovec two[] = {{text, 12}, {text + 12, size - 12}};
  struct msghdr message = {.msg_name = &to, .msg_namelen = sizeof to, .msg_iov = two, .msg_iovlen = 2};
  sendmsg(loose, &message, 0);
  int bound = socket(AF_INET, SOCK_DGRAM, 0);
  if (connect(bound, (struct sockaddr *)&to, sizeof to)) return 1;
  size = question(text, names[1]);
  if (write(bound, text, size) < 0) return 1;
  return 0;
}

// Over TCP to whoever listens at port 53: as glibc does, with writev, and with the length in a call of its own. Then the descriptor becomes a file's.
static int ask_stream(char **names) {
  struct sockaddr_in to = loopback(53);
  char text[512], length[2];
  int stream = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(stream, (struct sockaddr *)&to, sizeof to)) return 1;
  int size = question(text, names[0]);
  length[0] = size >> 8, length[1] = size;
  struct iovec two[] = {{length, 2}, {text, size}};
  if (writev(stream, two, 2) < 0) return 1;
  size = question(text, names[1]);
  length[0] = size >> 8, length[1] = size;
  if (write(stream, length, 2) < 0 || write(stream, text, size) < 0) return 1;
  int file = open("/dev/null", O_WRONLY);
  if (dup2(file, stream) < 0) return 1;
  const char secret[] = "a\1\1a\1\2a\1a\1a\1\5token\3xyz\0secret text in a file";
  return write(stream, secret, sizeof secret) < 0;
}

// A ring by which a file is opened and a connection made, as no system call of that name; and a connect(2) between.
static int ring(const char *path, int port, unsigned flags) {
  struct io_uring_params params = {.flags = flags, .sq_thread_idle = 1000};
  int fd = syscall(SYS_io_uring_setup, 4, &params);
  if (fd < 0) return 3;
  char *queue = mmap(0, params.sq_off.array + params.sq_entries * 4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQ_RING);
  char *done = mmap(0, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_CQ_RING);
  struct io_uring_sqe *entries = mmap(0, params.sq_entries * sizeof *entries, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, IORING_OFF_SQES);
  if (queue == MAP_FAILED || done == MAP_FAILED || entries == MAP_FAILED) return 1;
  struct sockaddr_in to = loopback(port);
  int stream = socket(AF_INET, SOCK_STREAM, 0), other = socket(AF_INET, SOCK_STREAM, 0);
  struct io_uring_sqe open = {.opcode = IORING_OP_OPENAT, .fd = AT_FDCWD, .addr = (unsigned long)path, .open_flags = O_CREAT | O_WRONLY, .len = 0600};
  struct io_uring_sqe connects = {.opcode = IORING_OP_CONNECT, .fd = stream, .addr = (unsigned long)&to, .off = sizeof to};
  entries[0] = open;
  entries[1] = connects;
  unsigned *index = (unsigned *)(queue + params.sq_off.array), *tail = (unsigned *)(queue + params.sq_off.tail), *ended = (unsigned *)(done + params.cq_off.tail);
  index[0] = 0, index[1] = 1;
  __atomic_store_n(tail, 2, __ATOMIC_RELEASE);
  int wakes = flags & IORING_SETUP_SQPOLL ? IORING_ENTER_SQ_WAKEUP : 0;
  while (__atomic_load_n(ended, __ATOMIC_ACQUIRE) < 2)
    if (syscall(SYS_io_uring_enter, fd, 2, 2, IORING_ENTER_GETEVENTS | wakes, 0, 0) < 0) return 1;
  struct io_uring_cqe *results = (struct io_uring_cqe *)(done + params.cq_off.cqes);
  if (results[0].res < 0 || results[1].res < 0) return 1;
  return connect(other, (struct sockaddr *)&to, sizeof to);
}

// Connects without connect(2): with the first bytes that are sent.
static int fast_open(int port) {
  struct sockaddr_in to = loopback(port);
  return sendto(socket(AF_INET, SOCK_STREAM, 0), "x", 1, MSG_FASTOPEN, (struct sockaddr *)&to, sizeof to) < 0;
}

// By the system call of 32-bit programs, which every program on x86_64 may make.
static int connect_as_32_bit(int port) {
#ifdef __x86_64__
  struct sockaddr_in *to = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  *to = loopback(port);
  long result, fd = socket(AF_INET, SOCK_STREAM, 0);
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(362L), "b"(fd), "c"(to), "d"((long)sizeof *to) : "memory", "r8", "r9", "r10", "r11");
  return result < 0;
#else
  return port == 0;
#endif
}

// Accepts one connection asking who it is, and one without; its own name is what the connections come to.
static int serve(void) {
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in at = loopback(0);
  socklen_t size = sizeof at;
  if (bind(listener, (struct sockaddr *)&at, size) || listen(listener, 2) || getsockname(listener, (struct sockaddr *)&at, &size)) return 1;
  for (int asks = 0; asks < 2; asks++) {
    int client = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(client, (struct sockaddr *)&at, sizeof at)) return 1;
    struct sockaddr_in peer;
    size = sizeof peer;
    if (accept(listener, asks ? (struct sockaddr *)&peer : 0, asks ? &size : 0) < 0) return 1;
  }
  // Until it has been looked at.
  sleep(2);
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 2) return 2;
  const char *deed = argv[1];
  if (!strcmp(deed, "attach")) return attach();
  if (!strcmp(deed, "attach-again")) return attach_again(argv[0]);
  if (!strcmp(deed, "attach-to")) return attach_to(atoi(argv[2]));
  if (!strcmp(deed, "bpf-as-root-again")) return bpf_as_root_again();
  if (!strcmp(deed, "inject")) return inject();
  if (!strcmp(deed, "fileless")) return fileless(argv[2]);
  if (!strcmp(deed, "setuid")) return setuid(atoi(argv[2]));
  if (!strcmp(deed, "setresuid")) return syscall(SYS_setresuid, -1, atoi(argv[2]), -1);
  if (!strcmp(deed, "module")) return syscall(SYS_init_module, "no module", 9, "") == 0;
  if (!strcmp(deed, "module-file")) return syscall(SYS_finit_module, open(argv[2], O_RDONLY), "", 0) == 0;
  if (!strcmp(deed, "bpf")) return syscall(SYS_bpf, 5, argv, 0) == 0;
  if (!strcmp(deed, "fchmod")) return fchmod(open(argv[2], O_RDONLY), strtol(argv[3], 0, 8));
  if (!strcmp(deed, "ask")) return ask(argv + 2);
  if (!strcmp(deed, "ask-in-pieces")) return ask_in_pieces(argv + 2);
  if (!strcmp(deed, "ask-stream")) return ask_stream(argv + 2);
  if (!strcmp(deed, "ring")) return ring(argv[2], atoi(argv[3]), argv[4] ? IORING_SETUP_SQPOLL : 0);
  if (!strcmp(deed, "fast-open")) return fast_open(atoi(argv[2]));
  if (!strcmp(deed, "connect-as-32-bit")) return connect_as_32_bit(atoi(argv[2]));
  if (!strcmp(deed, "serve")) return serve();
  return 2;
}
