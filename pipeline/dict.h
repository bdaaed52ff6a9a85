/* SPDX-License-Identifier: MIT
 * Interned texts: equal bytes get the same small number. Sharded, so that many workers can intern at once.
 * The numbers depend on the order of arrival; only equality means anything. Knows no column. */
#ifndef KPID_PIPELINE_DICT_H
#define KPID_PIPELINE_DICT_H

#include "base/alloc.h"
#include "base/view.h"

struct dict;

enum { DICT_SHARD_BITS = 4, DICT_MEMO_TEXTS = 256, DICT_MEMO_BYTES = 47 };

/* Short texts that one thread has met in one dictionary, at the places their hashes name. Zero-initialise. */
struct dict_memo {
  struct {
    uint64_t number;
    uint8_t len; /* 0: none */
    char bytes[DICT_MEMO_BYTES];
  } at[DICT_MEMO_TEXTS];
};

/* Returns owned; memory is accounted to `budget` (borrowed, may be NULL). NULL when memory is exhausted. */
struct dict *dict_new(struct budget *budget);

/* Accepts NULL. */
void dict_free(struct dict *d);

/* Sets *out to the number of a text, a new one when it is unknown. Copies the bytes. Any thread. False when
 * memory is exhausted. */
bool dict_intern(struct dict *d, struct view text, uint64_t *out);

/* The same for a text that the thread is likely to have met before, which it finds without a lock. */
bool dict_intern_again(struct dict *d, struct dict_memo *memo, struct view text, uint64_t *out);

/* Sets *out to the number of a text that is known; false when it is not. Any thread. */
bool dict_find(struct dict *d, struct view text, uint64_t *out);

/* Hashes bytes to 64 bits, well spread. */
uint64_t dict_hash(struct view text);

/* Borrows the text of a number that dict_intern gave; valid until dict_free. Not while others intern. */
struct view dict_text(const struct dict *d, uint64_t number);

/* Calls fn for every text and its number, in no particular order, until it returns false; returns what it
 * returned last. Not while others intern. */
bool dict_each(const struct dict *d, bool (*fn)(void *arg, struct view text, uint64_t number), void *arg);

#endif
