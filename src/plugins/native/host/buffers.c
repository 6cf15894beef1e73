/*
 * Memory for the bytes of requests. That of an earlier request is used again, as the kernel needs
 * long to give new pages to a process.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

enum {
  /* Smaller ones are what malloc() is good at. */
  smallest_bits = 15,
  largest_bits = 26,
  /* So much is kept for later. */
  kept_max = 64 << 20,
};

/* A buffer that is not in use: the list is kept in the buffers themselves. */
struct spare {
  struct spare *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct spare *spares[largest_bits + 1];
static size_t kept;

/* The power of two that it fits in, or 0 where it is not one of those that are kept. */
static unsigned bits_of(size_t length) {
  if (length <= (size_t)1 << smallest_bits || length > (size_t)1 << largest_bits) return 0;
  return 64 - __builtin_clzll(length - 1);
}

void *take_buffer(size_t length) {
  unsigned bits = bits_of(length);
  void *buffer = NULL;
  if (bits) {
    pthread_mutex_lock(&lock);
    struct spare *spare = spares[bits];
    if (spare) {
      spares[bits] = spare->next;
      kept -= (size_t)1 << bits;
    }
    pthread_mutex_unlock(&lock);
    buffer = spare;
  }
  if (!buffer) buffer = malloc(bits ? (size_t)1 << bits : length ? length : 1);
  return buffer;
}

/*
 * A plugin that does not fill its buffer must not give away what else was in this memory: bytes that
 * another client has written, for one.
 */
void *take_zeroes(size_t length) {
  void *buffer = take_buffer(length);
  if (buffer) memset(buffer, 0, length);
  return buffer;
}

void give_buffer(void *buffer, size_t length) {
  unsigned bits = bits_of(length);
  if (bits && buffer) {
    size_t size = (size_t)1 << bits;
    pthread_mutex_lock(&lock);
    if (kept + size <= kept_max) {
      struct spare *spare = buffer;
      spare->next = spares[bits];
      spares[bits] = spare;
      kept += size;
      buffer = NULL;
    }
    pthread_mutex_unlock(&lock);
  }
  free(buffer);
}
