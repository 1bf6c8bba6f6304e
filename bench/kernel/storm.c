// Opens files as fast as it can, then starts programs: storm OPENS EVERY PLAIN WATCHED EXECS PROGRAM
// Every EVERYth open (0: none) is of a file in the folder WATCHED, all others of files in PLAIN. Prints what the opens took: wall, user and
// system time in nanoseconds, then how many opens were of WATCHED.
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define FILES 64

static long long wall_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static long long ns_of(struct timeval time) { return time.tv_sec * 1000000000LL + time.tv_usec * 1000LL; }

int main(int argc, char **argv) {
  if (argc != 7) return 2;
  long opens = atol(argv[1]), every = atol(argv[2]), execs = atol(argv[5]), watched = 0;
  static char paths[2][FILES][256];
  for (int folder = 0; folder < 2; folder++)
    for (int file = 0; file < FILES; file++) snprintf(paths[folder][file], sizeof paths[0][0], "%s/%d", argv[3 + folder], file);

  struct rusage before, after;
  getrusage(RUSAGE_SELF, &before);
  long long began = wall_ns();
  for (long at = 0; at < opens; at++) {
    int folder = every > 0 && at % every == 0;
    int fd = open(paths[folder][at % FILES], O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      perror(paths[folder][at % FILES]);
      return 1;
    }
    close(fd);
    watched += folder;
  }
  long long took = wall_ns() - began;
  getrusage(RUSAGE_SELF, &after);

  char *program[] = {argv[6], NULL};
  char *environment[] = {NULL};
  for (long at = 0; at < execs; at++) {
    pid_t child;
    if (posix_spawn(&child, argv[6], NULL, NULL, program, environment)) return 1;
    waitpid(child, NULL, 0);
  }
  printf("%lld %lld %lld %ld\n", took, ns_of(after.ru_utime) - ns_of(before.ru_utime), ns_of(after.ru_stime) - ns_of(before.ru_stime), watched);
  return 0;
}
