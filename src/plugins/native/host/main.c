/* How the process begins: with nothing that could keep it alive without the server. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "host.h"

_Noreturn void malformed(const char *what, const char *line) {
  fprintf(stderr, "nbdkit-ts-host: %s: \"%.200s\"\n", what, line);
  abort();
}

void *allocate(void *old, size_t size) {
  void *memory = realloc(old, size ? size : 1);
  if (!memory) {
    fprintf(stderr, "nbdkit-ts-host: there is no memory for %zu bytes\n", size);
    abort();
  }
  return memory;
}

int64_t now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

/* However the server ends, this process does not stay behind. */
static void die_with_parent(void) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const char *server = getenv("NBDKIT_TS_PID");
  uint64_t pid;
  // It may have died before it was asked for: then another is our parent.
  if (server && read_number(server, &pid) && (pid_t)pid != getppid()) exit(1);
}

static void ignore(int signal) {
  (void)signal;
}

/*
 * A terminal signals all that it started: when to end is for the server to say. Handlers, and not
 * SIG_IGN, as programs that a plugin starts would inherit that.
 */
static void ignore_signals(void) {
  struct sigaction action = {.sa_handler = ignore, .sa_flags = SA_RESTART};
  static const int signals[] = {SIGINT, SIGTERM, SIGQUIT, SIGHUP};
  for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
    sigaction(signals[i], &action, NULL);
  // A plugin whose peer is gone hears of that from its write, as in nbdkit.
  signal(SIGPIPE, SIG_IGN);
}

int server_fd;

/* The variable says which it is. */
static bool find_server(void) {
  const char *said = getenv("NBDKIT_TS_FD");
  uint64_t number;
  if (!said || !read_number(said, &number) || number > INT_MAX) return false;
  server_fd = number;
  // It is not meant for programs that a plugin starts.
  unsetenv("NBDKIT_TS_FD");
  return fcntl(server_fd, F_SETFD, FD_CLOEXEC) == 0;
}

int main(void) {
  die_with_parent();
  ignore_signals();
  if (!find_server()) {
    fprintf(stderr, "nbdkit-ts-host: a server starts it, with a socket that NBDKIT_TS_FD names\n");
    return 1;
  }
  fcntl(server_fd, F_SETFL, fcntl(server_fd, F_GETFL) & ~O_NONBLOCK);
  // The bytes of a large read leave at once, as far as the system allows it.
  setsockopt(server_fd, SOL_SOCKET, SO_SNDBUF, &(int){1 << 20}, sizeof(int));
  work();
}
