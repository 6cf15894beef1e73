/* Words, as they are sent (without spaces), and as they are meant; and texts. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host.h"

static int hex_digit(char digit) {
  if (digit >= '0' && digit <= '9') return digit - '0';
  char lower = digit | 0x20;
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Writes it over itself, as it becomes no longer. */
static void decode(char *word) {
  char *to = strchr(word, '%');
  if (!to) return;
  for (const char *from = to; *from; from++) {
    int high = *from == '%' ? hex_digit(from[1]) : -1;
    int low = high < 0 ? -1 : hex_digit(from[2]);
    if (*from == '%' && low < 0) malformed("a word that is not encoded", word);
    *to++ = low < 0 ? *from : (char)(high << 4 | low);
    if (low >= 0) from += 2;
  }
  *to = 0;
}

char *next_word(struct call *call) {
  char *word = call->rest;
  if (!word) return NULL;
  char *end = strchr(word, ' ');
  call->rest = end ? end + 1 : NULL;
  if (end) *end = 0;
  decode(word);
  return word;
}

char *need_word(struct call *call) {
  char *word = next_word(call);
  if (!word) malformed("a call that lacks a word", call->line);
  return word;
}

bool read_number(const char *text, uint64_t *number) {
  char *end;
  errno = 0;
  *number = strtoull(text, &end, 10);
  return isdigit((unsigned char)*text) && !*end && errno == 0;
}

uint64_t need_number(struct call *call) {
  uint64_t number;
  const char *word = need_word(call);
  if (!read_number(word, &number)) malformed("a word that is no number", word);
  return number;
}

bool need_boolean(struct call *call) {
  const char *word = need_word(call);
  if (strcmp(word, "true") == 0) return true;
  if (strcmp(word, "false") != 0) malformed("a word that is neither true nor false", word);
  return false;
}

static void make_room(struct text *text, size_t more) {
  if (text->length + more < text->room) return;
  text->room = (text->length + more + 1) * 2;
  text->at = allocate(text->at, text->room);
}

void text_add(struct text *text, const char *bytes, size_t length) {
  make_room(text, length);
  memcpy(text->at + text->length, bytes, length);
  text->length += length;
}

void text_print(struct text *text, const char *format, ...) {
  va_list words;
  va_start(words, format);
  int length = vsnprintf(NULL, 0, format, words);
  va_end(words);
  if (length < 0) return;
  make_room(text, length);
  va_start(words, format);
  vsnprintf(text->at + text->length, length + 1, format, words);
  va_end(words);
  text->length += length;
}

void text_add_word(struct text *text, const char *word) {
  for (; *word; word++) {
    unsigned char byte = *word;
    if (byte <= ' ' || byte == 0x7f || byte == '%')
      text_print(text, "%%%02X", byte);
    else
      text_add(text, word, 1);
  }
}
