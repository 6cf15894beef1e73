/* The plugin: loading it, and what it says of itself. */
#include <ctype.h>
#include <dlfcn.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

struct nbdkit_plugin plugin;
bool verbose, stdio_safe = true;

static void *object;
static uint64_t own_size;
static atomic_int model = SERIALIZE_CONNECTIONS;

static const char *const model_names[] = {
  "serialize_connections", "serialize_all_requests", "serialize_requests", "parallel"};

enum thread_model thread_model(void) {
  return model;
}

void restrict_thread_model(int stricter) {
  if (stricter < (int)model) model = stricter < 0 ? 0 : stricter;
}

const char *thread_model_name(enum thread_model which) {
  return model_names[which];
}

static bool is_name(const char *name) {
  if (!isalnum((unsigned char)*name)) return false;
  for (; *name; name++)
    if (!isalnum((unsigned char)*name) && *name != '-') return false;
  return true;
}

/* Nothing works without these. */
static bool check_members(const char *file) {
  const char *missing = NULL;
  if (!plugin.pread && !plugin.pread_v1) missing = "pread";
  if (!plugin.get_size) missing = "get_size";
  if (!plugin.open) missing = "open";
  if (!plugin.name)
    nbdkit_error("%s: plugin must have a .name field", file);
  else if (!is_name(plugin.name))
    nbdkit_error("%s: plugin.name ('%s') must have only letters, digits and dashes in it", file,
                 plugin.name);
  else if (missing)
    nbdkit_error("%s: plugin must have a .%s callback", file, missing);
  return plugin.name && is_name(plugin.name) && !missing;
}

/* In the other version's slots there is nothing to call, whatever is in them. */
static void clear_other_version(void) {
  if (plugin._api_version == 1) {
    plugin.pread = NULL;
    plugin.pwrite = NULL;
    plugin.flush = NULL;
    plugin.trim = NULL;
    plugin.zero = NULL;
  } else {
    plugin.pread_v1 = NULL;
    plugin.pwrite_v1 = NULL;
    plugin.flush_v1 = NULL;
    plugin.trim_v1 = NULL;
    plugin.zero_v1 = NULL;
  }
}

/* What a user may do where a file cannot be loaded. */
static const char *advice(const char *why, bool named) {
  if (strstr(why, "undefined symbol"))
    return "neither nbdkit nor a library that the plugin was linked with has it: link that library";
  if (strstr(why, "cannot open shared object file") && !named)
    return "the plugin needs this library: install it";
  return "the file is damaged, or for another system: copy or compile it again";
}

bool load_plugin(const char *file) {
  object = dlopen(file, RTLD_NOW);
  if (!object) {
    const char *why = dlerror();
    // Its message begins with the name too, mostly.
    bool named = strncmp(why, file, strlen(file)) == 0;
    nbdkit_error("%s%s%s: %s", named ? "" : file, named ? "" : ": ", why, advice(why, named));
    return false;
  }
  struct nbdkit_plugin *(*init)(void);
  // The way in which POSIX makes a function of what dlsym() gives.
  *(void **)&init = dlsym(object, "plugin_init");
  if (!init) {
    nbdkit_error("%s: it is no plugin: there is no plugin_init() in it: give a shared object that was "
                 "made for nbdkit", file);
    return false;
  }
  const struct nbdkit_plugin *theirs = init();
  if (!theirs) {
    nbdkit_error("%s: plugin registration function failed", file);
    return false;
  }
  if (theirs->_api_version < 1 || theirs->_api_version > 2) {
    nbdkit_error("%s: plugin is of API version %d, and only 1 and 2 are known", file,
                 theirs->_api_version);
    return false;
  }
  own_size = theirs->_struct_size;
  memcpy(&plugin, theirs, own_size < sizeof plugin ? own_size : sizeof plugin);
  clear_other_version();
  if (!check_members(file)) return false;
  model = PARALLEL;
  restrict_thread_model(plugin._thread_model);
  return true;
}

void set_debug_flag(const char *named) {
  size_t name_length = strlen(plugin.name);
  if (strncmp(named, plugin.name, name_length) != 0 || named[name_length] != '.') return;
  const char *flag = named + name_length + 1;
  const char *equals = strchr(flag, '=');
  int length = equals ? (int)(equals - flag) : (int)strlen(flag);
  struct text symbol = {0};
  text_print(&symbol, "%s_debug_%.*s", plugin.name, length, flag);
  for (char *at = symbol.at; *at; at++)
    if (*at == '.' || *at == '-') *at = '_';
  int *value = dlsym(object, symbol.at);
  free(symbol.at);
  if (value) {
    *value = equals ? atoi(equals + 1) : 1;
    return;
  }
  struct text warning = {0};
  text_print(&warning, "warning: debug flag -D %s.%.*s was not used", plugin.name, length, flag);
  send_line("log", warning.at);
  free(warning.at);
}

static void describe_word(struct text *text, const char *key, const char *value) {
  if (!value) return;
  text_print(text, "%s=", key);
  text_add_word(text, value);
  text_print(text, "\n");
}

/* Lines that say which members are set, in the order of the C nbdkit. */
static void describe_members(struct text *text) {
#define HAS(member) \
  if (plugin.member) text_print(text, "has_" #member "=1\n");
#define HAS_V1(member) \
  if (plugin.member##_v1) text_print(text, "has__" #member "_v1=1\n");
  HAS(longname) HAS(description) HAS(load) HAS(unload) HAS(dump_plugin) HAS(config)
  HAS(config_complete) HAS(config_help) HAS(thread_model) HAS(get_ready) HAS(after_fork)
  HAS(cleanup) HAS(preconnect) HAS(list_exports) HAS(default_export) HAS(open) HAS(close)
  HAS(export_description)
  HAS(get_size) HAS(block_size) HAS(can_write) HAS(can_flush) HAS(is_rotational) HAS(can_trim)
  HAS(can_zero) HAS(can_fast_zero) HAS(can_extents) HAS(can_fua) HAS(can_multi_conn) HAS(can_cache)
  HAS(pread) HAS(pwrite) HAS(flush) HAS(trim) HAS(zero) HAS(extents) HAS(cache)
  HAS_V1(pread) HAS_V1(pwrite) HAS_V1(flush) HAS_V1(trim) HAS_V1(zero)
#undef HAS
#undef HAS_V1
}

void describe_plugin(struct text *text) {
  describe_word(text, "name", plugin.name);
  describe_word(text, "version", plugin.version);
  describe_word(text, "longname", plugin.longname);
  describe_word(text, "description", plugin.description);
  text_print(text, "api_version=%d\n", plugin._api_version);
  text_print(text, "struct_size=%" PRIu64 "\n", own_size);
  text_print(text, "max_thread_model=%s\n", thread_model_name(model));
  text_print(text, "thread_model=%s\n", thread_model_name(model));
  text_print(text, "errno_is_preserved=%d\n", !!plugin.errno_is_preserved);
  describe_word(text, "magic_config_key", plugin.magic_config_key);
  describe_word(text, "config_help", plugin.config_help);
  describe_members(text);
  text_print(text, "methods=");
  list_methods(text);
  text_print(text, "\n");
}
