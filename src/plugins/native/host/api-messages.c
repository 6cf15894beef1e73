/* The functions of a plugin that say something: errors, and what is of use to find one. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

EXPORT void nbdkit_verror(const char *format, va_list words);
EXPORT void nbdkit_vdebug(const char *format, va_list words);
EXPORT void nbdkit_debug_hexdump(const void *buf, size_t len, const char *prefix, uint64_t start);

/* In a call the last message is why it fails, if it does: those before are told at once. */
void nbdkit_verror(const char *format, va_list words) {
  int saved = errno;
  char *message;
  if (vasprintf(&message, format, words) < 0) message = NULL;
  struct call *call = current;
  if (!call) {
    send_line("log", message ? message : format);
    free(message);
  } else if (message) {
    if (call->message) send_line("log", call->message);
    free(call->message);
    call->message = message;
  }
  errno = saved;
}

EXPORT void nbdkit_error(const char *format, ...) {
  va_list words;
  va_start(words, format);
  nbdkit_verror(format, words);
  va_end(words);
}

void nbdkit_vdebug(const char *format, va_list words) {
  if (!verbose) return;
  int saved = errno;
  char *message;
  if (vasprintf(&message, format, words) >= 0) {
    send_line("debug", message);
    free(message);
  }
  errno = saved;
}

EXPORT void nbdkit_debug(const char *format, ...) {
  va_list words;
  va_start(words, format);
  nbdkit_vdebug(format, words);
  va_end(words);
}

EXPORT void nbdkit_set_error(int error) {
  if (current) current->error = error;
}

/* Sixteen bytes on a line, at addresses that are multiples of that. */
void nbdkit_debug_hexdump(const void *buf, size_t len, const char *prefix, uint64_t start) {
  const unsigned char *bytes = buf;
  if (!verbose) return;
  for (size_t at = 0; at < len;) {
    uint64_t address = (start + at) & ~UINT64_C(15);
    char hex[16 * 3 + 1] = "", plain[17] = "";
    for (unsigned column = 0; column < 16; column++) {
      bool here = at < len && address + column == start + at;
      unsigned char byte = here ? bytes[at++] : ' ';
      snprintf(hex + column * 3, 4, here ? "%02x " : "   ", byte);
      plain[column] = isprint(byte) ? byte : '.';
    }
    nbdkit_debug("%s%08" PRIx64 ": %s|%s|", prefix ? prefix : "", address, hex, plain);
  }
}
