/*
 * The binary interface of plugins: what a shared object that was compiled with nbdkit-plugin.h has
 * in it. New members are only ever added at the end, so that the size of a plugin's own struct says
 * which it has.
 */
#ifndef PLUGIN_ABI_H
#define PLUGIN_ABI_H

#include <stdint.h>

/* How many things a plugin may be asked at a time: the smaller, the stricter. */
enum thread_model {
  SERIALIZE_CONNECTIONS,
  SERIALIZE_ALL_REQUESTS,
  SERIALIZE_REQUESTS,
  PARALLEL,
};

enum request_flag {
  FLAG_MAY_TRIM = 1,
  FLAG_FUA = 2,
  FLAG_REQ_ONE = 4,
  FLAG_FAST_ZERO = 8,
};

/* What .can_fua and .can_cache answer. */
enum support { SUPPORT_NONE, SUPPORT_EMULATE, SUPPORT_NATIVE };

struct nbdkit_extents;
struct nbdkit_exports;

struct nbdkit_plugin {
  uint64_t _struct_size;
  int _api_version;
  int _thread_model;

  const char *name;
  const char *longname;
  const char *version;
  const char *description;

  void (*load)(void);
  void (*unload)(void);
  int (*config)(const char *key, const char *value);
  int (*config_complete)(void);
  const char *config_help;

  void *(*open)(int readonly);
  void (*close)(void *handle);
  int64_t (*get_size)(void *handle);
  int (*can_write)(void *handle);
  int (*can_flush)(void *handle);
  int (*is_rotational)(void *handle);
  int (*can_trim)(void *handle);

  /* Of API version 1, which knew no flags. */
  int (*pread_v1)(void *handle, void *buf, uint32_t count, uint64_t offset);
  int (*pwrite_v1)(void *handle, const void *buf, uint32_t count, uint64_t offset);
  int (*flush_v1)(void *handle);
  int (*trim_v1)(void *handle, uint32_t count, uint64_t offset);
  int (*zero_v1)(void *handle, uint32_t count, uint64_t offset, int may_trim);

  int errno_is_preserved;
  void (*dump_plugin)(void);
  int (*can_zero)(void *handle);
  int (*can_fua)(void *handle);

  /* Of API version 2. */
  int (*pread)(void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags);
  int (*pwrite)(void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags);
  int (*flush)(void *handle, uint32_t flags);
  int (*trim)(void *handle, uint32_t count, uint64_t offset, uint32_t flags);
  int (*zero)(void *handle, uint32_t count, uint64_t offset, uint32_t flags);

  const char *magic_config_key;
  int (*can_multi_conn)(void *handle);
  int (*can_extents)(void *handle);
  int (*extents)(void *handle, uint32_t count, uint64_t offset, uint32_t flags,
                 struct nbdkit_extents *extents);
  int (*can_cache)(void *handle);
  int (*cache)(void *handle, uint32_t count, uint64_t offset, uint32_t flags);
  int (*thread_model)(void);
  int (*can_fast_zero)(void *handle);
  int (*preconnect)(int readonly);
  int (*get_ready)(void);
  int (*after_fork)(void);
  int (*list_exports)(int readonly, int is_tls, struct nbdkit_exports *exports);
  const char *(*default_export)(int readonly, int is_tls);
  const char *(*export_description)(void *handle);
  void (*cleanup)(void);
  int (*block_size)(void *handle, uint32_t *minimum, uint32_t *preferred, uint32_t *maximum);
};

#endif
