// Does one thing many times, as fast as it can, one after another:
//   deeds exec COUNT PROGRAM   starts PROGRAM and waits for its end
//   deeds connect COUNT        connects to a listener of its own on 127.0.0.1
// Prints wall, user and system time in nanoseconds, those of children included, and for connect the port.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long long wall_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long ns_of(struct timeval time) { return time.tv_sec * 1000000000LL + time.tv_usec * 1000LL; }

static void add(struct rusage *sum, int who) {
  struct rusage used;
  getrusage(who, &used);
  timeradd(&sum->ru_utime, &used.ru_utime, &sum->ru_utime);
  timeradd(&sum->ru_stime, &used.ru_stime, &sum->ru_stime);
}

static int execs(long count, char *path) {
  char *program[] = {path, NULL}, *environment[] = {NULL};
  for (long at = 0; at < count; at++) {
    pid_t child;
    int status;
    if (posix_spawn(&child, path, NULL, NULL, program, environment) || waitpid(child, &status, 0) != child || status != 0) return 1;
  }
  return 0;
}

static int connects(long count, int listener, struct sockaddr_in *at) {
  struct linger at_once = {1, 0};
  for (long n = 0; n < count; n++) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)at, sizeof *at)) return 1;
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    // As servers do, asking who it is.
    int peer = accept4(listener, (struct sockaddr *)&from, &size, SOCK_CLOEXEC);
    // Reset instead of TIME_WAIT, or the ports would run out.
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    if (peer < 0 || close(fd) || close(peer)) return 1;
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  long count = atol(argv[2]);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t length = sizeof at;
  int listener = -1, connecting = strcmp(argv[1], "connect") == 0;
  if (connecting) {
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, 128) || getsockname(listener, (struct sockaddr *)&at, &length)) return 1;
  } else if (argc < 4) return 2;

  long long began = wall_ns();
  if (connecting ? connects(count, listener, &at) : execs(count, argv[3])) {
    perror(argv[1]);
    return 1;
  }
  long long took = wall_ns() - began;
  struct rusage used = {0};
  add(&used, RUSAGE_SELF);
  add(&used, RUSAGE_CHILDREN);
  printf("%lld %lld %lld %d\n", took, ns_of(used.ru_utime), ns_of(used.ru_stime), ntohs(at.sin_port));
  return 0;
}
