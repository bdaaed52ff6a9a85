/* SPDX-License-Identifier: MIT
 * For unit tests of what Spark jobs leave behind: lines and a manifest as the job writes them. */
#ifndef KPID_TESTS_SPARK_FILES_H
#define KPID_TESTS_SPARK_FILES_H

#include "unit.h"

#include "base/buf.h"
#include "base/crypto.h"

#define NO_TALLY                                                                                             \
  "{\"found\":{},\"relevant\":{\"orders\":0,\"order_items\":0,\"products\":0},"                              \
  "\"bad_rows\":{\"orders\":0,\"order_items\":0,\"products\":0},\"columns\":{},"                             \
  "\"item_revenue\":\"0\",\"dropped_revenue\":\"0\",\"orphan_revenue\":\"0\"}"
#define DAY_TALLY                                                                                            \
  "{\"found\":{\"order_items_status_domain\":{\"count\":7,\"examples\":[[0,3,\"caf\\u00c3\\u00a9\"]]}},"     \
  "\"relevant\":{\"orders\":2,\"order_items\":3,\"products\":0},"                                            \
  "\"bad_rows\":{\"orders\":0,\"order_items\":0,\"products\":0},"                                            \
  "\"columns\":{\"orders.order_id\":[1,5,17],\"orders.created_at\":[0,\"2023-01-15\",\"2023-01-15\"],"       \
  "\"order_items.sale_price\":[2,\"-5\",\"19.99\"],\"orders.status\":[0,\"complete\",\"shipped\"],"          \
  "\"orders.user_id\":[4,null,null]},"                                                                       \
  "\"item_revenue\":\"46.5\",\"dropped_revenue\":\"25\",\"orphan_revenue\":\"0\"}"
#define DAY_NUMBERS                                                                                          \
  "\"totals\":{\"revenue\":\"46.5\",\"orders\":2,\"item_rows\":3,\"distinct_items\":3,\"customers\":2,"      \
  "\"returned_item_rows\":1,\"returned_orders\":0}"

/* Lines of results/ of a day; literals that also make a format, with "%s" for the day. */
#define DAY_LINE_OF(day)                                                                                     \
  "{\"day\":\"" day "\",\"category\":null,\"has_rows\":true,\"refusal\":null,\"categories\":"                \
  "1," DAY_NUMBERS ",\"tally\":" DAY_TALLY "}\n"
#define CATEGORY_LINE_OF(day)                                                                                \
  "{\"day\":\"" day "\",\"category\":\"Home\",\"revenue\":\"21.5\",\"orders\":2,\"item_rows\":2,"            \
  "\"returned_item_rows\":1,\"returned_orders\":1}\n"

#define RESULTS_FILE "results/part-0.txt"
#define CATEGORIES_FILE "categories/part-0.txt"
#define CATEGORY_NAMES "\"Home\"\n\"Zed\"\n" /* what CATEGORIES_FILE holds */

/* What a manifest says. Borrows all. */
struct left_files {
  const char *run_id;
  uint32_t number;
  const char *spec_sha256, *fingerprint;
  const char *results; /* what RESULTS_FILE holds: lines */
  uint64_t result_rows;
};

static inline void add_file(const char *name, const char *text, uint64_t rows, struct buf *out) {
  char sum[SHA256_HEX_SIZE];
  crypto_sha256_hex(view_of(text), sum);
  buf_printf(out, "{\"name\":\"%s\",\"bytes\":%zu,\"rows\":%llu,\"sha256\":\"%s\"}", name, strlen(text),
             (unsigned long long)rows, sum);
}

/* Appends the manifest, in which some text stands for another that is in it; NULL for both: none does. */
static inline void manifest_write(const struct left_files *left, const char *from, const char *to,
                                  struct buf *out) {
  struct buf text;
  buf_init(&text, 1 << 20);
  buf_printf(&text,
             "{\"format\":1,\"run_id\":\"%s\",\"attempt\":%u,\"spec_sha256\":\"%s\",\"input_fingerprint\":"
             "\"%s\",\"files\":[",
             left->run_id, left->number, left->spec_sha256, left->fingerprint);
  add_file(RESULTS_FILE, left->results, left->result_rows, &text);
  buf_add_char(&text, ',');
  add_file(CATEGORIES_FILE, CATEGORY_NAMES, 2, &text);
  buf_add_cstr(&text, "],\"inputs\":{\"orders\":{\"rows\":2,\"columns\":[\"order_id\",\"status\"]},"
                      "\"order_items\":{\"rows\":9,\"columns\":[]},\"products\":{\"rows\":1,\"columns\":[]}},"
                      "\"text_ids\":[\"orders.user_id\"],\"tally\":" NO_TALLY "}");
  assert_false(buf_failed(&text));
  const char *at = from ? strstr(text.ptr, from) : text.ptr;
  assert_non_null(at);
  buf_add(out, (struct view){text.ptr, (size_t)(at - text.ptr)});
  buf_add_cstr(out, to ? to : "");
  buf_add_cstr(out, at + (from ? strlen(from) : 0));
  buf_clear(&text);
}

#endif
