/* The functions of a plugin that make strings: those that it need not free, paths, passwords. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "host.h"

EXPORT const char *nbdkit_strdup_intern(const char *str);
EXPORT const char *nbdkit_strndup_intern(const char *str, size_t n);
EXPORT const char *nbdkit_vprintf_intern(const char *format, va_list words);
EXPORT const char *nbdkit_printf_intern(const char *format, ...) PRINTF(1, 2);
EXPORT char *nbdkit_absolute_path(const char *path);
EXPORT char *nbdkit_realpath(const char *path);
EXPORT int nbdkit_stdio_safe(void);
EXPORT int nbdkit_read_password(const char *value, char **password);
int nbdkit_parse_int(const char *what, const char *str, int *r);

const char *nbdkit_strndup_intern(const char *str, size_t n) {
  if (str) return intern(str, strnlen(str, n));
  nbdkit_error("nbdkit_strndup_intern: no string given");
  errno = EINVAL;
  return NULL;
}

const char *nbdkit_strdup_intern(const char *str) {
  return nbdkit_strndup_intern(str, PTRDIFF_MAX);
}

const char *nbdkit_vprintf_intern(const char *format, va_list words) {
  char *printed;
  int length = vasprintf(&printed, format, words);
  if (length < 0) {
    nbdkit_error("vasprintf: %m");
    return NULL;
  }
  const char *copy = intern(printed, length);
  free(printed);
  return copy;
}

const char *nbdkit_printf_intern(const char *format, ...) {
  va_list words;
  va_start(words, format);
  const char *copy = nbdkit_vprintf_intern(format, words);
  va_end(words);
  return copy;
}

char *nbdkit_absolute_path(const char *path) {
  if (!path || !*path) {
    nbdkit_error("cannot convert null or empty path to an absolute path");
    errno = EINVAL;
    return NULL;
  }
  char *directory = *path == '/' ? NULL : getcwd(NULL, 0);
  char *absolute = NULL;
  if (*path == '/') absolute = strdup(path);
  else if (directory && asprintf(&absolute, "%s/%s", directory, path) < 0) absolute = NULL;
  if (!absolute) nbdkit_error("nbdkit_absolute_path: %s: %m", path);
  free(directory);
  return absolute;
}

char *nbdkit_realpath(const char *path) {
  if (!path || !*path) {
    nbdkit_error("cannot resolve a null or empty path");
    errno = EINVAL;
    return NULL;
  }
  char *real = realpath(path, NULL);
  if (!real) nbdkit_error("realpath: %s: %m", path);
  return real;
}

int nbdkit_stdio_safe(void) {
  return stdio_safe;
}

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
    nbdkit_error("cannot open file descriptor %d for the password: %s", fd, strerror(EBADF));
    return -1;
  }
  return read_first_line(file, "file descriptor", password);
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
  fprintf(stderr, "password: ");
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden);
  size_t room = 0;
  ssize_t length = getline(password, &room, stdin);
  tcsetattr(STDIN_FILENO, TCSAFLUSH, &shown);
  fprintf(stderr, "\n");
  if (length < 0) {
    nbdkit_error("could not read password from stdin: %m");
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
