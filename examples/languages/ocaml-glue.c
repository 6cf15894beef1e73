/* What stands between the functions of disk.ml and the C interface of a plugin. */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>
#include <string.h>

#define CAML_NAME_SPACE
#include <caml/alloc.h>
#include <caml/callback.h>
#include <caml/memory.h>
#include <caml/mlvalues.h>

/* OCaml's functions run one at a time. */
#define THREAD_MODEL NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS

/* Headers before version 1.34 lack it. */
extern void nbdkit_disconnect (int force);

value
glue_shutdown (value unit)
{
  nbdkit_shutdown ();
  return unit;
}

value
glue_disconnect (value force)
{
  nbdkit_disconnect (Bool_val (force));
  return Val_unit;
}

static void
glue_load (void)
{
  static char name[] = "disk", *argv[] = { name, NULL };
  caml_startup (argv);
}

static void *
glue_open (int readonly)
{
  (void) readonly;
  return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t
glue_get_size (void *handle)
{
  (void) handle;
  return Long_val (caml_callback (*caml_named_value ("get_size"), Val_unit));
}

static int
glue_pread (void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  value bytes = caml_callback2 (*caml_named_value ("pread"), Val_long (count), Val_long (offset));
  (void) handle;
  (void) flags;
  memcpy (buf, Bytes_val (bytes), count);
  return 0;
}

/* The exception carries the message. */
static int
glue_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  CAMLparam0 ();
  CAMLlocal2 (data, result);
  (void) handle;
  (void) flags;
  data = caml_alloc_initialized_string (count, buf);
  result = caml_callback2_exn (*caml_named_value ("pwrite"), data, Val_long (offset));
  if (!Is_exception_result (result))
    CAMLreturnT (int, 0);
  result = Extract_exception (result);
  nbdkit_error ("%s", String_val (Field (result, 1)));
  nbdkit_set_error (ESHUTDOWN);
  CAMLreturnT (int, -1);
}

static int
glue_flush (void *handle, uint32_t flags)
{
  (void) handle;
  (void) flags;
  return 0;
}

static struct nbdkit_plugin plugin = {
  .name = "disk",
  .load = glue_load,
  .open = glue_open,
  .get_size = glue_get_size,
  .pread = glue_pread,
  .pwrite = glue_pwrite,
  .flush = glue_flush,
};

NBDKIT_REGISTER_PLUGIN (plugin)
