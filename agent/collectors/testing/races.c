// Programs that start programs in ways that are hard to see right: races WAY [ARGUMENT...]. Started under a name that begins with "which-", it ends with that name's last byte.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static char *volatile shared;
static volatile int stop;

static void *flip(void *unused) {
  volatile char *last = shared + strlen(shared) - 1;
  while (!stop) *last = *last == 'a' ? 'b' : 'a';
  return unused;
}

// The path, which is argv[0] too, changes all the time between PATHa and PATHb while others are started from it. Tells which one each process found itself to be.
static int swap(char *path, int times) {
  pthread_t thread;
  shared = path;
  char *argv[] = {path, "swapped", 0};
  if (pthread_create(&thread, 0, flip, 0)) return 1;
  for (int time = 0; time < times; time++) {
    // The child shares this memory, the other thread runs on.
    int status, pid = vfork();
    if (pid == 0) {
      execve(path, argv, environ);
      _exit(1);
    }
    if (waitpid(pid, &status, 0) != pid) return 1;
    printf("%d %c\n", pid, WEXITSTATUS(status));
  }
  stop = 1;
  return pthread_join(thread, 0);
}

static struct sockaddr_in target;
static in_port_t ports[2];
static void *flip_port(void *unused) {
  for (int at = 0; !stop; at = !at) *(volatile in_port_t *)&target.sin_port = ports[at];
  return unused;
}

// Connects while the port changes all the time between two that are listened on. Tells where each connection really led.
static int connect_swapped(int one, int other, int times) {
  pthread_t thread;
  ports[0] = htons(one), ports[1] = htons(other);
  target.sin_family = AF_INET, target.sin_port = ports[0], target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (pthread_create(&thread, 0, flip_port, 0)) return 1;
  for (int time = 0; time < times; time++) {
    struct sockaddr_in peer;
    socklen_t size = sizeof peer;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&target, sizeof target) || getpeername(fd, (struct sockaddr *)&peer, &size)) return 1;
    printf("%d\n", ntohs(peer.sin_port));
    struct linger none = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(fd);
  }
  stop = 1;
  return pthread_join(thread, 0);
}

static void *exec_here(void *argv) {
  execv(((char **)argv)[0], argv);
  _exit(1);
}

static int thread_exec(char **argv) {
  pthread_t thread;
  if (pthread_create(&thread, 0, exec_here, argv)) return 1;
  for (;;) pause();
}

static int fork_only(int times) {
  for (int time = 0; time < times; time++) {
    int pid = fork();
    if (pid == 0) _exit(time % 100);
    if (waitpid(pid, 0, 0) != pid) return 1;
  }
  return 0;
}

static int storm(int workers, int each) {
  for (int worker = 0; worker < workers; worker++) {
    if (fork()) continue;
    for (int turn = 0; turn < each; turn++) {
      char number[16];
      snprintf(number, sizeof number, "%d", worker * each + turn);
      char *argv[] = {"true", "storm", number, 0};
      int pid = vfork();
      if (pid == 0) {
        execv("/bin/true", argv);
        _exit(1);
      }
      waitpid(pid, 0, 0);
    }
    _exit(0);
  }
  while (wait(0) > 0) continue;
  return 0;
}

static int no_arguments(const char *path) {
  char *none[] = {0};
  execve(path, none, environ);
  return 1;
}

// LD_PRELOAD as the environment's entry of this number, counted from 0.
static int preload_at(int place) {
  char *argv[] = {"/bin/true", "preload-at", 0}, *envp[128] = {0};
  if (place > 126) return 2;
  for (int entry = 0; entry < place; entry++) envp[entry] = "A_QUITE_LONG_NAME=value";
  envp[place] = "LD_PRELOAD=/nonexistent/pk.so";
  execve(argv[0], argv, envp);
  return 1;
}

// Runs a file by its descriptor, removed before if `gone`.
static int by_descriptor(char **argv, int gone) {
  int file = open(argv[0], O_RDONLY);
  if (file < 0 || (gone && unlink(argv[0]))) return 1;
  fexecve(file, argv, environ);
  return 1;
}

static volatile pid_t opener;

// Whether the page has a place in this process' tables: /proc/PID/pagemap, bit 63.
static int mapped(const void *page) {
  uint64_t entry = 0;
  int fd = open("/proc/self/pagemap", O_RDONLY);
  ssize_t size = pread(fd, &entry, sizeof entry, (uintptr_t)page / sysconf(_SC_PAGESIZE) * sizeof entry);
  close(fd);
  return size == sizeof entry && entry >> 63;
}

static char state_of(pid_t thread) {
  char path[64], stat[512];
  snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
  int fd = open(path, O_RDONLY);
  ssize_t size = read(fd, stat, sizeof stat - 1);
  close(fd);
  stat[size > 0 ? size : 0] = 0;
  char *name_end = strrchr(stat, ')');
  return name_end ? name_end[2] : 0;
}

static void *take_out(void *pipe) {
  // The kernel has read the name, and the call sleeps until somebody writes.
  for (int time = 0; time < 100000 && (!mapped(shared) || state_of(opener) != 'S'); time++) usleep(100);
  madvise(shared, sysconf(_SC_PAGESIZE), MADV_DONTNEED);
  close(open(pipe, O_WRONLY));
  return pipe;
}

// Opens a pipe by a name in the file `at` whose page is in memory neither when the call begins nor when it ends.
static int name_out_of_memory(const char *at, char *pipe) {
  int fd = open(at, O_RDONLY);
  pthread_t thread;
  opener = gettid();
  shared = mmap(0, sysconf(_SC_PAGESIZE), PROT_READ, MAP_PRIVATE, fd, 0);
  if (shared == MAP_FAILED || pthread_create(&thread, 0, take_out, pipe)) return 1;
  int opened = open(shared, O_RDONLY);
  return opened < 0 || pthread_join(thread, 0);
}

int main(int argc, char **argv) {
  char self[4096];
  ssize_t size = readlink("/proc/self/exe", self, sizeof self);
  if (size > 7 && !memcmp(self + size - 7, "which-", 6)) return self[size - 1];
  if (argc < 2) return 2;
  const char *way = argv[1];
  if (!strcmp(way, "swap")) return swap(argv[2], atoi(argv[3]));
  if (!strcmp(way, "connect-swapped")) return connect_swapped(atoi(argv[2]), atoi(argv[3]), atoi(argv[4]));
  if (!strcmp(way, "thread-exec")) return thread_exec(argv + 2);
  if (!strcmp(way, "fork-only")) return fork_only(atoi(argv[2]));
  if (!strcmp(way, "name-out-of-memory")) return name_out_of_memory(argv[2], argv[3]);
  if (!strcmp(way, "storm")) return storm(atoi(argv[2]), atoi(argv[3]));
  if (!strcmp(way, "no-arguments")) return no_arguments(argv[2]);
  if (!strcmp(way, "preload-at")) return preload_at(atoi(argv[2]));
  if (!strcmp(way, "descriptor")) return by_descriptor(argv + 2, 0);
  if (!strcmp(way, "gone")) return by_descriptor(argv + 2, 1);
  return 2;
}
