/*
 * The host: a program that loads a plugin, and calls it for the server at the other end of
 * a descriptor (docs/coprocess.md).
 *
 *   main.c      how the process begins
 *   work.c      threads: who reads, who calls the plugin, who sleeps
 *   input.c     what the server sends, as calls
 *   output.c    what is sent to the server, in order
 *   words.c     words and texts
 *   buffers.c   memory for the bytes of requests
 *   plugin.c    the plugin: loading it, and what it says of itself
 *   methods.c   the table of methods, and those that concern the plugin as a whole
 *   requests.c  the methods of a handle
 *   clients.c   clients, by their handles
 *   lists.c     lists of extents and of exports
 *   api-*.c     the functions that a plugin may call
 */
#ifndef HOST_H
#define HOST_H

#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plugin-abi.h"

#define EXPORT __attribute__((visibility("default")))
#define PRINTF(text, first) __attribute__((__format__(printf, text, first)))

struct call;

/* Strings that live as long as their owner. */
struct intern {
  struct intern *next;
  char text[];
};

/* A client, from `open` to `close`; one without a handle, where there is only a connection. */
struct client {
  struct client *next;
  uint64_t id;
  void *handle;
  /* What get_size answered: nothing is known of what is behind it. */
  int64_t size;
  const char *export_name;
  const char *peer;
  bool readonly;
  bool tls;
  /* The server told that the client is gone. */
  atomic_bool dropped;
  /* The plugin wants it to be gone. */
  atomic_bool disconnected;
  struct intern *interns;
};

struct method {
  const char *name;
  void (*answer)(struct call *call);
  /* Whether the plugin has it: those that are always answered have none. */
  bool (*has)(void);
  /* It concerns a handle, which is its first word. */
  bool of_handle;
  /* It is usually done in no time: answers may wait for it, and leave with its own. */
  bool quick;
  /* It concerns a client that has no handle yet. */
  bool of_connection;
};

/* A line of the server. */
struct call {
  struct call *next;
  uint64_t tag;
  const struct method *method;
  /* The client that it concerns, if any. */
  struct client *client;
  /* The server told that nobody waits for the answer any more. */
  atomic_bool abandoned;
  /* In the list of those that may be abandoned (clients.c). */
  struct call *next_connecting;
  /* What the plugin said last, if it said something: the call may fail because of that. */
  char *message;
  /* Of nbdkit_set_error(). */
  int error;
  /* The words that have not been taken, or NULL. */
  char *rest;
  /* The bytes behind a line of `pwrite`. */
  void *payload;
  size_t payload_length;
  char line[];
};

struct call_list {
  struct call *first;
  struct call **end;
};

/* A text that grows. */
struct text {
  char *at;
  size_t length;
  size_t room;
};

/* main.c */

/* The descriptor of the socket to the server. */
extern int server_fd;

/* Ends the process where the server sends what makes no sense: that is a bug of ours. */
_Noreturn void malformed(const char *what, const char *line);
/* As malloc() and realloc(), but there is always memory, or no process. */
void *allocate(void *old, size_t size);
/* What the time is, in nanoseconds of a clock that only goes forward. */
int64_t now(void);

/* words.c */

/* The next word of a call, as it was before it became one; NULL behind the last. */
char *next_word(struct call *call);
/* The next word, which must be there. */
char *need_word(struct call *call);
/* The next word, which must be a number. */
uint64_t need_number(struct call *call);
/* The next word, which must be `true` or `false`. */
bool need_boolean(struct call *call);
/* The number in a text; false where it is none. */
bool read_number(const char *text, uint64_t *number);
/* Appends what is printed. */
void text_print(struct text *text, const char *format, ...) PRINTF(2, 3);
/* Appends bytes. */
void text_add(struct text *text, const char *bytes, size_t length);
/* Appends a string as one word. */
void text_add_word(struct text *text, const char *word);

/* buffers.c */

/* Memory for the bytes of a request, perhaps that of an earlier one: its content is undefined. */
void *take_buffer(size_t length);
/* The same, but all zeroes. */
void *take_zeroes(size_t length);
/* Gives it back. */
void give_buffer(void *buffer, size_t length);

/* input.c */

/* Appends the calls that the server has sent, and waits for some until the deadline, or for ever
 * where it is negative. False: there will be no more. */
bool read_calls(struct call_list *calls, int64_t deadline);

/* output.c */

/* Answers, each of which ends a call. */
void reply_ok(struct call *call);
void reply_data(struct call *call, const void *data, size_t length);
void reply_text(struct call *call, struct text *text);
void reply_false(struct call *call);
void reply_missing(struct call *call);
void reply_error(struct call *call, int error);
/* Sends a line that is no answer, now. */
void send_line(const char *kind, const char *text);
/* Sends the answers that wait for others. */
void send_replies(void);

/* work.c */

/* Calls what is called, until the server has nothing more to say. It does not return. */
_Noreturn void work(void);
/* From now on several threads may call the plugin, where its model allows that. */
void start_serving(void);
/* Sleeps until the deadline; false where the server stops, or the client of the call is gone. */
bool sleep_until(int64_t deadline);
/* The server stops, or has gone. */
void note_stopping(void);
/* A client has gone. */
void note_dropped(uint64_t id);
/* The client of a call has gone, before it had a handle. */
void note_abandoned(uint64_t tag);

/* plugin.c */

extern struct nbdkit_plugin plugin;
/* Of the command line: -v, and whether standard input and output may be used. */
extern bool verbose, stdio_safe;
/* Loads a plugin; false where that fails, and an error has been told. */
bool load_plugin(const char *file);
/* Sets a debug flag, `NAME.FLAG=1`, if it is for a plugin of this name. */
void set_debug_flag(const char *flag);
/* Writes what the plugin says of itself, in lines. */
void describe_plugin(struct text *text);
/* The model that the plugin is called by. */
enum thread_model thread_model(void);
/* Makes it stricter. */
void restrict_thread_model(int model);
/* Its name: `parallel`. */
const char *thread_model_name(enum thread_model model);

/* methods.c */

/* The call that this thread works at; NULL in a thread of the plugin. */
extern _Thread_local struct call *current;
/* Finds a method; one that there is not answers that it is missing. */
const struct method *find_method(const char *name);
/* The names of those that the plugin has, joined by commas. */
void list_methods(struct text *text);
/* Answers a call, and frees it. */
void answer_call(struct call *call);
/* Why a callback failed: what the plugin set, or errno where that can be trusted. */
int failure(const struct call *call);
/* Answers with what a callback returned that gives no more than that: -1 where it failed. */
void reply_result(struct call *call, int result);

/* requests.c */

void answer_get_size(struct call *call);
void answer_block_size(struct call *call);
void answer_export_description(struct call *call);
void answer_boolean(struct call *call);
void answer_can_fast_zero(struct call *call);
void answer_can_fua(struct call *call);
void answer_can_cache(struct call *call);
void answer_pread(struct call *call);
void answer_pwrite(struct call *call);
void answer_flush(struct call *call);
void answer_range(struct call *call);
void answer_extents(struct call *call);

/* clients.c */

/* Adds a client, under a number that no other has had. Its strings are copied. */
struct client *add_client(const struct client *like);
/* Finds a client; NULL where there is none. It stays until it is removed. */
struct client *find_client(uint64_t id);
/* Marks a client as gone, where it is still there. */
void drop_client(uint64_t id);
/* Remembers a call of a client that has no handle yet, and forgets it. */
void add_connecting(struct call *call);
void remove_connecting(struct call *call);
/* Marks such a call as abandoned, where it is still there. */
void abandon_call(uint64_t tag);
/* Removes a client. */
void remove_client(struct client *client);
/* Frees strings. */
void free_interns(struct intern **list);
/* Copies a string of a length, for as long as the client of this thread, or the process. */
const char *intern(const char *text, size_t length);

/* lists.c */

struct nbdkit_extents *extents_new(uint64_t start, uint64_t end, uint64_t size);
void extents_print(const struct nbdkit_extents *extents, struct text *text);
bool extents_empty(const struct nbdkit_extents *extents);
struct nbdkit_exports *exports_new(void);
void exports_print(const struct nbdkit_exports *exports, struct text *text);

/* The functions that a plugin may call, as far as we call them too: nbdkit-plugin(3). */
void nbdkit_error(const char *format, ...) PRINTF(1, 2);
void nbdkit_debug(const char *format, ...) PRINTF(1, 2);
void nbdkit_set_error(int error);
int nbdkit_add_export(struct nbdkit_exports *exports, const char *name, const char *description);
void nbdkit_extents_free(struct nbdkit_extents *extents);
void nbdkit_exports_free(struct nbdkit_exports *exports);

#endif
