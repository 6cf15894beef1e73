/* The functions of a plugin that make strings: those that it need not free, and paths. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host.h"

EXPORT const char *nbdkit_strdup_intern(const char *str);
EXPORT const char *nbdkit_strndup_intern(const char *str, size_t n);
EXPORT const char *nbdkit_vprintf_intern(const char *format, va_list words);
EXPORT const char *nbdkit_printf_intern(const char *format, ...) PRINTF(1, 2);
EXPORT char *nbdkit_absolute_path(const char *path);
EXPORT char *nbdkit_realpath(const char *path);
EXPORT int nbdkit_stdio_safe(void);

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
