/* SPDX-License-Identifier: MIT
 * A view: borrowed bytes with a length, not NUL-terminated. Knows no owner. */
#ifndef KPID_BASE_VIEW_H
#define KPID_BASE_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Borrows `len` bytes at `ptr`; ptr may be NULL when len is 0. */
struct view {
  const char *ptr;
  size_t len;
};

#define VIEW_LIT(s) ((struct view){(s), sizeof(s) - 1})

/* Returns a view of a NUL-terminated string; an empty view for NULL. */
struct view view_of(const char *s);

/* True when both hold the same bytes. */
bool view_eq(struct view a, struct view b);

/* True when `a` equals the NUL-terminated `s`. */
bool view_is(struct view a, const char *s);

/* True when both are equal with ASCII letters folded. */
bool view_eq_fold(struct view a, struct view b);

/* True when `a` starts with the NUL-terminated `prefix`. */
bool view_starts(struct view a, const char *prefix);

/* True when `a` ends with the NUL-terminated `suffix`. */
bool view_ends(struct view a, const char *suffix);

/* Bytewise order; the shorter is smaller when one is a prefix of the other. Returns <0, 0, >0. */
int view_cmp(struct view a, struct view b);

/* Returns `a` without the ASCII blanks (space, tab, CR, LF, VT, FF) at both ends. */
struct view view_trim(struct view a);

/* Splits `*rest` at the first `sep`: returns the part before it and advances *rest behind it. When
 * there is no separator, returns all and leaves *rest empty with ptr NULL. */
struct view view_split(struct view *rest, char sep);

/* Parses an unsigned decimal of digits only that fits 64 bits. False when the text is anything else. */
bool view_to_u64(struct view a, uint64_t *out);

/* Copies into a NUL-terminated array, cutting at size-1. Returns false when it was cut. */
bool view_to_cstr(struct view a, char *out, size_t size);

/* Returns the length (1-4) of the well-formed UTF-8 sequence at the start of `a` (not empty), 0 when it is
 * ill-formed. */
size_t utf8_sequence(struct view a);

/* As utf8_sequence; for an ill-formed start sets *bad to the length of its maximal subpart, which one
 * U+FFFD stands for (Unicode 15, section 3.9). */
size_t utf8_sequence_or_bad(struct view a, size_t *bad);

/* True when the bytes are well-formed UTF-8 (no surrogates, no overlong forms, at most U+10FFFF). */
bool view_is_utf8(struct view a);

/* Returns the number of characters of UTF-8 text: the bytes that begin one. */
size_t utf8_count(struct view a);

/* Returns the index of a name in a list, -1 when it is none of them. NULL is no name. */
int view_index_of(struct view name, const char *const *names, int count);

#endif
