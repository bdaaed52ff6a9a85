/* SPDX-License-Identifier: MIT */
#include "server/request.h"

#include "base/crypto.h"

#include <stdlib.h>
#include <string.h>

void request_clear(struct request *rq) {
  if (!rq)
    return;
  if (rq->keep && rq->keep_free)
    rq->keep_free(rq->keep);
  rq->keep = NULL;
  free(rq->args_text);
  rq->args_text = NULL;
  rq->arg_count = 0;
}

static const struct {
  enum http_method method;
  const char *name;
} methods[] = {{HTTP_GET, "GET"}, {HTTP_HEAD, "HEAD"}, {HTTP_POST, "POST"}, {HTTP_OPTIONS, "OPTIONS"}};

enum { METHODS = sizeof methods / sizeof methods[0] };

enum http_method request_method_of(struct view name) {
  for (size_t i = 0; i < METHODS; i++)
    if (view_is(name, methods[i].name))
      return methods[i].method;
  return HTTP_OTHER;
}

const char *request_method_name(enum http_method method) {
  for (size_t i = 0; i < METHODS; i++)
    if (methods[i].method == method)
      return methods[i].name;
  return "other";
}

void request_set_target(struct request *rq, struct view target) {
  rq->path = view_split(&target, '?');
  rq->query = target;
}

bool request_header(const struct request *rq, const char *name, struct view *value) {
  for (size_t i = 0; i < rq->field_count; i++)
    if (view_eq_fold(rq->fields[i].name, view_of(name))) {
      *value = view_trim(rq->fields[i].value);
      return true;
    }
  return false;
}

void request_set_id(struct request *rq) {
  struct view sent;
  if (request_header(rq, "X-Request-Id", &sent) && http_gate_request_id_ok(sent))
    view_to_cstr(sent, rq->id, sizeof rq->id);
  else
    crypto_uuid7(rq->id);
}

void request_set_trace(struct request *rq) {
  static const char form[] = "xx-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx-xxxxxxxxxxxxxxxx-xx";
  enum { ID_AT = 3, ID_CHARS = 32 };
  struct view sent;
  if (!request_header(rq, "traceparent", &sent) || sent.len < sizeof form - 1)
    return;
  bool is_version_0 = view_starts(sent, "00-"), is_zero = true;
  for (size_t i = 0; i < sizeof form - 1; i++) {
    char c = sent.ptr[i];
    bool is_hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (form[i] == 'x' ? !is_hex : c != '-')
      return;
    is_zero &= i < ID_AT || i >= ID_AT + ID_CHARS || c == '0';
  }
  bool is_longer = sent.len > sizeof form - 1;
  if (is_zero || view_starts(sent, "ff-") ||
      (is_longer && (is_version_0 || sent.ptr[sizeof form - 1] != '-')))
    return;
  view_to_cstr((struct view){sent.ptr + ID_AT, ID_CHARS}, rq->trace_id, sizeof rq->trace_id);
}

/* --- query ------------------------------------------------------------------------------------------- */

static int hex_digit(char c) {
  if (c >= '0' && c <= '9')
    return c - '0';
  if (c >= 'a' && c <= 'f')
    return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Decodes one name or value to *out and moves it on. '+' is a blank, as HTML forms and most clients write it.
 */
bool request_decode(struct view text, char **out, struct view *decoded) {
  char *to = *out;
  for (size_t i = 0; i < text.len; i++) {
    int c = (unsigned char)text.ptr[i];
    if (c == '+')
      c = ' ';
    if (c == '%') {
      int high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
      int low = i + 2 < text.len ? hex_digit(text.ptr[i + 2]) : -1;
      if (high < 0 || low < 0)
        return false;
      c = high * 16 + low;
      i += 2;
    }
    if (c < 0x20 || c == 0x7F)
      return false;
    *to++ = (char)c;
  }
  *decoded = (struct view){*out, (size_t)(to - *out)};
  *out = to;
  return view_is_utf8(*decoded);
}

/* How often a parameter may be sent. */
enum arg_use { ARG_UNKNOWN, ARG_ONCE, ARG_REPEATED };

static enum arg_use use_of(struct view name, const char *const *known) {
  for (; known && *known; known++) {
    struct view word = view_of(*known);
    bool repeats = view_ends(word, "*");
    word.len -= repeats;
    if (view_eq(name, word))
      return repeats ? ARG_REPEATED : ARG_ONCE;
  }
  return ARG_UNKNOWN;
}

static enum kpi_code add_arg(struct request *rq, struct view pair, char **to, const char *const *known,
                             struct err *err) {
  struct request_arg arg;
  struct view ignored, value = pair;
  struct view name = view_split(&value, '=');
  if (rq->arg_count == HTTP_QUERY_ARGS_MAX)
    return err_set(err, KPI_MALFORMED_QUERY, "The query has more than %d parameters.", HTTP_QUERY_ARGS_MAX);
  if (!request_decode(name, to, &arg.name) || !request_decode(value, to, &arg.value))
    return err_set(
        err, KPI_MALFORMED_QUERY,
        "Parameter %zu of the query is not valid: a percent escape must stand for UTF-8 text without "
        "control characters.",
        rq->arg_count + 1);
  if (arg.name.len == 0)
    return err_set(err, KPI_MALFORMED_QUERY, "Parameter %zu of the query has no name.", rq->arg_count + 1);
  char shown[64];
  view_to_cstr(arg.name, shown, sizeof shown);
  enum arg_use use = use_of(arg.name, known);
  if (use == ARG_UNKNOWN)
    return err_set(err, KPI_MALFORMED_QUERY, "The query parameter '%s' is not known here.", shown);
  if (use == ARG_ONCE && request_arg(rq, shown, &ignored))
    return err_set(err, KPI_MALFORMED_QUERY, "The query parameter '%s' was sent more than once.", shown);
  rq->args[rq->arg_count++] = arg;
  return KPI_OK;
}

enum kpi_code request_parse_query(struct request *rq, const char *const *known, struct err *err) {
  if (rq->query_parsed || rq->query.len == 0)
    return KPI_OK;
  rq->args_text = malloc(rq->query.len); /* decoding never grows the text */
  if (!rq->args_text)
    return err_set(err, KPI_INTERNAL_ERROR, "Memory is exhausted.");
  char *to = rq->args_text;
  struct view rest = rq->query;
  while (rest.ptr) {
    enum kpi_code rc = add_arg(rq, view_split(&rest, '&'), &to, known, err);
    if (rc)
      return rc;
  }
  rq->query_parsed = true;
  return KPI_OK;
}

bool request_arg(const struct request *rq, const char *name, struct view *value) {
  for (size_t i = 0; i < rq->arg_count; i++)
    if (view_is(rq->args[i].name, name)) {
      *value = rq->args[i].value;
      return true;
    }
  return false;
}

enum kpi_code request_arg_u64(const struct request *rq, const char *name, uint64_t min, uint64_t max,
                              uint64_t *out, struct err *err) {
  struct view text;
  uint64_t n;
  if (!request_arg(rq, name, &text))
    return KPI_OK;
  if (!view_to_u64(text, &n) || n < min || n > max)
    return err_set(err, KPI_MALFORMED_QUERY, "'%s' must be a whole number from %llu to %llu.", name,
                   (unsigned long long)min, (unsigned long long)max);
  *out = n;
  return KPI_OK;
}

/* --- waiting ----------------------------------------------------------------------------------------- */

static unsigned clamp_wait(uint64_t seconds) {
  return seconds > HTTP_WAIT_SECONDS_MAX ? HTTP_WAIT_SECONDS_MAX : (unsigned)seconds;
}

/* A whole number of any length: what is too large is clamped anyway. */
static bool read_seconds(struct view text, uint64_t *seconds) {
  for (size_t i = 0; i < text.len; i++)
    if (text.ptr[i] < '0' || text.ptr[i] > '9')
      return false;
  if (!view_to_u64(text, seconds))
    *seconds = UINT64_MAX;
  return text.len > 0;
}

/* Reads wait=N out of one Prefer header: preferences are separated by commas, parameters by semicolons. */
static bool prefer_wait(struct view header, uint64_t *seconds) {
  while (header.ptr) {
    struct view preference = view_split(&header, ',');
    struct view value = view_split(&preference, ';');
    struct view name = view_trim(view_split(&value, '='));
    if (view_eq_fold(name, VIEW_LIT("wait")) && read_seconds(view_trim(value), seconds))
      return true;
  }
  return false;
}

enum kpi_code request_wait_seconds(const struct request *rq, unsigned *seconds, bool *preferred,
                                   struct err *err) {
  uint64_t wanted = 0;
  struct view text;
  *preferred = false;
  if (request_arg(rq, "wait", &text)) {
    if (!read_seconds(text, &wanted))
      return err_set(err, KPI_MALFORMED_QUERY, "'wait' must be a whole number of seconds.");
  } else {
    for (size_t i = 0; i < rq->field_count && !*preferred; i++)
      if (view_eq_fold(rq->fields[i].name, VIEW_LIT("Prefer")))
        *preferred = prefer_wait(rq->fields[i].value, &wanted);
  }
  *seconds = clamp_wait(wanted);
  return KPI_OK;
}

/* --- content negotiation ----------------------------------------------------------------------------- */

/* Reads a qvalue (0, 0.5, 1.000) as thousandths; -1 when it is none. */
static int parse_q(struct view text) {
  if (text.len == 0 || text.len > 5 || (text.ptr[0] != '0' && text.ptr[0] != '1'))
    return -1;
  int q = text.ptr[0] == '1' ? 1000 : 0;
  if (text.len > 1 && text.ptr[1] != '.')
    return -1;
  int unit = 100;
  for (size_t i = 2; i < text.len; i++, unit /= 10) {
    if (text.ptr[i] < '0' || text.ptr[i] > '9')
      return -1;
    q += unit * (text.ptr[i] - '0');
  }
  return q <= 1000 ? q : -1;
}

/* One media range of Accept. */
struct media_range {
  struct view type, subtype;
  int q; /* thousandths */
};

static bool parse_range(struct view text, struct media_range *range) {
  struct view subtype = view_trim(view_split(&text, ';'));
  range->type = view_split(&subtype, '/');
  range->subtype = subtype;
  range->q = 1000;
  while (text.ptr) {
    struct view value = view_trim(view_split(&text, ';'));
    struct view name = view_trim(view_split(&value, '='));
    if (view_eq_fold(name, VIEW_LIT("q")))
      range->q = parse_q(view_trim(value));
  }
  return range->type.len > 0 && range->subtype.len > 0 && range->q >= 0;
}

/* How closely a range fits an offer: 3 exact, 2 type/\*, 1 *\/\*, 0 not at all. */
static int fit(const struct media_range *range, struct view offer) {
  struct view subtype = offer;
  struct view type = view_split(&subtype, '/');
  if (view_is(range->type, "*"))
    return view_is(range->subtype, "*") ? 1 : 0;
  if (!view_eq_fold(range->type, type))
    return 0;
  if (view_is(range->subtype, "*"))
    return 2;
  return view_eq_fold(range->subtype, subtype) ? 3 : 0;
}

/* The q of an offer is that of the closest range (RFC 9110, 12.5.1). */
struct offer_score {
  int closeness, q;
};

static bool read_accept(struct view header, struct view offer, struct offer_score *score) {
  bool usable = false;
  while (header.ptr) {
    struct media_range range;
    if (!parse_range(view_split(&header, ','), &range))
      continue;
    usable = true;
    int closeness = fit(&range, offer);
    if (closeness > score->closeness || (closeness == score->closeness && closeness && range.q > score->q))
      *score = (struct offer_score){closeness, range.q};
  }
  return usable;
}

int request_negotiate(const struct request *rq, const char *const *offers) {
  int best = -1, best_q = 0;
  bool usable = false;
  for (int n = 0; offers[n]; n++) {
    struct offer_score score = {0, 0};
    for (size_t i = 0; i < rq->field_count; i++)
      if (view_eq_fold(rq->fields[i].name, VIEW_LIT("Accept")))
        usable |= read_accept(rq->fields[i].value, view_of(offers[n]), &score);
    if (score.q > best_q) {
      best = n;
      best_q = score.q;
    }
  }
  return usable ? best : 0;
}

bool request_etag_matches(const struct request *rq, const char *etag) {
  struct view header;
  if (!request_header(rq, "If-None-Match", &header))
    return false;
  if (view_is(header, "*"))
    return true;
  while (header.ptr) {
    struct view tag = view_trim(view_split(&header, ','));
    if (view_starts(tag, "W/"))
      tag = (struct view){tag.ptr + 2, tag.len - 2};
    if (tag.len >= 2 && tag.ptr[0] == '"' && tag.ptr[tag.len - 1] == '"' &&
        view_is((struct view){tag.ptr + 1, tag.len - 2}, etag))
      return true;
  }
  return false;
}
