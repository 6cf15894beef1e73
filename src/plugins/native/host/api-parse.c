/* The functions of a plugin that read numbers and the like from its settings. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "host.h"

EXPORT int64_t nbdkit_parse_size(const char *str);
EXPORT int nbdkit_parse_bool(const char *str);
EXPORT int nbdkit_parse_probability(const char *what, const char *str, double *ret);
EXPORT int nbdkit_parse_delay(const char *what, const char *str, unsigned *sec, unsigned *nsec);

/* Whether a number was read, up to the end of the text. */
static bool is_whole(const char *what, const char *str, const char *end) {
  if (errno == ERANGE) {
    nbdkit_error("%s: could not parse number: \"%s\": number is out of range", what, str);
    return false;
  }
  if (end == str) {
    nbdkit_error("%s: could not parse number: empty string or not a number: \"%s\"", what, str);
    return false;
  }
  if (*end) {
    nbdkit_error("%s: could not parse number: \"%s\": trailing garbage", what, str);
    return false;
  }
  return true;
}

static int read_signed(const char *what, const char *str, intmax_t min, intmax_t max,
                       intmax_t *number) {
  char *end;
  errno = 0;
  *number = strtoimax(str, &end, 0);
  if (!is_whole(what, str, end)) return -1;
  if (*number >= min && *number <= max) return 0;
  nbdkit_error("%s: %s: number is out of range: from %jd to %jd is possible", what, str, min, max);
  errno = ERANGE;
  return -1;
}

static int read_unsigned(const char *what, const char *str, uintmax_t max, uintmax_t *number) {
  const char *first = str;
  while (isspace((unsigned char)*first)) first++;
  // strtoumax() would make a large number of it.
  if (*first == '-') {
    nbdkit_error("%s: %s: negative numbers are not allowed", what, str);
    errno = ERANGE;
    return -1;
  }
  char *end;
  errno = 0;
  *number = strtoumax(str, &end, 0);
  if (!is_whole(what, str, end)) return -1;
  if (*number <= max) return 0;
  nbdkit_error("%s: %s: number is out of range: up to %ju is possible", what, str, max);
  errno = ERANGE;
  return -1;
}

#define PARSE_SIGNED(name, type, min, max)                                        \
  EXPORT int nbdkit_parse_##name(const char *what, const char *str, type *r);     \
  int nbdkit_parse_##name(const char *what, const char *str, type *r) {           \
    intmax_t number;                                                              \
    if (read_signed(what, str, min, max, &number) == -1) return -1;               \
    if (r) *r = number;                                                           \
    return 0;                                                                     \
  }
#define PARSE_UNSIGNED(name, type, max)                                           \
  EXPORT int nbdkit_parse_##name(const char *what, const char *str, type *r);     \
  int nbdkit_parse_##name(const char *what, const char *str, type *r) {           \
    uintmax_t number;                                                             \
    if (read_unsigned(what, str, max, &number) == -1) return -1;                  \
    if (r) *r = number;                                                           \
    return 0;                                                                     \
  }
PARSE_SIGNED(int, int, INT_MIN, INT_MAX)
PARSE_SIGNED(int8_t, int8_t, INT8_MIN, INT8_MAX)
PARSE_SIGNED(int16_t, int16_t, INT16_MIN, INT16_MAX)
PARSE_SIGNED(int32_t, int32_t, INT32_MIN, INT32_MAX)
PARSE_SIGNED(int64_t, int64_t, INT64_MIN, INT64_MAX)
PARSE_UNSIGNED(unsigned, unsigned, UINT_MAX)
PARSE_UNSIGNED(uint8_t, uint8_t, UINT8_MAX)
PARSE_UNSIGNED(uint16_t, uint16_t, UINT16_MAX)
PARSE_UNSIGNED(uint32_t, uint32_t, UINT32_MAX)
PARSE_UNSIGNED(uint64_t, uint64_t, UINT64_MAX)

/* Units of sizes, each 1024 times the one before. */
int64_t nbdkit_parse_size(const char *str) {
  static const char units[] = "bkmgtpe";
  char *end;
  errno = 0;
  intmax_t size = strtoimax(str, &end, 10);
  if (end == str) {
    nbdkit_error("could not parse size string (%s)", str);
    return -1;
  }
  if (size < 0) {
    nbdkit_error("size cannot be negative (%s)", str);
    return -1;
  }
  int64_t unit = 1;
  if (*end) {
    const char *found = strchr(units, tolower((unsigned char)*end));
    if ((!found && tolower((unsigned char)*end) != 's') || end[1]) {
      nbdkit_error("could not parse size: unexpected suffix '%s' (%s)", end, str);
      return -1;
    }
    // `s` is a sector.
    unit = found ? INT64_C(1) << (10 * (found - units)) : 512;
  }
  int64_t bytes;
  if (errno == ERANGE || __builtin_mul_overflow(size, unit, &bytes)) {
    nbdkit_error("size is too large (%s)", str);
    return -1;
  }
  return bytes;
}

int nbdkit_parse_bool(const char *str) {
  static const char *const yes[] = {"1", "true", "t", "yes", "y", "on"};
  static const char *const no[] = {"0", "false", "f", "no", "n", "off"};
  for (size_t i = 0; i < sizeof yes / sizeof *yes; i++) {
    if (strcasecmp(str, yes[i]) == 0) return 1;
    if (strcasecmp(str, no[i]) == 0) return 0;
  }
  nbdkit_error("could not decipher boolean (%s)", str);
  return -1;
}

/* `0.1`, `10%`, `1:10` or `1/10`. */
int nbdkit_parse_probability(const char *what, const char *str, double *ret) {
  char *end;
  double number = strtod(str, &end);
  bool valid = end != str;
  if (valid && *end == '%' && !end[1]) {
    number /= 100;
  } else if (valid && (*end == ':' || *end == '/')) {
    const char *start = end + 1;
    double divisor = strtod(start, &end);
    valid = end != start && !*end;
    if (valid && divisor == 0) {
      nbdkit_error("%s: division by zero: '%s'", what, str);
      return -1;
    }
    number /= divisor;
  } else if (*end) {
    valid = false;
  }
  if (!valid) {
    nbdkit_error("%s: could not parse '%s': expected such as 0.1, 10%%, 1:10 or 1/10", what, str);
    return -1;
  }
  if (!isfinite(number) || number < 0) {
    nbdkit_error("%s: probability is out of range: '%s'", what, str);
    return -1;
  }
  if (ret) *ret = number;
  return 0;
}

/* Seconds, or a number with a unit. */
int nbdkit_parse_delay(const char *what, const char *str, unsigned *sec, unsigned *nsec) {
  // The letter mu may be written as two characters, U+00B5 and U+03BC.
  static const struct {
    const char *name;
    long double nanoseconds;
  } units[] = {{"", 1e9},  {"s", 1e9},       {"ms", 1e6},      {"us", 1e3},
               {"ns", 1}, {"\u00b5s", 1e3}, {"\u03bcs", 1e3}};
  char *end;
  long double number = strtold(str, &end);
  long double unit = 0;
  for (size_t i = 0; end != str && i < sizeof units / sizeof *units; i++)
    if (strcmp(end, units[i].name) == 0) unit = units[i].nanoseconds;
  if (unit == 0) {
    nbdkit_error("%s: could not parse delay: '%s': expected seconds, or a number with ms, us or ns",
                 what, str);
    return -1;
  }
  long double delay = number * unit + 0.5L;
  if (!(number >= 0) || !(delay < (UINT_MAX + 1.0L) * 1e9L)) {
    nbdkit_error("%s: delay is out of range: '%s'", what, str);
    return -1;
  }
  long double seconds = (long double)(uint64_t)(delay / 1e9L);
  if (sec) *sec = seconds;
  if (nsec) *nsec = delay - seconds * 1e9L;
  return 0;
}
