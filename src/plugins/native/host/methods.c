/* The table of methods, and those that concern the plugin as a whole. */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "host.h"

_Thread_local struct call *current;

int failure(const struct call *call) {
  if (call->error != 0) return call->error;
  return plugin.errno_is_preserved && errno != 0 ? errno : EIO;
}

void reply_result(struct call *call, int result) {
  if (result == -1) reply_error(call, failure(call));
  else reply_ok(call);
}

static void answer_load(struct call *call) {
  const char *file = need_word(call);
  verbose = need_boolean(call);
  // -r: the plugin hears of it when a client comes.
  need_boolean(call);
  stdio_safe = need_boolean(call);
  if (!load_plugin(file)) {
    reply_error(call, EINVAL);
    return;
  }
  for (const char *flag = next_word(call); flag; flag = next_word(call))
    if (*flag) set_debug_flag(flag);
  if (plugin.load) plugin.load();
  struct text text = {0};
  describe_plugin(&text);
  reply_text(call, &text);
}

static void answer_config(struct call *call) {
  // Plugins may keep these for as long as they live.
  const char *key = need_word(call);
  key = intern(key, strlen(key));
  const char *value = need_word(call);
  reply_result(call, plugin.config(key, intern(value, strlen(value))));
}

static void answer_config_complete(struct call *call) {
  reply_result(call, plugin.config_complete());
}

static void answer_get_ready(struct call *call) {
  reply_result(call, plugin.get_ready());
}

static void answer_after_fork(struct call *call) {
  reply_result(call, plugin.after_fork());
}

static void answer_cleanup(struct call *call) {
  plugin.cleanup();
  reply_ok(call);
}

static void answer_unload(struct call *call) {
  plugin.unload();
  reply_ok(call);
}

static void answer_thread_model(struct call *call) {
  int model = plugin.thread_model ? plugin.thread_model() : (int)thread_model();
  if (model == -1) {
    reply_error(call, failure(call));
    return;
  }
  restrict_thread_model(model);
  struct text text = {0};
  text_print(&text, "%s", thread_model_name(thread_model()));
  reply_text(call, &text);
}

/* It prints to standard output: for that time, this is a file in memory. */
static void answer_dump_plugin(struct call *call) {
  fflush(stdout);
  int saved = dup(STDOUT_FILENO);
  int file = memfd_create("dump_plugin", MFD_CLOEXEC);
  if (file < 0 || dup2(file, STDOUT_FILENO) < 0) {
    nbdkit_error("dump_plugin: standard output cannot be caught: %m");
    reply_error(call, EIO);
    return;
  }
  plugin.dump_plugin();
  fflush(stdout);
  struct text text = {0};
  char bytes[4096];
  ssize_t got;
  for (off_t at = 0; (got = pread(file, bytes, sizeof bytes, at)) > 0; at += got)
    text_add(&text, bytes, got);
  if (saved >= 0) dup2(saved, STDOUT_FILENO);
  else close(STDOUT_FILENO);
  if (saved >= 0) close(saved);
  close(file);
  reply_text(call, &text);
}

/* A connection that has no handle, for the time of a call. */
static void begin_connection(struct call *call, struct client *client) {
  *client = (struct client){.export_name = "", .size = -1};
  client->readonly = need_boolean(call);
  call->client = client;
  start_serving();
}

static void end_connection(struct call *call) {
  free_interns(&call->client->interns);
  call->client = NULL;
}

static void answer_preconnect(struct call *call) {
  struct client client;
  begin_connection(call, &client);
  client.peer = need_word(call);
  errno = 0;
  int result = plugin.preconnect(client.readonly);
  reply_result(call, result);
  end_connection(call);
}

static void answer_list_exports(struct call *call) {
  struct client client;
  begin_connection(call, &client);
  client.tls = need_boolean(call);
  client.peer = need_word(call);
  struct nbdkit_exports *exports = exports_new();
  errno = 0;
  if (plugin.list_exports(client.readonly, client.tls, exports) == -1) {
    reply_error(call, failure(call));
  } else {
    struct text text = {0};
    exports_print(exports, &text);
    reply_text(call, &text);
  }
  nbdkit_exports_free(exports);
  end_connection(call);
}

static void answer_default_export(struct call *call) {
  struct client client;
  begin_connection(call, &client);
  client.tls = need_boolean(call);
  client.peer = need_word(call);
  const char *name = plugin.default_export(client.readonly, client.tls);
  if (!name || strlen(name) > 4096 || strchr(name, '\n')) {
    if (!call->message) nbdkit_error("the plugin has no default export");
    reply_error(call, EINVAL);
  } else {
    reply_data(call, name, strlen(name));
  }
  end_connection(call);
}

static void answer_open(struct call *call) {
  struct client opening;
  begin_connection(call, &opening);
  opening.export_name = need_word(call);
  opening.tls = need_boolean(call);
  opening.peer = need_word(call);
  // The plugin's open() may already give strings to the client.
  struct client *client = call->client = add_client(&opening);
  errno = 0;
  client->handle = plugin.open(client->readonly);
  if (!client->handle) {
    reply_error(call, failure(call));
    remove_client(client);
    return;
  }
  struct text text = {0};
  text_print(&text, "%" PRIu64, client->id);
  reply_text(call, &text);
}

static void answer_close(struct call *call) {
  if (plugin.close) plugin.close(call->client->handle);
  reply_ok(call);
  remove_client(call->client);
}

static void answer_unknown(struct call *call) {
  reply_missing(call);
}

/* Whether the plugin has what a method of the table needs. */
#define HAS(member) \
  static bool has_##member(void) { return plugin.member != NULL; }
#define HAS_EITHER(member) \
  static bool has_##member(void) { return plugin.member || plugin.member##_v1; }
HAS(config) HAS(config_complete) HAS(dump_plugin) HAS(thread_model) HAS(get_ready) HAS(after_fork)
HAS(preconnect) HAS(list_exports) HAS(default_export) HAS(open) HAS(export_description)
HAS(block_size) HAS(get_size) HAS(can_write) HAS(can_flush) HAS(is_rotational) HAS(can_trim)
HAS(can_zero) HAS(can_extents) HAS(can_multi_conn) HAS(can_cache) HAS(extents)
HAS(cache) HAS(cleanup) HAS(unload)
HAS_EITHER(pread) HAS_EITHER(pwrite) HAS_EITHER(flush) HAS_EITHER(trim) HAS_EITHER(zero)
#undef HAS
#undef HAS_EITHER

/* In version 1 flush() is all that there is, and it is known that it must do. */
static bool has_can_fua(void) {
  return plugin.can_fua || plugin._api_version == 1;
}

static bool has_can_fast_zero(void) {
  return plugin.can_fast_zero || plugin._api_version == 1;
}

static const struct method methods[] = {
  {"pread", answer_pread, .has = has_pread, .of_handle = true, .quick = true},
  {"pwrite", answer_pwrite, .has = has_pwrite, .of_handle = true, .quick = true},
  {"extents", answer_extents, .has = has_extents, .of_handle = true},
  {"flush", answer_flush, .has = has_flush, .of_handle = true},
  {"trim", answer_range, .has = has_trim, .of_handle = true},
  {"zero", answer_range, .has = has_zero, .of_handle = true},
  {"cache", answer_range, .has = has_cache, .of_handle = true},
  {"get_size", answer_get_size, .has = has_get_size, .of_handle = true},
  {"block_size", answer_block_size, .has = has_block_size, .of_handle = true},
  {"export_description", answer_export_description, .has = has_export_description,
   .of_handle = true},
  {"can_write", answer_boolean, .has = has_can_write, .of_handle = true},
  {"can_flush", answer_boolean, .has = has_can_flush, .of_handle = true},
  {"is_rotational", answer_boolean, .has = has_is_rotational, .of_handle = true},
  {"can_trim", answer_boolean, .has = has_can_trim, .of_handle = true},
  {"can_zero", answer_boolean, .has = has_can_zero, .of_handle = true},
  {"can_fast_zero", answer_can_fast_zero, .has = has_can_fast_zero, .of_handle = true},
  {"can_extents", answer_boolean, .has = has_can_extents, .of_handle = true},
  {"can_multi_conn", answer_boolean, .has = has_can_multi_conn, .of_handle = true},
  {"can_fua", answer_can_fua, .has = has_can_fua, .of_handle = true},
  {"can_cache", answer_can_cache, .has = has_can_cache, .of_handle = true},
  {"open", answer_open, .has = has_open, .of_connection = true},
  // Also where the plugin has none: the client is forgotten.
  {"close", answer_close, .has = has_open, .of_handle = true},
  {"preconnect", answer_preconnect, .has = has_preconnect, .of_connection = true},
  {"list_exports", answer_list_exports, .has = has_list_exports, .of_connection = true},
  {"default_export", answer_default_export, .has = has_default_export, .of_connection = true},
  {"load", answer_load, .has = NULL},
  {"config", answer_config, .has = has_config},
  {"config_complete", answer_config_complete, .has = has_config_complete},
  {"dump_plugin", answer_dump_plugin, .has = has_dump_plugin},
  {"thread_model", answer_thread_model, .has = has_thread_model},
  {"get_ready", answer_get_ready, .has = has_get_ready},
  {"after_fork", answer_after_fork, .has = has_after_fork},
  {"cleanup", answer_cleanup, .has = has_cleanup},
  {"unload", answer_unload, .has = has_unload},
};

enum { method_count = sizeof methods / sizeof *methods };

static const struct method unknown = {"unknown", answer_unknown, .has = NULL, .quick = true};

const struct method *find_method(const char *name) {
  for (size_t i = 0; i < method_count; i++)
    if (strcmp(methods[i].name, name) == 0) return &methods[i];
  return &unknown;
}

void list_methods(struct text *text) {
  const char *between = "";
  for (size_t i = 0; i < method_count; i++) {
    if (!methods[i].has || !methods[i].has()) continue;
    text_print(text, "%s%s", between, methods[i].name);
    between = ",";
  }
}

/* After nbdkit_disconnect() the next that the plugin hears of a client is its close(). */
static bool is_refused(const struct call *call) {
  return call->client && call->client->disconnected && call->method->answer != answer_close;
}

void answer_call(struct call *call) {
  const struct method *method = call->method;
  current = call;
  if (method->of_handle) {
    const char *word = need_word(call);
    uint64_t id;
    if (read_number(word, &id)) call->client = find_client(id);
    if (!call->client) malformed("a handle that is not open", word);
  }
  errno = 0;
  if (method->has && !method->has()) reply_missing(call);
  else if (is_refused(call)) reply_error(call, ESHUTDOWN);
  else method->answer(call);
  current = NULL;
  if (method->of_connection) remove_connecting(call);
  if (call->payload) give_buffer(call->payload, call->payload_length);
  free(call->message);
  free(call);
}
