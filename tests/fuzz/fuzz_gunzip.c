/* SPDX-License-Identifier: MIT
 * What is inflated against zlib: the same bytes, whatever the pieces that are read, and the same refusals. */
#include "fuzz.h"

#include "memory_reader.h"
#include "pipeline/gunzip.h"

#include <zlib.h>

enum { OUT_MAX = 1 << 20, GZIP_WINDOW = 15 + 16 };

static unsigned char want[OUT_MAX], got[OUT_MAX], packed[OUT_MAX];

/* Inflates with the program. Returns false where it refuses; *len is what came before. */
static bool inflate_here(struct view data, size_t in_piece, size_t out_piece, size_t *len) {
  struct memory_reader memory = {{&memory_vtable}, data, in_piece};
  struct source_reader *reader;
  struct err err;
  size_t count = 1;
  enum kpi_code rc = gunzip_new(&memory.base, "a.csv.gz", &reader, &err);
  REQUIRE(rc == KPI_OK, "no memory");
  for (*len = 0; rc == KPI_OK && count > 0 && *len < OUT_MAX; *len += count) {
    size_t room = OUT_MAX - *len;
    rc = source_read(reader, (char *)got + *len, room < out_piece ? room : out_piece, &count, &err);
    count = rc ? 0 : count;
  }
  source_close(reader);
  REQUIRE(rc == KPI_OK || rc == KPI_SOURCE_UNREADABLE, "code %d", (int)rc);
  return rc == KPI_OK;
}

/* Inflates all members with zlib. *is_reserved: it refuses flags of a header that have no meaning yet, which
 * ISA-L does not look at. */
static bool inflate_plainly(struct view data, size_t *len, bool *is_reserved) {
  z_stream z = {0};
  REQUIRE(inflateInit2(&z, GZIP_WINDOW) == Z_OK, "no memory");
  z.next_in = (unsigned char *)(uintptr_t)data.ptr;
  z.avail_in = (unsigned)data.len;
  z.next_out = want;
  z.avail_out = OUT_MAX;
  int rc = data.len ? Z_OK : Z_STREAM_END;
  while (rc == Z_OK && z.avail_out > 0) {
    rc = inflate(&z, Z_NO_FLUSH);
    if (rc == Z_STREAM_END && z.avail_in > 0)
      rc = inflateReset(&z);
    else if (rc == Z_OK && z.avail_in == 0 && z.avail_out > 0)
      break;
  }
  *len = OUT_MAX - z.avail_out;
  *is_reserved = z.msg && strcmp(z.msg, "unknown header flags set") == 0;
  inflateEnd(&z);
  return rc == Z_STREAM_END || *len == OUT_MAX;
}

static void require_same(struct view data, size_t in_piece, size_t out_piece) {
  size_t want_len, got_len;
  bool is_reserved, wanted = inflate_plainly(data, &want_len, &is_reserved);
  bool found = inflate_here(data, in_piece, out_piece, &got_len);
  if (is_reserved)
    return;
  REQUIRE(found == wanted, "%s after %zu bytes; zlib %s after %zu", found ? "taken" : "refused", got_len,
          wanted ? "takes" : "refuses", want_len);
  REQUIRE(!found || (got_len == want_len && memcmp(got, want, got_len) == 0), "other bytes");
}

/* The input as it would come in a file, in one member or two. */
static struct view pack(struct view text, int level, bool in_two) {
  size_t half = in_two ? text.len / 2 : 0, used = 0;
  struct view parts[] = {{text.ptr, half}, {text.ptr + half, text.len - half}};
  for (size_t i = in_two ? 0 : 1; i < 2; i++) {
    z_stream z = {0};
    REQUIRE(deflateInit2(&z, level, Z_DEFLATED, GZIP_WINDOW, 8, Z_DEFAULT_STRATEGY) == Z_OK, "no memory");
    z.next_in = (unsigned char *)(uintptr_t)parts[i].ptr;
    z.avail_in = (unsigned)parts[i].len;
    z.next_out = packed + used;
    z.avail_out = (unsigned)(OUT_MAX - used);
    REQUIRE(deflate(&z, Z_FINISH) == Z_STREAM_END, "no room");
    used = OUT_MAX - z.avail_out;
    deflateEnd(&z);
  }
  return (struct view){(char *)packed, used};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct view input = input_of(data, size);
  uint8_t how = take_knob(&input), in_piece = take_knob(&input), out_piece = take_knob(&input);
  require_same(input, in_piece + 1u, out_piece + 1u);
  require_same(pack(input, how % 10, how & 0x80), in_piece + 1u, out_piece * 64u + 1u);
  return 0;
}
