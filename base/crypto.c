/* SPDX-License-Identifier: MIT */
#include "base/crypto.h"

#include "base/clock.h"
#include "base/scope.h"

#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

struct sha256 {
  EVP_MD_CTX *ctx;
};

void crypto_hex(const void *bytes, size_t n, char *out) {
  for (size_t i = 0; i < n; i++)
    snprintf(out + 2 * i, 3, "%02x", ((const unsigned char *)bytes)[i]);
}

void crypto_cleanse(void *secret, size_t size) {
  if (secret)
    OPENSSL_cleanse(secret, size);
}

bool crypto_equal(const void *a, const void *b, size_t n) {
  return CRYPTO_memcmp(a, b, n) == 0;
}

/* EVP_DecodeBlock writes whole groups of three bytes and counts the padding as NULs. */
bool crypto_base64_decode(struct view text, char *out, size_t size, size_t *length) {
  size_t padding = 0;
  while (padding < 2 && padding < text.len && text.ptr[text.len - 1 - padding] == '=')
    padding++;
  *length = text.len / 4 * 3 - padding;
  if (text.len == 0 || text.len % 4 != 0 || text.len / 4 * 3 > size || text.len > INT_MAX)
    return false;
  return EVP_DecodeBlock((unsigned char *)out, (const unsigned char *)text.ptr, (int)text.len) >= 0;
}

void crypto_hmac_sha256(struct view key, struct view data, unsigned char out[SHA256_SIZE]) {
  unsigned size = 0;
  HMAC(EVP_sha256(), key.ptr, (int)key.len, (const unsigned char *)data.ptr, data.len, out, &size);
}

struct sha256 *sha256_new(void) {
  struct sha256 *h = calloc(1, sizeof *h);
  if (!h)
    return NULL;
  h->ctx = EVP_MD_CTX_new();
  if (h->ctx && EVP_DigestInit_ex(h->ctx, EVP_sha256(), NULL) == 1)
    return h;
  sha256_free(h);
  return NULL;
}

void sha256_add(struct sha256 *h, struct view v) {
  EVP_DigestUpdate(h->ctx, v.ptr, v.len);
}

void sha256_hex(struct sha256 *h, char out[SHA256_HEX_SIZE]) {
  unsigned char digest[SHA256_SIZE];
  EVP_DigestFinal_ex(h->ctx, digest, NULL);
  crypto_hex(digest, sizeof digest, out);
}

void sha256_free(struct sha256 *h) {
  if (!h)
    return;
  EVP_MD_CTX_free(h->ctx);
  free(h);
}

void crypto_sha256_hex(struct view v, char out[SHA256_HEX_SIZE]) {
  unsigned char digest[SHA256_SIZE];
  EVP_Digest(v.ptr, v.len, digest, NULL, EVP_sha256(), NULL);
  crypto_hex(digest, sizeof digest, out);
}

void crypto_random(void *out, size_t len) {
  char *at = out;
  while (len) {
    ssize_t n = getrandom(at, len, 0);
    if (n <= 0)
      abort(); /* without randomness no id is safe */
    at += n;
    len -= (size_t)n;
  }
}

/* The last millisecond and its counter: ids of one millisecond keep their order. */
static struct {
  pthread_mutex_t lock;
  int64_t ms;
  uint32_t seq;
} last_id = {.lock = PTHREAD_MUTEX_INITIALIZER};

enum { UUID7_SEQ_MAX = 0xFFF };

static void next_tick(uint64_t *ms, uint32_t *seq) {
  SCOPE_LOCK(&last_id.lock);
  int64_t now = clock_wall_ms();
  if (now > last_id.ms) {
    last_id.ms = now;
    last_id.seq = 0;
  } else if (++last_id.seq > UUID7_SEQ_MAX) {
    last_id.ms++;
    last_id.seq = 0;
  }
  *ms = (uint64_t)last_id.ms;
  *seq = last_id.seq;
}

void crypto_uuid7(char out[UUID_TEXT_SIZE]) {
  uint64_t ms;
  uint32_t seq;
  next_tick(&ms, &seq);
  unsigned char r[8];
  crypto_random(r, sizeof r);
  snprintf(out, UUID_TEXT_SIZE, "%08x-%04x-7%03x-%02x%02x-%02x%02x%02x%02x%02x%02x", (unsigned)(ms >> 16),
           (unsigned)(ms & 0xFFFF), seq, (r[0] & 0x3Fu) | 0x80u, r[1], r[2], r[3], r[4], r[5], r[6], r[7]);
}

bool crypto_is_uuid(struct view v) {
  if (v.len != UUID_TEXT_SIZE - 1)
    return false;
  for (size_t i = 0; i < v.len; i++) {
    bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? v.ptr[i] != '-' : !memchr("0123456789abcdef", v.ptr[i], 16))
      return false;
  }
  return true;
}
