/*
 * What is sent to the server, in order. Small answers wait for others and leave together, where the
 * thread that gave them knows that others come at once: work.c says when they must go.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "host.h"

enum {
  /* Half of 16 answers of 4 KiB: the server handles one half while the other is made. */
  gathered_max = 34 << 10,
  /* Answers of more bytes than these are not copied. */
  copied_max = 16 << 10,
  /* A line may be 64 KiB long. */
  message_max = 60000,
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char gathered[gathered_max];
static size_t gathered_length;

/* Sends it all. Where nobody is there to read it, the end of our input will tell. */
static void send_all(struct iovec *parts, size_t count) {
  while (count > 0) {
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
    ssize_t sent = sendmsg(server_fd, &message, MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return;
    while (count > 0 && (size_t)sent >= parts->iov_len) {
      sent -= parts->iov_len;
      parts++;
      count--;
    }
    if (count == 0) return;
    parts->iov_base = (char *)parts->iov_base + sent;
    parts->iov_len -= sent;
  }
}

/* Sends what was gathered, and these. The lock is held. */
static void send_now(const void *header, size_t header_length, const void *data, size_t length) {
  struct iovec parts[] = {
    {gathered, gathered_length}, {(void *)header, header_length}, {(void *)data, length}};
  gathered_length = 0;
  send_all(parts, 3);
}

static void gather(const void *bytes, size_t length) {
  if (length == 0) return;
  memcpy(gathered + gathered_length, bytes, length);
  gathered_length += length;
}

static void put(const char *header, size_t header_length, const void *data, size_t length) {
  pthread_mutex_lock(&lock);
  if (length > copied_max || gathered_length + header_length + length > gathered_max) {
    send_now(header, header_length, data, length);
  } else {
    gather(header, header_length);
    gather(data, length);
  }
  pthread_mutex_unlock(&lock);
}

void send_replies(void) {
  pthread_mutex_lock(&lock);
  if (gathered_length > 0) send_now(NULL, 0, NULL, 0);
  pthread_mutex_unlock(&lock);
}

/* One line: what would end it becomes a space. */
static void add_line(struct text *line, const char *message) {
  size_t length = strlen(message);
  while (length > 0 && message[length - 1] == '\n') length--;
  if (length > message_max) length = message_max;
  size_t start = line->length;
  text_add(line, message, length);
  for (size_t i = start; i < line->length; i++)
    if (line->at[i] == '\n' || line->at[i] == '\r') line->at[i] = ' ';
  text_add(line, "\n", 1);
}

void send_line(const char *kind, const char *message) {
  struct text line = {0};
  text_print(&line, "%s", kind);
  if (message) text_add(&line, " ", 1);
  add_line(&line, message ? message : "");
  int saved = errno;
  pthread_mutex_lock(&lock);
  send_now(line.at, line.length, NULL, 0);
  pthread_mutex_unlock(&lock);
  free(line.at);
  errno = saved;
}

/* What the plugin said, and did not fail for. */
static void log_message(struct call *call) {
  if (!call->message) return;
  send_line("log", call->message);
  free(call->message);
  call->message = NULL;
}

static void reply_status(struct call *call, const char *status) {
  char header[64];
  log_message(call);
  put(header, snprintf(header, sizeof header, "%" PRIu64 " %s\n", call->tag, status), NULL, 0);
}

void reply_ok(struct call *call) {
  reply_status(call, "ok");
}

void reply_false(struct call *call) {
  reply_status(call, "false");
}

void reply_missing(struct call *call) {
  reply_status(call, "missing");
}

void reply_data(struct call *call, const void *data, size_t length) {
  char header[64];
  log_message(call);
  int header_length = snprintf(header, sizeof header, "%" PRIu64 " ok %zu\n", call->tag, length);
  put(header, header_length, data, length);
}

void reply_text(struct call *call, struct text *text) {
  reply_data(call, text->at, text->length);
  free(text->at);
}

/* What else may have happened is an EIO for the server. */
static const char *error_name(int error) {
  switch (error) {
#define NAME(name) \
  case name:       \
    return #name;
    NAME(EPERM) NAME(ENOENT) NAME(EINTR) NAME(ENXIO) NAME(EBADF) NAME(EAGAIN) NAME(ENOMEM)
    NAME(EACCES)
    NAME(EFAULT) NAME(EBUSY) NAME(EEXIST) NAME(ENODEV) NAME(ENOTDIR) NAME(EISDIR) NAME(EINVAL)
    NAME(EMFILE) NAME(ENFILE) NAME(EFBIG) NAME(ENOSPC) NAME(ESPIPE) NAME(EROFS) NAME(EPIPE)
    NAME(EDOM)
    NAME(ERANGE) NAME(ENOSYS) NAME(EOVERFLOW) NAME(EOPNOTSUPP) NAME(ESHUTDOWN) NAME(ETIMEDOUT)
    NAME(ECONNREFUSED) NAME(ECONNRESET) NAME(ENOTCONN) NAME(EHOSTUNREACH) NAME(ENETUNREACH)
    NAME(EDQUOT) NAME(ECANCELED) NAME(EPROTO) NAME(ENODATA) NAME(ESTALE)
#undef NAME
  default:
    return "EIO";
  }
}

void reply_error(struct call *call, int error) {
  struct text line = {0};
  text_print(&line, "%" PRIu64 " error %s", call->tag, error_name(error));
  if (call->message) text_add(&line, " ", 1);
  add_line(&line, call->message ? call->message : "");
  put(line.at, line.length, NULL, 0);
  free(line.at);
  free(call->message);
  call->message = NULL;
}
