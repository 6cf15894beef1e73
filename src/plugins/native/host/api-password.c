/* Passwords: where a plugin reads them from (nbdkit_read_password(3)). */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "host.h"

EXPORT int nbdkit_read_password(const char *value, char **password);
int nbdkit_parse_int(const char *what, const char *str, int *r);

/* How often it is looked whether the server stops while a password is typed, in ms. */
enum { look_time = 50 };

/* The first line of a file, which is closed. */
static int read_first_line(FILE *file, const char *what, char **password) {
  size_t room = 0;
  errno = 0;
  ssize_t length = getline(password, &room, file);
  int error = errno;
  fclose(file);
  if (length < 0 && error != 0) {
    errno = error;
    nbdkit_error("could not read password from %s: %m", what);
    free(*password);
    *password = NULL;
    return -1;
  }
  // An empty file is an empty password.
  if (length < 0) {
    free(*password);
    *password = strdup("");
  } else if (length > 0 && (*password)[length - 1] == '\n') {
    (*password)[length - 1] = 0;
  }
  return 0;
}

static int read_password_file(const char *path, char **password) {
  FILE *file = fopen(path, "re");
  if (!file) {
    nbdkit_error("open %s: %m", path);
    return -1;
  }
  return read_first_line(file, path, password);
}

static int read_password_descriptor(const char *word, char **password) {
  int fd;
  if (nbdkit_parse_int("password file descriptor", word, &fd) == -1) return -1;
  if (fd >= 0 && fd <= STDERR_FILENO) {
    nbdkit_error("cannot use password -FD with stdin, stdout or stderr");
    return -1;
  }
  FILE *file = fd == server_fd ? NULL : fdopen(fd, "r");
  if (!file) {
    nbdkit_error("cannot open file descriptor %d for the password: it was not inherited: the process "
                 "that starts the server must leave it open for it", fd);
    return -1;
  }
  return read_first_line(file, "file descriptor", password);
}

/* Another process, which outlives this one, and then shows again what is typed. */
struct guardian {
  pid_t pid;
  /* Closed when this process ends, or has no more need of it. */
  int end;
};

/* However this process ends, the terminal is as it was: it may be killed with its server. */
static struct guardian guard_terminal(const struct termios *shown) {
  int ends[2], ready[2];
  char byte;
  struct guardian guardian = {-1, -1};
  if (pipe(ends) == -1) return guardian;
  if (pipe(ready) == -1) {
    close(ends[0]);
    close(ends[1]);
    return guardian;
  }
  guardian = (struct guardian){fork(), ends[1]};
  if (guardian.pid != 0) {
    close(ends[0]);
    close(ready[1]);
    // Until then it would be killed with the group.
    while (read(ready[0], &byte, 1) == -1 && errno == EINTR) continue;
    close(ready[0]);
    return guardian;
  }
  // Whoever kills the group of this process does not mean the terminal.
  setsid();
  close(ready[0]);
  close(ready[1]);
  close(ends[1]);
  close(server_fd);
  while (read(ends[0], &byte, 1) == -1 && errno == EINTR) continue;
  tcsetattr(STDIN_FILENO, TCSADRAIN, shown);
  _exit(0);
}

static void show_again(struct guardian guardian, const struct termios *shown) {
  if (guardian.end >= 0) close(guardian.end);
  if (guardian.pid > 0) waitpid(guardian.pid, NULL, 0);
  else tcsetattr(STDIN_FILENO, TCSADRAIN, shown);
}

/* Waits until a line has been typed; false where the server stops. */
static bool wait_for_line(void) {
  struct pollfd fds = {.fd = STDIN_FILENO, .events = POLLIN};
  while (poll(&fds, 1, look_time) <= 0)
    if (!sleep_until(now() + 1000000)) return false;
  return true;
}

/* It is not shown while it is typed. */
static int read_password_terminal(char **password) {
  if (!stdio_safe) {
    nbdkit_error("stdin is not available for reading password");
    return -1;
  }
  struct termios shown, hidden;
  if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &shown) == -1) {
    nbdkit_error("stdin is not a tty, cannot read password interactively");
    return -1;
  }
  hidden = shown;
  hidden.c_lflag &= ~(tcflag_t)ECHO;
  struct guardian guardian = guard_terminal(&shown);
  fprintf(stderr, "password: ");
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
  size_t room = 0;
  bool typed = wait_for_line();
  ssize_t length = typed ? getline(password, &room, stdin) : -1;
  show_again(guardian, &shown);
  fprintf(stderr, "\n");
  // An end of the input is an empty password, as an empty line is.
  if (length < 0 && typed && feof(stdin)) {
    free(*password);
    *password = strdup("");
    return 0;
  }
  if (length < 0) {
    nbdkit_error(typed ? "could not read password from stdin: %m" : "the server stops while a password is read");
    free(*password);
    *password = NULL;
    return -1;
  }
  if (length > 0 && (*password)[length - 1] == '\n') (*password)[length - 1] = 0;
  return 0;
}

int nbdkit_read_password(const char *value, char **password) {
  *password = NULL;
  if (strcmp(value, "-") == 0) return read_password_terminal(password);
  if (*value == '-') return read_password_descriptor(value + 1, password);
  if (*value == '+') return read_password_file(value + 1, password);
  *password = strdup(value);
  if (*password) return 0;
  nbdkit_error("strdup: %m");
  return -1;
}
