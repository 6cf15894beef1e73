/* A disk in memory. What is written may be a word to the server: soft, force, refuse or shutdown.
 *
 *   cc -shared -fPIC -o disk.so disk.c
 *   nbdkit-ts ./disk.so
 */
#define NBDKIT_API_VERSION 2
#include <nbdkit-plugin.h>
#include <string.h>

#define THREAD_MODEL NBDKIT_THREAD_MODEL_SERIALIZE_ALL_REQUESTS

/* Headers before version 1.34 lack it. */
extern void nbdkit_disconnect (int force);

static char disk[1024 * 1024];

static void *
disk_open (int readonly)
{
  (void) readonly;
  return NBDKIT_HANDLE_NOT_NEEDED;
}

static int64_t
disk_get_size (void *handle)
{
  (void) handle;
  return sizeof disk;
}

static int
disk_pread (void *handle, void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  (void) handle;
  (void) flags;
  memcpy (buf, disk + offset, count);
  return 0;
}

static int
disk_flush (void *handle, uint32_t flags)
{
  (void) handle;
  (void) flags;
  return 0;
}

static int
says (const void *buf, uint32_t count, const char *word)
{
  return count >= strlen (word) && memcmp (buf, word, strlen (word)) == 0;
}

static int
disk_pwrite (void *handle, const void *buf, uint32_t count, uint64_t offset, uint32_t flags)
{
  (void) handle;
  (void) flags;
  if (says (buf, count, "shutdown"))
    nbdkit_shutdown ();
  else if (says (buf, count, "force"))
    nbdkit_disconnect (1);
  else if (says (buf, count, "soft"))
    nbdkit_disconnect (0);
  else if (says (buf, count, "refuse")) {
    nbdkit_disconnect (0);
    nbdkit_error ("the disk takes no more");
    nbdkit_set_error (ESHUTDOWN);
    return -1;
  }
  else
    memcpy (disk + offset, buf, count);
  return 0;
}

static struct nbdkit_plugin plugin = {
  .name = "disk",
  .open = disk_open,
  .get_size = disk_get_size,
  .pread = disk_pread,
  .pwrite = disk_pwrite,
  .flush = disk_flush,
};

NBDKIT_REGISTER_PLUGIN (plugin)
