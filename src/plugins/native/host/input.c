/*
 * What the server sends, as calls. Only one thread reads at a time: work.c sees to that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host.h"

/* What has been read, and is no whole line yet, is from begin to end. */
static char *buffer;
static size_t room, begin, end;

enum {
  room_at_first = 256 << 10,
  /* The longest time for which the socket is asked again and again, in nanoseconds; and where calls come
   * one by one, as each waits for the answer to the one before. */
  spin_max = 30000,
  spin_alone_max = 120000,
  alone_min = 16,
  spin_worth_max = 8,
};

/* How often such a time was enough, of late: asking is worth while only if it is above zero. */
static int spin_worth;
/* How many reads in a row brought no more than one call. */
static unsigned alone;

/* Waits for something to read: false if the deadline comes first. */
static bool wait_until(int64_t deadline) {
  for (;;) {
    int64_t left = deadline - now();
    if (left < 0) left = 0;
    struct timespec time = {left / 1000000000, left % 1000000000};
    struct pollfd fds = {.fd = server_fd, .events = POLLIN};
    int ready = ppoll(&fds, 1, &time, NULL);
    if (ready > 0) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

/*
 * Reads, and waits. A thread that sleeps is woken late: where answers use to bring the next call at
 * once, it is better to look for that for some microseconds. Where they do not, no time is wasted.
 */
static ssize_t receive_patiently(void *to, size_t length) {
  static long processors;
  int64_t longest = alone < alone_min ? spin_max : spin_alone_max;
  if (!processors) processors = sysconf(_SC_NPROCESSORS_ONLN);
  int64_t start = now();
  if (spin_worth > 0 && processors > 1) {
    do {
      ssize_t got = recv(server_fd, to, length, MSG_DONTWAIT);
      if (got >= 0 || (errno != EAGAIN && errno != EINTR)) {
        if (spin_worth < spin_worth_max) spin_worth++;
        return got;
      }
    } while (now() - start < longest);
    spin_worth = spin_worth > 2 ? spin_worth - 2 : 0;
    start = now();
  }
  ssize_t got;
  do got = recv(server_fd, to, length, 0);
  while (got < 0 && errno == EINTR);
  bool soon = now() - start < longest;
  if (soon && spin_worth < spin_worth_max) spin_worth += 2;
  return got;
}

/* Reads what is there. 0: there is nothing before the deadline. -1: there will be nothing more. */
static ssize_t receive(void *to, size_t length, int64_t deadline) {
  ssize_t got = recv(server_fd, to, length, MSG_DONTWAIT);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
    // The server may be waiting for these.
    send_replies();
    if (deadline < 0)
      got = receive_patiently(to, length);
    else if (!wait_until(deadline))
      return 0;
    else
      got = recv(server_fd, to, length, MSG_DONTWAIT);
  }
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
  return got > 0 ? got : -1;
}

/* Reads the bytes behind a line: those that have not come yet go to where they are wanted. */
static bool read_payload(struct call *call) {
  char *to = call->payload;
  size_t missing = call->payload_length;
  size_t here = end - begin < missing ? end - begin : missing;
  memcpy(to, buffer + begin, here);
  begin += here;
  to += here;
  missing -= here;
  while (missing > 0) {
    ssize_t got = receive(to, missing, -1);
    if (got < 0) return false;
    to += got;
    missing -= got;
  }
  return true;
}

/* The count of a `pwrite` is its second word: words are taken only when it is called. */
static size_t payload_length(const struct call *call) {
  const char *count = call->rest ? strchr(call->rest, ' ') : NULL;
  char *count_end;
  uint64_t length = count ? strtoull(count + 1, &count_end, 10) : 0;
  if (!count || (*count_end && *count_end != ' ') || length > UINT32_MAX)
    malformed("a pwrite without a count", call->line);
  return length;
}

static void take_note(const char *note) {
  uint64_t id;
  if (strcmp(note, "stopping") == 0)
    note_stopping();
  else if (strncmp(note, "dropped ", 8) == 0 && read_number(note + 8, &id))
    note_dropped(id);
  else if (strncmp(note, "abandoned ", 10) == 0 && read_number(note + 10, &id))
    note_abandoned(id);
  else
    malformed("a line that is no call", note);
}

/* Makes a call of a line. NULL: it was none, or its bytes will never come. */
static struct call *read_line(const char *line, size_t length) {
  struct call *call = allocate(NULL, sizeof *call + length + 1);
  *call = (struct call){0};
  memcpy(call->line, line, length);
  call->line[length] = 0;
  if (call->line[0] == '-' && call->line[1] == ' ') {
    take_note(call->line + 2);
    free(call);
    return NULL;
  }
  call->rest = call->line;
  call->tag = need_number(call);
  call->method = find_method(need_word(call));
  if (call->method->of_connection) add_connecting(call);
  if (call->method->answer != answer_pwrite) return call;
  call->payload_length = payload_length(call);
  call->payload = take_buffer(call->payload_length);
  if (!call->payload) malformed("there is no memory for a pwrite", call->line);
  if (read_payload(call)) return call;
  give_buffer(call->payload, call->payload_length);
  free(call);
  return NULL;
}

static void read_lines(struct call_list *calls) {
  char *newline;
  unsigned brought = 0;
  while (begin < end && (newline = memchr(buffer + begin, '\n', end - begin))) {
    const char *line = buffer + begin;
    begin = newline + 1 - buffer;
    struct call *call = read_line(line, newline - line);
    if (!call) continue;
    *calls->end = call;
    calls->end = &call->next;
    brought++;
  }
  alone = brought > 1 ? 0 : alone + 1;
}

/* Behind what is kept there must be room to read into. */
static void make_room(void) {
  if (begin == end) {
    begin = end = 0;
  } else if (begin > 0) {
    memmove(buffer, buffer + begin, end - begin);
    end -= begin;
    begin = 0;
  }
  if (end < room) return;
  room = room ? room * 2 : room_at_first;
  buffer = allocate(buffer, room);
}

bool read_calls(struct call_list *calls, int64_t deadline) {
  make_room();
  ssize_t got = receive(buffer + end, room - end, deadline);
  if (got < 0) return false;
  end += got;
  read_lines(calls);
  return true;
}
