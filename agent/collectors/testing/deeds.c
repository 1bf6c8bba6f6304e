// What intruders do, done to nobody but ourselves: deeds DEED [ARGUMENT...]. Each prints nothing and ends with 0 when it could be tried.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
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
  if (!strcmp(deed, "inject")) return inject();
  if (!strcmp(deed, "fileless")) return fileless(argv[2]);
  if (!strcmp(deed, "setuid")) return setuid(atoi(argv[2]));
  if (!strcmp(deed, "setresuid")) return syscall(SYS_setresuid, -1, atoi(argv[2]), -1);
  if (!strcmp(deed, "module")) return syscall(SYS_init_module, "no module", 9, "") == 0;
  if (!strcmp(deed, "module-file")) return syscall(SYS_finit_module, open(argv[2], O_RDONLY), "", 0) == 0;
  if (!strcmp(deed, "bpf")) return syscall(SYS_bpf, 5, argv, 0) == 0;
  if (!strcmp(deed, "fchmod")) return fchmod(open(argv[2], O_RDONLY), strtol(argv[3], 0, 8));
  if (!strcmp(deed, "ask")) return ask(argv + 2);
  if (!strcmp(deed, "serve")) return serve();
  return 2;
}
