/* The lists that a plugin fills: extents, and exports (nbdkit-plugin(3)). */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

enum {
  /* Both are more than anybody will look at. */
  extents_max = 1 << 20,
  exports_max = 10000,
  /* Of names and descriptions, in the NBD protocol. */
  string_max = 4096,
};

struct extent {
  uint64_t offset, length;
  uint32_t type;
};

struct nbdkit_extents {
  /* What was asked for, and where the disk ends. */
  uint64_t start, end, size;
  /* Where the next must begin, once there was one. */
  uint64_t next;
  bool begun;
  struct extent *at;
  size_t count, room;
};

struct nbdkit_exports {
  struct text text;
  size_t count;
};

struct nbdkit_extents *extents_new(uint64_t start, uint64_t end, uint64_t size) {
  struct nbdkit_extents *extents = allocate(NULL, sizeof *extents);
  *extents = (struct nbdkit_extents){.start = start, .end = end, .size = size};
  return extents;
}

EXPORT void nbdkit_extents_free(struct nbdkit_extents *extents) {
  if (extents) free(extents->at);
  free(extents);
}

static int refuse(int error) {
  nbdkit_set_error(error);
  errno = error;
  return -1;
}

/* Adds a run to what overlaps the request; one that begins behind its end is of no use. */
static void keep(struct nbdkit_extents *extents, uint64_t offset, uint64_t length, uint32_t type) {
  struct extent *last = extents->count > 0 ? &extents->at[extents->count - 1] : NULL;
  if (last && last->type == type) {
    last->length += length;
    return;
  }
  if (extents->count == extents_max) return;
  if (extents->count == extents->room) {
    extents->room = extents->room ? extents->room * 2 : 16;
    extents->at = allocate(extents->at, extents->room * sizeof *extents->at);
  }
  extents->at[extents->count++] = (struct extent){offset, length, type};
}

EXPORT int nbdkit_add_extent(struct nbdkit_extents *extents, uint64_t offset, uint64_t length,
                             uint32_t type);
int nbdkit_add_extent(struct nbdkit_extents *extents, uint64_t offset, uint64_t length,
                      uint32_t type) {
  if (length == 0) return 0;
  if (extents->begun && offset != extents->next) {
    nbdkit_error("nbdkit_add_extent: extents must be added in ascending order and must be "
                 "contiguous");
    return refuse(EINVAL);
  }
  uint64_t end = offset + length < offset ? UINT64_MAX : offset + length;
  extents->begun = true;
  extents->next = end;
  if (end <= extents->start || offset >= extents->end) return 0;
  if (extents->count == 0 && offset > extents->start) {
    nbdkit_error("nbdkit_add_extent: first extent must not be > start (%" PRIu64 ")",
                 extents->start);
    return refuse(EINVAL);
  }
  if (offset < extents->start) offset = extents->start;
  if (end > extents->size) end = extents->size;
  if (end > offset) keep(extents, offset, end - offset, type);
  return 0;
}

bool extents_empty(const struct nbdkit_extents *extents) {
  return extents->count == 0;
}

void extents_print(const struct nbdkit_extents *extents, struct text *text) {
  for (size_t i = 0; i < extents->count; i++) {
    const struct extent *extent = &extents->at[i];
    text_print(text, "%" PRIu64 " %" PRIu64 " %" PRIu32 "\n", extent->offset, extent->length,
               extent->type);
  }
}

struct nbdkit_exports *exports_new(void) {
  struct nbdkit_exports *exports = allocate(NULL, sizeof *exports);
  *exports = (struct nbdkit_exports){0};
  return exports;
}

EXPORT void nbdkit_exports_free(struct nbdkit_exports *exports) {
  if (exports) free(exports->text.at);
  free(exports);
}

/* Names and descriptions are lines of the answer: one in which a line ends cannot be told. */
static bool is_line(const char *string) {
  return !strchr(string, '\n');
}

EXPORT int nbdkit_add_export(struct nbdkit_exports *exports, const char *name,
                             const char *description) {
  if (!description || !is_line(description)) description = "";
  if (exports->count == exports_max) {
    nbdkit_error("nbdkit_add_export: too many exports");
    return refuse(EINVAL);
  }
  if (strlen(name) > string_max || strlen(description) > string_max) {
    nbdkit_error("nbdkit_add_export: export name or description is longer than %d bytes",
                 string_max);
    return refuse(EINVAL);
  }
  if (!is_line(name)) {
    nbdkit_error("nbdkit_add_export: export name has a newline in it");
    return refuse(EINVAL);
  }
  text_print(&exports->text, "%s\n%s\n", name, description);
  exports->count++;
  return 0;
}

void exports_print(const struct nbdkit_exports *exports, struct text *text) {
  text_print(text, "INTERLEAVED\n");
  if (exports->count > 0) text_add(text, exports->text.at, exports->text.length);
}
