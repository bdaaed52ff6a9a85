/* SPDX-License-Identifier: MIT */
#include "pipeline/dict.h"

#include "base/scope.h"

#include <string.h>

enum { SHARDS = 1 << DICT_SHARD_BITS, SLOTS_FIRST = 256, TEXTS_FIRST = 128 };

/* One part of the dictionary; the hash of a text chooses it. */
struct shard {
  pthread_mutex_t lock;
  struct {              /* guarded by lock */
    struct arena bytes; /* of the texts */
    struct view *texts; /* by number within the shard */
    size_t count, cap;
    uint32_t *slots; /* open addressing: index into texts + 1, 0 free */
    size_t slot_count;
  } synced;
};

struct dict {
  struct budget *budget;
  struct shard shards[SHARDS];
};

/* FNV-1a, 64 bits, with a final mix so that low and high bits are usable. */
uint64_t dict_hash(struct view v) {
  uint64_t h = 0xcbf29ce484222325u;
  for (size_t i = 0; i < v.len; i++)
    h = (h ^ (unsigned char)v.ptr[i]) * 0x100000001b3u;
  h ^= h >> 32;
  h *= 0xd6e8feb86659fd93u;
  return h ^ h >> 32;
}

struct dict *dict_new(struct budget *budget) {
  struct dict *d = calloc(1, sizeof *d);
  if (!d)
    return NULL;
  d->budget = budget;
  for (int i = 0; i < SHARDS; i++)
    pthread_mutex_init(&d->shards[i].lock, NULL);
  return d;
}

void dict_free(struct dict *d) {
  if (!d)
    return;
  for (int i = 0; i < SHARDS; i++) {
    struct shard *s = &d->shards[i];
    arena_clear(&s->synced.bytes, d->budget);
    budget_free(d->budget, s->synced.texts, s->synced.cap * sizeof(struct view));
    budget_free(d->budget, s->synced.slots, s->synced.slot_count * sizeof(uint32_t));
    pthread_mutex_destroy(&s->lock);
  }
  free(d);
}

/* Returns the slot that holds the text or would take it. */
static uint32_t *find_slot(struct shard *s, struct view text, uint64_t hash) {
  size_t mask = s->synced.slot_count - 1;
  for (size_t at = (hash >> DICT_SHARD_BITS) & mask;; at = (at + 1) & mask) {
    uint32_t *slot = &s->synced.slots[at];
    if (*slot == 0 || view_eq(s->synced.texts[*slot - 1], text))
      return slot;
  }
}

static bool grow_slots(struct dict *d, struct shard *s) {
  size_t old_count = s->synced.slot_count, count = old_count ? old_count * 2 : SLOTS_FIRST;
  uint32_t *slots = budget_calloc(d->budget, count, sizeof *slots);
  if (!slots)
    return false;
  budget_free(d->budget, s->synced.slots, old_count * sizeof *slots);
  s->synced.slots = slots;
  s->synced.slot_count = count;
  for (size_t i = 0; i < s->synced.count; i++)
    *find_slot(s, s->synced.texts[i], dict_hash(s->synced.texts[i])) = (uint32_t)i + 1;
  return true;
}

static bool grow_texts(struct dict *d, struct shard *s) {
  size_t cap = s->synced.cap ? s->synced.cap * 2 : TEXTS_FIRST;
  struct view *texts =
      budget_realloc(d->budget, s->synced.texts, s->synced.cap * sizeof *texts, cap * sizeof *texts);
  if (!texts)
    return false;
  s->synced.texts = texts;
  s->synced.cap = cap;
  return true;
}

bool dict_intern(struct dict *d, struct view text, uint64_t *out) {
  uint64_t hash = dict_hash(text);
  uint64_t shard_number = hash & (SHARDS - 1);
  struct shard *s = &d->shards[shard_number];
  SCOPE_LOCK(&s->lock);
  if (2 * (s->synced.count + 1) > s->synced.slot_count && !grow_slots(d, s))
    return false;
  uint32_t *slot = find_slot(s, text, hash);
  if (*slot == 0) {
    if (s->synced.count == UINT32_MAX - 1 || (s->synced.count == s->synced.cap && !grow_texts(d, s)))
      return false;
    char *bytes = arena_bytes(&s->synced.bytes, d->budget, text.len);
    if (!bytes)
      return false;
    if (text.len) /* an empty view may point nowhere */
      memcpy(bytes, text.ptr, text.len);
    s->synced.texts[s->synced.count++] = (struct view){bytes, text.len};
    *slot = (uint32_t)s->synced.count;
  }
  *out = (uint64_t)(*slot - 1) << DICT_SHARD_BITS | shard_number;
  return true;
}

/* Where a short text has its place: by its ends. */
static size_t memo_place(struct view text) {
  const size_t len = text.len < sizeof(uint64_t) ? text.len : sizeof(uint64_t);
  uint64_t head = 0, tail = 0;
  memcpy(&head, text.ptr, len);
  memcpy(&tail, text.ptr + text.len - len, len);
  return (head ^ tail * 3) * 0x9E3779B97F4A7C15u >> 56;
}

_Static_assert((int)DICT_MEMO_TEXTS == 1 << 8, "a place is the high byte of a hash");

bool dict_intern_again(struct dict *d, struct dict_memo *memo, struct view text, uint64_t *out) {
  if (text.len == 0 || text.len > DICT_MEMO_BYTES)
    return dict_intern(d, text, out);
  const size_t at = memo_place(text);
  if (memo->at[at].len == text.len && memcmp(memo->at[at].bytes, text.ptr, text.len) == 0) {
    *out = memo->at[at].number;
    return true;
  }
  if (!dict_intern(d, text, out))
    return false;
  memo->at[at].number = *out;
  memo->at[at].len = (uint8_t)text.len;
  memcpy(memo->at[at].bytes, text.ptr, text.len);
  return true;
}

bool dict_find(struct dict *d, struct view text, uint64_t *out) {
  uint64_t hash = dict_hash(text);
  uint64_t shard_number = hash & (SHARDS - 1);
  struct shard *s = &d->shards[shard_number];
  SCOPE_LOCK(&s->lock);
  uint32_t slot = s->synced.slot_count ? *find_slot(s, text, hash) : 0;
  if (slot)
    *out = (uint64_t)(slot - 1) << DICT_SHARD_BITS | shard_number;
  return slot != 0;
}

struct view dict_text(const struct dict *d, uint64_t number) {
  return d->shards[number & (SHARDS - 1)].synced.texts[number >> DICT_SHARD_BITS];
}

bool dict_each(const struct dict *d, bool (*fn)(void *arg, struct view text, uint64_t number), void *arg) {
  for (size_t i = 0; i < SHARDS; i++)
    for (size_t j = 0; j < d->shards[i].synced.count; j++)
      if (!fn(arg, d->shards[i].synced.texts[j], (uint64_t)j << DICT_SHARD_BITS | i))
        return false;
  return true;
}
