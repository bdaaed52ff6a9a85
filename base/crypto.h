/* SPDX-License-Identifier: MIT
 * Hashes, random bytes and identifiers. The only user of OpenSSL. */
#ifndef KPID_BASE_CRYPTO_H
#define KPID_BASE_CRYPTO_H

#include "base/view.h"

#define SHA256_SIZE 32
#define SHA256_HEX_SIZE 65
#define UUID_TEXT_SIZE 37

/* SHA-256 of v as 64 lower-case hex digits and a NUL. */
void crypto_sha256_hex(struct view v, char out[SHA256_HEX_SIZE]);

/* HMAC-SHA-256 (RFC 2104) of data under key. */
void crypto_hmac_sha256(struct view key, struct view data, unsigned char out[SHA256_SIZE]);

/* Writes n bytes as 2n lower-case hex digits and a NUL. */
void crypto_hex(const void *bytes, size_t n, char *out);

/* Compares n bytes in a time that does not depend on them. */
bool crypto_equal(const void *a, const void *b, size_t n);

/* Decodes base64 with padding (RFC 4648) into `out`. False when the text is none or does not fit. */
bool crypto_base64_decode(struct view text, char *out, size_t size, size_t *length);

/* Overwrites a secret so that the compiler cannot leave that out. */
void crypto_cleanse(void *secret, size_t size);

struct sha256; /* incremental digest */

/* Starts a digest. Returns owned; NULL when memory is exhausted. */
struct sha256 *sha256_new(void);

/* Digests more bytes. */
void sha256_add(struct sha256 *h, struct view v);

/* Writes the digest as hex; the object can only be freed afterwards. */
void sha256_hex(struct sha256 *h, char out[SHA256_HEX_SIZE]);

/* Accepts NULL. */
void sha256_free(struct sha256 *h);

/* Fills out with len cryptographically random bytes; aborts the process when the system has none. */
void crypto_random(void *out, size_t len);

/* Writes a new UUID version 7 (RFC 9562): 48 bits of Unix milliseconds, 12 bits that keep two ids of one
 * process in the order they were made, 62 random bits. Texts sort by time of creation. Thread-safe. */
void crypto_uuid7(char out[UUID_TEXT_SIZE]);

/* True when v is 36 characters of the UUID text form with lower-case hex digits. */
bool crypto_is_uuid(struct view v);

#endif
