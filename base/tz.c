/* SPDX-License-Identifier: MIT */
#include "base/tz.h"

#include "base/scope.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
  NAME_MAX_BYTES = 64,
  FILE_MAX_BYTES = 256 * 1024,
  HEADER_BYTES = 44,
  CACHE_ZONES = 1024,
  SECONDS_PER_HOUR = 3600,
  SECONDS_PER_DAY = 86400
};

/* One end of daylight saving time in a POSIX TZ string: "M3.2.0/2", "J60", "59". */
struct rule {
  enum { RULE_JULIAN, RULE_DAY, RULE_MONTH } kind;
  int month, week, day;
  int32_t time; /* local seconds after midnight, may be negative or beyond a day */
};

/* The POSIX TZ string at the end of a TZif file: what holds after its last transition. */
struct footer {
  bool present, has_dst;
  int32_t standard, daylight; /* offsets east of UTC */
  struct rule start, end;
};

struct transition {
  int64_t at; /* UTC seconds */
  int32_t offset;
};

struct tz {
  int32_t first_offset; /* before the first transition */
  struct transition *transitions;
  size_t count;
  struct footer footer;
};

/* ---- POSIX TZ string (RFC 8536, section 3.3.1) ---- */

static int parse_number(const char **s) {
  int n = 0;
  while (**s >= '0' && **s <= '9' && n < 10000)
    n = n * 10 + *(*s)++ - '0';
  return n;
}

static bool skip_name(const char **s) {
  const char *from = *s;
  if (**s == '<') {
    while (**s && **s != '>')
      (*s)++;
    return *(*s)++ == '>';
  }
  while ((**s >= 'A' && **s <= 'Z') || (**s >= 'a' && **s <= 'z'))
    (*s)++;
  return *s - from >= 3;
}

static int32_t parse_time(const char **s) {
  int sign = 1;
  if (**s == '-' || **s == '+')
    sign = *(*s)++ == '-' ? -1 : 1;
  int32_t t = parse_number(s) * SECONDS_PER_HOUR;
  if (**s == ':')
    (*s)++, t += parse_number(s) * 60;
  if (**s == ':')
    (*s)++, t += parse_number(s);
  return sign * t;
}

static bool parse_rule(const char **s, struct rule *r) {
  *r = (struct rule){.kind = RULE_DAY, .time = 2 * SECONDS_PER_HOUR};
  if (*(*s)++ != ',')
    return false;
  if (**s == 'M') {
    (*s)++;
    r->kind = RULE_MONTH;
    r->month = parse_number(s);
    (*s)++;
    r->week = parse_number(s);
    (*s)++;
    r->day = parse_number(s);
  } else {
    if (**s == 'J') {
      (*s)++;
      r->kind = RULE_JULIAN;
    }
    r->day = parse_number(s);
  }
  if (**s == '/')
    (*s)++, r->time = parse_time(s);
  return r->kind != RULE_MONTH ||
         (r->month >= 1 && r->month <= 12 && r->week >= 1 && r->week <= 5 && r->day <= 6);
}

static bool parse_footer(const char *s, struct footer *f) {
  *f = (struct footer){0};
  if (!*s)
    return true;
  if (!skip_name(&s))
    return false;
  f->standard = -parse_time(&s);
  f->present = true;
  if (!*s)
    return true;
  f->has_dst = true;
  if (!skip_name(&s))
    return false;
  f->daylight = *s && *s != ',' ? -parse_time(&s) : f->standard + SECONDS_PER_HOUR;
  return parse_rule(&s, &f->start) && parse_rule(&s, &f->end) && !*s;
}

static bool is_leap(int64_t year) {
  return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int64_t days_before_year(int64_t year) {
  int64_t y = year - 1;
  return y * 365 + y / 4 - y / 100 + y / 400 - 719162;
}

static int64_t year_of(int64_t seconds) {
  int64_t year = 1970 + seconds / (SECONDS_PER_DAY * 365LL + SECONDS_PER_DAY / 4);
  while (days_before_year(year) * SECONDS_PER_DAY > seconds)
    year--;
  while (days_before_year(year + 1) * SECONDS_PER_DAY <= seconds)
    year++;
  return year;
}

/* Returns the local second (since 1970) at which a rule strikes in a year. */
static int64_t rule_at(const struct rule *r, int64_t year) {
  static const int before_month[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365};
  int64_t first = days_before_year(year);
  if (r->kind == RULE_DAY)
    return (first + r->day) * SECONDS_PER_DAY + r->time;
  if (r->kind == RULE_JULIAN)
    return (first + r->day - 1 + (r->day >= 60 && is_leap(year))) * SECONDS_PER_DAY + r->time;
  int64_t month_start = first + before_month[r->month - 1] + (r->month > 2 && is_leap(year));
  int month_days = before_month[r->month] - before_month[r->month - 1] + (r->month == 2 && is_leap(year));
  int weekday = (int)(((month_start + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
  int day = (r->day - weekday + 7) % 7 + (r->week - 1) * 7;
  if (day >= month_days)
    day -= 7;
  return (month_start + day) * SECONDS_PER_DAY + r->time;
}

/* Whether DST holds, given the instants (on one time line) at which it starts and ends in that year. */
static bool between(int64_t t, int64_t start, int64_t end) {
  return start < end ? t >= start && t < end : t >= start || t < end;
}

static int32_t footer_at_utc(const struct footer *f, int64_t utc) {
  if (!f->has_dst)
    return f->standard;
  int64_t year = year_of(utc + f->standard);
  int64_t start = rule_at(&f->start, year) - f->standard, end = rule_at(&f->end, year) - f->daylight;
  return between(utc, start, end) ? f->daylight : f->standard;
}

/* ---- TZif ---- */

static uint64_t big_endian(const unsigned char *p, int bytes) {
  uint64_t n = 0;
  for (int i = 0; i < bytes; i++)
    n = n << 8 | p[i];
  return n;
}

struct tzif_counts {
  size_t isut, isstd, leap, time, type, chars;
};

static struct tzif_counts read_counts(const unsigned char *h) {
  return (struct tzif_counts){big_endian(h + 20, 4), big_endian(h + 24, 4), big_endian(h + 28, 4),
                              big_endian(h + 32, 4), big_endian(h + 36, 4), big_endian(h + 40, 4)};
}

static size_t block_bytes(const struct tzif_counts *c, size_t time_bytes) {
  return c->time * (time_bytes + 1) + c->type * 6 + c->chars + c->leap * (time_bytes + 4) + c->isstd +
         c->isut;
}

/* Reads the 64-bit block at data and the footer behind it. */
static bool read_block(struct tz *z, const unsigned char *data, size_t len, const struct tzif_counts *c) {
  size_t block = block_bytes(c, 8);
  if (c->type == 0 || block > len)
    return false;
  const unsigned char *indexes = data + c->time * 8, *types = indexes + c->time;
  z->transitions = calloc(c->time ? c->time : 1, sizeof *z->transitions);
  if (!z->transitions)
    return false;
  z->first_offset = (int32_t)big_endian(types, 4);
  for (z->count = 0; z->count < c->time; z->count++) {
    size_t type = indexes[z->count];
    if (type >= c->type)
      return false;
    z->transitions[z->count] = (struct transition){(int64_t)big_endian(data + z->count * 8, 8),
                                                   (int32_t)big_endian(types + type * 6, 4)};
  }
  struct view rest = {(const char *)data + block, len - block};
  if (!view_starts(rest, "\n"))
    return false;
  view_split(&rest, '\n');
  char text[NAME_MAX_BYTES * 2];
  return view_to_cstr(view_split(&rest, '\n'), text, sizeof text) && parse_footer(text, &z->footer);
}

static bool read_tzif(struct tz *z, const unsigned char *data, size_t len) {
  if (len < HEADER_BYTES || memcmp(data, "TZif", 4) != 0 || data[4] < '2')
    return false;
  struct tzif_counts old = read_counts(data);
  size_t second = HEADER_BYTES + block_bytes(&old, 4);
  if (len < second + HEADER_BYTES || memcmp(data + second, "TZif", 4) != 0)
    return false;
  struct tzif_counts counts = read_counts(data + second);
  return read_block(z, data + second + HEADER_BYTES, len - second - HEADER_BYTES, &counts);
}

/* Zone names go into a path: letters, digits, _ + - and single inner slashes only, so nothing escapes the
 * folder. */
static bool name_is_safe(struct view name) {
  if (name.len == 0 || name.len > NAME_MAX_BYTES)
    return false;
  for (size_t i = 0; i < name.len; i++) {
    char c = name.ptr[i];
    bool letter = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
    bool slash = c == '/' && i > 0 && i + 1 < name.len && name.ptr[i - 1] != '/';
    if (!letter && !slash && !(i > 0 && ((c >= '0' && c <= '9') || c == '_' || c == '+' || c == '-')))
      return false;
  }
  return true;
}

/* Files that lie beside the zones: what this machine calls its own, and the zones again, some with leap
 * seconds, which no other machine need have. */
static bool name_is_of_system(struct view name) {
  return view_is(name, "localtime") || view_is(name, "posixrules") || view_starts(name, "posix/") ||
         view_starts(name, "right/");
}

static bool name_is_usable(struct view name) {
  return name_is_safe(name) && !name_is_of_system(name);
}

static bool load_file(struct tz *z, struct view name) {
  const char *dir = getenv("TZDIR");
  char path[512];
  snprintf(path, sizeof path, "%s/%.*s", dir && *dir ? dir : "/usr/share/zoneinfo", (int)name.len, name.ptr);
  auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > FILE_MAX_BYTES)
    return false;
  auto_free unsigned char *data = malloc((size_t)st.st_size + 1);
  return data && read(fd, data, (size_t)st.st_size) == st.st_size && read_tzif(z, data, (size_t)st.st_size);
}

struct tz *tz_load(struct view name) {
  if (!name_is_usable(name))
    return NULL;
  struct tz *z = calloc(1, sizeof *z);
  if (!z || view_is(name, "UTC") || load_file(z, name))
    return z;
  tz_free(z);
  return NULL;
}

void tz_free(struct tz *z) {
  if (!z)
    return;
  free(z->transitions);
  free(z);
}

/* FNV-1a, 64 bits, over a number. */
static void add_to_sum(uint64_t *sum, int64_t number) {
  for (unsigned byte = 0; byte < sizeof number; byte++)
    *sum = (*sum ^ ((uint64_t)number >> 8 * byte & 0xff)) * 0x100000001b3u;
}

uint64_t tz_checksum(const struct tz *z) {
  const struct footer *f = &z->footer;
  const struct rule *rules[] = {&f->start, &f->end};
  uint64_t sum = 0xcbf29ce484222325u;
  add_to_sum(&sum, z->first_offset);
  for (size_t i = 0; i < z->count; i++) {
    add_to_sum(&sum, z->transitions[i].at);
    add_to_sum(&sum, z->transitions[i].offset);
  }
  add_to_sum(&sum, f->present + 2 * f->has_dst);
  add_to_sum(&sum, f->standard);
  add_to_sum(&sum, f->daylight);
  for (size_t i = 0; f->has_dst && i < sizeof rules / sizeof rules[0]; i++) {
    add_to_sum(&sum, rules[i]->kind);
    add_to_sum(&sum, rules[i]->month * 64 + rules[i]->week);
    add_to_sum(&sum, rules[i]->day);
    add_to_sum(&sum, rules[i]->time);
  }
  return sum;
}

int32_t tz_offset_at_utc(const struct tz *z, int64_t utc) {
  if (z->count == 0 || utc >= z->transitions[z->count - 1].at) {
    if (z->footer.present)
      return footer_at_utc(&z->footer, utc);
    return z->count ? z->transitions[z->count - 1].offset : z->first_offset;
  }
  size_t low = 0, high = z->count; /* the first transition after utc lies in [low, high] */
  while (low < high) {
    size_t middle = (low + high) / 2;
    if (z->transitions[middle].at <= utc)
      low = middle + 1;
    else
      high = middle;
  }
  return low ? z->transitions[low - 1].offset : z->first_offset;
}

bool tz_is_utc(const struct tz *z) {
  return z->count == 0 && z->first_offset == 0 &&
         (!z->footer.present || (z->footer.standard == 0 && !z->footer.has_dst));
}

int32_t tz_offset_at_local(const struct tz *z, int64_t local) {
  /* A day before and after, no transition is near: the two offsets are the candidates around one. The one
   * from before is right unless only the later one maps the time onto itself. */
  int32_t before = tz_offset_at_utc(z, local - SECONDS_PER_DAY);
  int32_t after = tz_offset_at_utc(z, local + SECONDS_PER_DAY);
  if (before == after || tz_offset_at_utc(z, local - before) == before)
    return before;
  return tz_offset_at_utc(z, local - after) == after ? after : before;
}

int64_t tz_day_begins(const struct tz *z, int64_t day) {
  int64_t local = day * SECONDS_PER_DAY;
  return local - tz_offset_at_local(z, local);
}

/* ---- cache ---- */

static struct {
  pthread_mutex_t lock;
  struct {
    char name[NAME_MAX_BYTES + 1];
    struct tz *zone; /* NULL: there is no such zone */
  } entries[CACHE_ZONES];
  size_t count;
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

const struct tz *tz_cached(struct view name) {
  if (!name_is_usable(name))
    return NULL;
  SCOPE_LOCK(&cache.lock);
  for (size_t i = 0; i < cache.count; i++)
    if (view_is(name, cache.entries[i].name))
      return cache.entries[i].zone;
  struct tz *zone = tz_load(name);
  /* Real zones are fewer than the slots; wrong names stop being remembered before they crowd those out. */
  if (cache.count == CACHE_ZONES || (!zone && cache.count > CACHE_ZONES / 2)) {
    tz_free(zone);
    return NULL;
  }
  view_to_cstr(name, cache.entries[cache.count].name, sizeof cache.entries[0].name);
  cache.entries[cache.count++].zone = zone;
  return zone;
}
