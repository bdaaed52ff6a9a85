/* SPDX-License-Identifier: MIT
 * Two cells as identifiers: they have the same code when they are the same number, or the same text, and only
 * then. */
#include "fuzz.h"

#include "base/buf.h"
#include "pipeline/id.h"
#include "plain_text.h"

enum { EXPONENT_DIGITS_MAX = 9, KEY_MAX = 256 * 1024 };

/* A number as written, its value as text: digits without zeros at the ends, and a power of ten. */
static bool value_text(struct view cell, struct buf *out, bool *has_exponent) {
  struct view groups[GROUPS_MAX];
  buf_init(out, KEY_MAX);
  if (!is_number(cell, groups) || groups[NUMBER_EXPONENT].len > EXPONENT_DIGITS_MAX)
    return false;
  *has_exponent = groups[NUMBER_EXPONENT].len > 0;
  size_t count = groups[NUMBER_WHOLE].len + groups[NUMBER_FRACTION].len, first = 0, last = count;
  while (first < count && digit_at(groups, first) == '0')
    first++;
  while (last > first && digit_at(groups, last - 1) == '0')
    last--;
  if (first == count) {
    buf_add_char(out, '0');
    return true;
  }
  long long exponent = 0;
  for (size_t i = 0; i < groups[NUMBER_EXPONENT].len; i++)
    exponent = exponent * 10 + (groups[NUMBER_EXPONENT].ptr[i] - '0');
  if (view_is(groups[NUMBER_EXPONENT_SIGN], "-"))
    exponent = -exponent;
  buf_printf(out, "%se%lld ", view_is(groups[NUMBER_SIGN], "-") ? "-" : "+",
             exponent - (long long)groups[NUMBER_FRACTION].len + (long long)(count - last));
  for (size_t i = first; i < last; i++)
    buf_add_char(out, digit_at(groups, i));
  return true;
}

/* A cell, and what it is by the plain rules. */
struct plain {
  struct view cell;
  struct buf value, text; /* text: well-formed UTF-8 */
  bool is_number, has_exponent;
};

static void look(struct plain *p, struct view cell) {
  p->cell = cell;
  p->is_number = value_text(cell, &p->value, &p->has_exponent);
  buf_init(&p->text, KEY_MAX);
  buf_add_utf8(&p->text, cell);
}

static void clear(struct plain *p) {
  buf_clear(&p->value);
  buf_clear(&p->text);
}

static void require_right_form(const struct plain *p) {
  id_code code = 0;
  enum id_form form = id_classify(p->cell, &code);
  bool is_plain =
      p->cell.len > 0 && p->cell.len <= ID_PLAIN_DIGITS_MAX && (p->cell.ptr[0] != '0' || p->cell.len == 1);
  unsigned long long value = 0;
  for (size_t i = 0; i < p->cell.len && is_plain; i++) {
    is_plain = p->cell.ptr[i] >= '0' && p->cell.ptr[i] <= '9';
    value = value * 10 + (unsigned)(p->cell.ptr[i] - '0');
  }
  enum id_form want = p->cell.len == 0 ? ID_FORM_NULL
                      : is_plain       ? ID_FORM_PLAIN
                      : p->is_number   ? ID_FORM_NUMBER
                                       : ID_FORM_TEXT;
  REQUIRE(form == want, "'%.*s': form %d, not %d", SHOWN(p->cell), (int)form, (int)want);
  REQUIRE(form != ID_FORM_PLAIN || code == value, "'%.*s': code %llu", SHOWN(p->cell),
          (unsigned long long)code);
}

/* A column with any other text is none of numbers. */
static bool can_be_numeric(const struct plain *p) {
  return p->is_number || p->cell.len == 0;
}

static bool are_same(const struct plain *a, const struct plain *b, enum id_kind kind) {
  if (kind == ID_NUMERIC)
    return view_eq(buf_view(&a->value), buf_view(&b->value));
  return view_eq(buf_view(&a->text), buf_view(&b->text));
}

static id_code code_of(struct dict *d, enum id_mode mode, const struct plain *p, enum id_kind kind) {
  id_code code;
  REQUIRE(id_encode(d, mode, p->cell, kind, &code), "no memory");
  return code;
}

static void require_right_codes(struct dict *d, const struct plain *a, const struct plain *b,
                                enum id_kind kind) {
  bool same = are_same(a, b, kind);
  id_code first = code_of(d, ID_INTERN, a, kind), found = code_of(d, ID_FIND, b, kind);
  id_code second = code_of(d, ID_INTERN, b, kind);
  REQUIRE((first == second) == same, "'%.*s' and '%.*s' as kind %d: %s", SHOWN(a->cell), SHOWN(b->cell),
          (int)kind, same ? "other codes" : "the same code");
  REQUIRE(found == second || found == ID_UNKNOWN, "'%.*s' is found as another", SHOWN(b->cell));
  REQUIRE(code_of(d, ID_FIND, b, kind) == second, "'%.*s' is not found", SHOWN(b->cell));
  REQUIRE(!same || code_of(d, ID_HASH, a, kind) == code_of(d, ID_HASH, b, kind), "other hashes");
  REQUIRE((first == ID_NULL) == (a->cell.len == 0), "'%.*s' is null", SHOWN(a->cell));
}

/* A cell of a text column meets a numeric one as the number that it is, if it is one without exponent. */
static void require_right_join(struct dict *d, const struct plain *p) {
  id_code code;
  REQUIRE(id_join_code(d, ID_INTERN, p->cell, ID_TEXT, ID_NUMERIC, &code), "no memory");
  bool meets = p->is_number && !p->has_exponent;
  REQUIRE(code == (meets ? code_of(d, ID_INTERN, p, ID_NUMERIC) : ID_NULL), "'%.*s' joins as another",
          SHOWN(p->cell));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct view rest = input_of(data, size), first = view_split(&rest, '\n');
  char *one = exact_copy(first), *other = exact_copy(rest);
  struct plain a, b;
  look(&a, (struct view){one, first.len});
  look(&b, (struct view){other, rest.len});
  require_right_form(&a);
  require_right_form(&b);
  for (int kind = ID_NUMERIC; kind <= ID_TEXT; kind++) {
    struct dict *d = dict_new(NULL);
    REQUIRE(d, "no memory");
    if (kind == ID_TEXT || (can_be_numeric(&a) && can_be_numeric(&b)))
      require_right_codes(d, &a, &b, (enum id_kind)kind);
    require_right_join(d, &a);
    dict_free(d);
  }
  clear(&a);
  clear(&b);
  free(one);
  free(other);
  return 0;
}
