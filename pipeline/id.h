/* SPDX-License-Identifier: MIT
 * Identifiers as 64-bit codes. A column whose every value is a number compares as numbers (001 = 1 = 1.0),
 * any other column bytewise; a text column joined with a numeric one is read as numbers. Small whole numbers
 * are their own code, everything else is interned. */
#ifndef KPID_PIPELINE_ID_H
#define KPID_PIPELINE_ID_H

#include "pipeline/dict.h"
#include "pipeline/swar.h"

#include <stdatomic.h>

/* A code. Equal codes are equal identifiers, as long as they were made by the same rule. */
typedef uint64_t id_code;

#define ID_NULL ((id_code)UINT64_MAX)
#define ID_UNKNOWN (ID_NULL - 1)
#define ID_INTERNED ((id_code)1 << 63) /* set: the rest is a number of the dictionary */
#define ID_DIRECT_MAX (((id_code)1 << 62) - 1)

enum id_kind { ID_NUMERIC, ID_TEXT };

/* The columns that hold identifiers. */
enum id_column {
  ID_ORDERS_ORDER,
  ID_ORDERS_USER,
  ID_ITEMS_ID,
  ID_ITEMS_ORDER,
  ID_ITEMS_PRODUCT,
  ID_PRODUCTS_ID,
  ID_COLUMN_COUNT
};

/* How a cell is written. */
enum id_form {
  ID_FORM_NULL,
  ID_FORM_PLAIN,  /* a whole number in its shortest form, at most ID_DIRECT_MAX: code is the number */
  ID_FORM_NUMBER, /* another spelling or size of a number */
  ID_FORM_TEXT
};

/* What was seen in a column, over all files. */
struct id_seen {
  bool text;   /* a value that is no number */
  bool number; /* a number that is not in its shortest form: reading it as text would tell it from its equals
                */
};

enum { ID_PLAIN_DIGITS_MAX = 18, ID_FAST_DIGITS_MAX = 16 };

/* Classifies a cell that is not ID_FORM_PLAIN. */
enum id_form id_classify_other(struct view cell);

/* Reads a cell that is ID_FORM_PLAIN and has 1 to ID_FAST_DIGITS_MAX digits. False for any other. */
static inline bool id_read_plain(struct view cell, id_code *code) {
  if (cell.len - 1 >= ID_FAST_DIGITS_MAX)
    return false;
  const size_t first = cell.len <= 8 ? cell.len : cell.len - 8;
  uint64_t low, high = swar_load_number(cell.ptr, first);
  bool fits = cell.ptr[0] != '0' || cell.len == 1;
  fits &= swar_eight_digits(high, code);
  if (cell.len > 8) {
    fits &= swar_eight_digits(swar_load(cell.ptr + cell.len - 8), &low);
    *code = *code * 100000000u + low;
  }
  return fits;
}

/* Classifies a cell; sets *code for ID_FORM_PLAIN. Allocates nothing. */
static inline enum id_form id_classify(struct view cell, id_code *code) {
  id_code value = 0;
  if (id_read_plain(cell, code))
    return ID_FORM_PLAIN;
  size_t i = 0;
  if (cell.len > 0 && cell.len <= ID_PLAIN_DIGITS_MAX && (cell.ptr[0] != '0' || cell.len == 1))
    for (; i < cell.len && cell.ptr[i] >= '0' && cell.ptr[i] <= '9'; i++)
      value = value * 10 + (id_code)(cell.ptr[i] - '0');
  *code = value;
  return i > 0 && i == cell.len ? ID_FORM_PLAIN : id_classify_other(cell);
}

/* Notes a form. */
static inline void id_note(struct id_seen *seen, enum id_form form) {
  if (form == ID_FORM_TEXT)
    seen->text = true;
  if (form == ID_FORM_NUMBER)
    seen->number = true;
}

/* What to do with an identifier that is not its own code. */
enum id_mode {
  ID_INTERN, /* keep it in the dictionary */
  ID_FIND,   /* ID_UNKNOWN unless the dictionary has it */
  ID_HASH    /* a hash instead of a dictionary entry: for counts that only warn */
};

/* Sets *out to the code of a cell under the rule of its column's kind. False when memory is exhausted. */
bool id_encode(struct dict *d, enum id_mode mode, struct view cell, enum id_kind kind, id_code *out);

/* Sets *out to the code under which a cell of a column of kind `own` meets a column of kind `partner`;
 * ID_NULL meets nothing. False when memory is exhausted. */
bool id_join_code(struct dict *d, enum id_mode mode, struct view cell, enum id_kind own, enum id_kind partner,
                  id_code *out);

/* Spreads a code over 64 bits, for hash tables. */
static inline uint64_t id_hash(id_code c) {
  c *= 0x9e3779b97f4a7c15u;
  return c ^ c >> 32;
}

#endif
