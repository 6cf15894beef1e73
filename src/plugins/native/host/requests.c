/* The methods of a handle: what a disk is, and the requests of its client. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

/* The words of a request: COUNT OFFSET FLAGS. */
struct range {
  uint32_t count;
  uint64_t offset;
  uint32_t flags;
};

static uint32_t read_flags(struct call *call) {
  static const struct {
    const char *name;
    enum request_flag flag;
  } known[] = {
    {"fua", FLAG_FUA},
    {"may_trim", FLAG_MAY_TRIM},
    {"fast", FLAG_FAST_ZERO},
    {"req_one", FLAG_REQ_ONE}};
  char *words = next_word(call);
  uint32_t flags = 0;
  while (words && *words) {
    const char *word = strsep(&words, ",");
    bool found = false;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
      if (strcmp(word, known[i].name) != 0) continue;
      flags |= known[i].flag;
      found = true;
    }
    if (!found) malformed("a flag that is not known", word);
  }
  return flags;
}

static struct range read_range(struct call *call) {
  uint64_t count = need_number(call);
  if (count > UINT32_MAX) malformed("a count of more than 32 bits", call->line);
  uint64_t offset = need_number(call);
  uint32_t flags = read_flags(call);
  // The numbers were read by functions that set it.
  errno = 0;
  return (struct range){count, offset, flags};
}

void answer_get_size(struct call *call) {
  int64_t size = plugin.get_size(call->client->handle);
  if (size < 0) {
    if (size < -1) nbdkit_error("get_size: the plugin answered %" PRId64, size);
    reply_error(call, failure(call));
    return;
  }
  call->client->size = size;
  struct text text = {0};
  text_print(&text, "%" PRId64, size);
  reply_text(call, &text);
}

void answer_block_size(struct call *call) {
  uint32_t minimum = 0, preferred = 0, maximum = 0;
  if (plugin.block_size(call->client->handle, &minimum, &preferred, &maximum) == -1) {
    reply_error(call, failure(call));
    return;
  }
  struct text text = {0};
  text_print(&text, "%" PRIu32 " %" PRIu32 " %" PRIu32, minimum, preferred, maximum);
  reply_text(call, &text);
}

void answer_export_description(struct call *call) {
  const char *description = plugin.export_description(call->client->handle);
  // No description is no failure.
  if (!description || strlen(description) > 4096) reply_missing(call);
  else reply_data(call, description, strlen(description));
}

/* The callback of a method that tells yes or no. */
static int (*boolean_callback(const char *name))(void *handle) {
  const struct {
    const char *name;
    int (*callback)(void *handle);
  } known[] = {
    {"can_write", plugin.can_write},
    {"can_flush", plugin.can_flush},
    {"is_rotational", plugin.is_rotational},
    {"can_trim", plugin.can_trim},
    {"can_zero", plugin.can_zero},
    {"can_extents", plugin.can_extents},
    {"can_multi_conn", plugin.can_multi_conn},
  };
  for (size_t i = 0; i < sizeof known / sizeof *known; i++)
    if (strcmp(known[i].name, name) == 0) return known[i].callback;
  abort();
}

void answer_boolean(struct call *call) {
  int answer = boolean_callback(call->method->name)(call->client->handle);
  if (answer == 0) reply_false(call);
  else reply_result(call, answer);
}

/* In version 1 there is no flag for it: such a request fails at once, which is fast. */
void answer_can_fast_zero(struct call *call) {
  int answer = plugin.can_fast_zero ? plugin.can_fast_zero(call->client->handle) : 1;
  if (answer == 0) reply_false(call);
  else reply_result(call, answer);
}

static void reply_support(struct call *call, int support) {
  static const char *const names[] = {"none", "emulate", "native"};
  if (support < SUPPORT_NONE || support > SUPPORT_NATIVE) {
    if (support != -1) nbdkit_error("%s: the plugin answered %d", call->method->name, support);
    reply_error(call, failure(call));
    return;
  }
  reply_data(call, names[support], strlen(names[support]));
}

/* In version 1 callbacks have no flags, and so it is flush() that makes writes permanent. */
void answer_can_fua(struct call *call) {
  int support = plugin.flush || plugin.flush_v1 ? SUPPORT_EMULATE : SUPPORT_NONE;
  if (plugin.can_fua) support = plugin.can_fua(call->client->handle);
  bool old = plugin._api_version == 1;
  reply_support(call, old && support > SUPPORT_EMULATE ? SUPPORT_EMULATE : support);
}

void answer_can_cache(struct call *call) {
  reply_support(call, plugin.can_cache(call->client->handle));
}

void answer_pread(struct call *call) {
  struct range range = read_range(call);
  void *handle = call->client->handle;
  void *buffer = take_zeroes(range.count);
  if (!buffer) {
    reply_error(call, ENOMEM);
    return;
  }
  errno = 0;
  int result = plugin.pread ? plugin.pread(handle, buffer, range.count, range.offset, range.flags)
                            : plugin.pread_v1(handle, buffer, range.count, range.offset);
  if (result == -1) reply_error(call, failure(call));
  else reply_data(call, buffer, range.count);
  give_buffer(buffer, range.count);
}

void answer_pwrite(struct call *call) {
  struct range range = read_range(call);
  void *handle = call->client->handle;
  const void *data = call->payload;
  reply_result(call, plugin.pwrite
                       ? plugin.pwrite(handle, data, range.count, range.offset, range.flags)
                       : plugin.pwrite_v1(handle, data, range.count, range.offset));
}

void answer_flush(struct call *call) {
  void *handle = call->client->handle;
  uint32_t flags = read_flags(call);
  reply_result(call, plugin.flush ? plugin.flush(handle, flags) : plugin.flush_v1(handle));
}

static int zero(void *handle, struct range range) {
  if (plugin.zero) return plugin.zero(handle, range.count, range.offset, range.flags);
  if (range.flags & FLAG_FAST_ZERO) {
    nbdkit_set_error(EOPNOTSUPP);
    return -1;
  }
  return plugin.zero_v1(handle, range.count, range.offset, (range.flags & FLAG_MAY_TRIM) != 0);
}

static int trim(void *handle, struct range range) {
  if (plugin.trim) return plugin.trim(handle, range.count, range.offset, range.flags);
  return plugin.trim_v1(handle, range.count, range.offset);
}

void answer_range(struct call *call) {
  struct range range = read_range(call);
  void *handle = call->client->handle;
  switch (*call->method->name) {
  case 'z':
    reply_result(call, zero(handle, range));
    break;
  case 't':
    reply_result(call, trim(handle, range));
    break;
  default:
    reply_result(call, plugin.cache(handle, range.count, range.offset, range.flags));
  }
}

void answer_extents(struct call *call) {
  struct range range = read_range(call);
  struct client *client = call->client;
  uint64_t end = range.offset + range.count;
  uint64_t size = client->size >= 0 && (uint64_t)client->size >= end ? (uint64_t)client->size : end;
  struct nbdkit_extents *extents = extents_new(range.offset, end, size);
  if (plugin.extents(client->handle, range.count, range.offset, range.flags, extents) == -1) {
    reply_error(call, failure(call));
  } else if (extents_empty(extents)) {
    nbdkit_error("extents: plugin must return at least one extent");
    reply_error(call, EINVAL);
  } else {
    struct text text = {0};
    extents_print(extents, &text);
    reply_text(call, &text);
  }
  nbdkit_extents_free(extents);
}
