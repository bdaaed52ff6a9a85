/* SPDX-License-Identifier: MIT */
#include "pipeline/sample.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum {
  ROWS_A_PART = 500000,
  ITEMS_MAX = 5,
  ORDERS_A_CUSTOMER = 4,
  PRODUCTS_MIN = 200,
  PRODUCTS_MAX = 20000,
  PATH_BYTES = 1024,
  DIRTY_ONE_IN = 200,
  SECONDS_PER_DAY = 86400
};

static const char *const categories[] = {"Beauty",        "Books",  "Clothing",   "Electronics",
                                         "Home & Garden", "Sports", "Toys, Games"};
static const char *const statuses[] = {"delivered",  "delivered", "delivered", "delivered", "shipped",
                                       "processing", "cancelled", "returned",  "delivered", "delivered"};
static const char *const dirty_statuses[] = {"Returned", " returned ", "RETURNED", "return", ""};
static const char *const dirty_prices[] = {"", "$12.50", "N/A", "-5.00", "1e1"};
static const char *const dirty_dates[] = {"", "yesterday", "2025-02-30T10:00:00", "15/03/2025"};

#define COUNT_OF(a) (sizeof(a) / sizeof(a)[0])
#define PICK(rng, list) (list)[below(rng, COUNT_OF(list))]

/* splitmix64 (Steele, Lea, Flood 2014): small, and the same everywhere. */
static uint64_t next_random(uint64_t *rng) {
  uint64_t z = *rng += 0x9e3779b97f4a7c15u;
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
  z = (z ^ z >> 27) * 0x94d049bb133111ebu;
  return z ^ z >> 31;
}

static uint64_t below(uint64_t *rng, uint64_t limit) {
  return next_random(rng) % limit;
}

/* A data set that is written part by part. */
struct part_writer {
  const char *out, *dataset, *header;
  FILE *file;
  uint64_t rows, parts;
};

static enum kpi_code file_err(const char *path, struct err *err) {
  return err_set_errno(err, errno == ENOSPC ? KPI_DISK_FULL : KPI_USAGE, errno, "%s: cannot be written",
                       path);
}

static enum kpi_code make_folder(const char *path, struct err *err) {
  return mkdir(path, 0755) == 0 || errno == EEXIST ? KPI_OK : file_err(path, err);
}

static enum kpi_code close_part(struct part_writer *w, struct err *err) {
  FILE *file = w->file;
  w->file = NULL;
  if (!file)
    return KPI_OK;
  bool failed = ferror(file) != 0;
  return fclose(file) != 0 || failed ? file_err(w->dataset, err) : KPI_OK;
}

static enum kpi_code open_part(struct part_writer *w, struct err *err) {
  char path[PATH_BYTES];
  enum kpi_code rc = close_part(w, err);
  if (rc)
    return rc;
  snprintf(path, sizeof path, "%s/%s", w->out, w->dataset);
  rc = make_folder(path, err);
  if (rc)
    return rc;
  snprintf(path, sizeof path, "%s/%s/%s_part%llu.csv", w->out, w->dataset, w->dataset,
           (unsigned long long)++w->parts);
  w->file = fopen(path, "we");
  if (!w->file)
    return file_err(path, err);
  fprintf(w->file, "%s\n", w->header);
  return KPI_OK;
}

/* Writes a row, in a new part when the last is full. */
static enum kpi_code KPI_PRINTF(3, 4)
    write_row(struct part_writer *w, struct err *err, const char *fmt, ...) {
  if (w->rows > 0 && w->rows % ROWS_A_PART == 0) {
    enum kpi_code rc = open_part(w, err);
    if (rc)
      return rc;
  }
  w->rows++;
  va_list ap;
  va_start(ap, fmt);
  vfprintf(w->file, fmt, ap);
  va_end(ap);
  return KPI_OK;
}

static const char *timestamp(day_t day, uint64_t seconds, char *out, size_t size) {
  char text[DAY_TEXT_SIZE];
  snprintf(out, size, "%sT%02u:%02u:%02u", day_text(day, text), (unsigned)(seconds / 3600) % 24,
           (unsigned)(seconds / 60) % 60, (unsigned)seconds % 60);
  return out;
}

struct generator {
  const struct sample *sample;
  uint64_t rng, products, next_item;
  struct part_writer orders, items, catalogue;
};

static bool is_dirty(struct generator *g) {
  return g->sample->is_dirty && below(&g->rng, DIRTY_ONE_IN) == 0;
}

static enum kpi_code write_products(struct generator *g, struct err *err) {
  enum kpi_code rc = KPI_OK;
  for (uint64_t id = 1; id <= g->products && rc == KPI_OK; id++) {
    const char *category = PICK(&g->rng, categories);
    const char *quote = strchr(category, ',') ? "\"" : "";
    rc = write_row(&g->catalogue, err, "%llu,SKU-%08llu,%llu.%02llu,%s%s%s,Product %llu,%llu.99\n",
                   (unsigned long long)id, (unsigned long long)below(&g->rng, 100000000),
                   (unsigned long long)below(&g->rng, 90), (unsigned long long)below(&g->rng, 100), quote,
                   category, quote, (unsigned long long)id, (unsigned long long)(below(&g->rng, 190) + 10));
  }
  return rc;
}

static enum kpi_code write_item(struct generator *g, uint64_t order, uint64_t user, const char *status,
                                const char *created_at, struct err *err) {
  char price[32];
  uint64_t id = g->next_item++;
  uint64_t product = below(&g->rng, g->products) + 1 + (is_dirty(g) ? g->products : 0);
  snprintf(price, sizeof price, "%llu.%02llu", (unsigned long long)(below(&g->rng, 140) + 5),
           (unsigned long long)below(&g->rng, 100));
  return write_row(&g->items, err, "%llu,%llu,%llu,%llu,%s,%s,,,,%s\n",
                   (unsigned long long)(is_dirty(g) && id > 1 ? id - 1 : id), (unsigned long long)order,
                   (unsigned long long)user, (unsigned long long)product,
                   is_dirty(g) ? PICK(&g->rng, dirty_statuses) : status,
                   is_dirty(g) ? PICK(&g->rng, dirty_dates) : created_at,
                   is_dirty(g) ? PICK(&g->rng, dirty_prices) : price);
}

static enum kpi_code write_order(struct generator *g, uint64_t order, struct err *err) {
  char created_at[64];
  const struct sample *s = g->sample;
  uint64_t customers = s->orders / ORDERS_A_CUSTOMER + 1;
  uint64_t user = below(&g->rng, customers) + 1, items = below(&g->rng, ITEMS_MAX) + 1;
  /* Orders come in turn of the days, so that each day has its share. */
  day_t day = s->from + (day_t)((order - 1) % s->days);
  uint64_t seconds = below(&g->rng, SECONDS_PER_DAY);
  const char *status = PICK(&g->rng, statuses);
  timestamp(day, seconds, created_at, sizeof created_at);
  enum kpi_code rc =
      write_row(&g->orders, err, "%llu,%llu,%s,%s,,,,%llu\n", (unsigned long long)order,
                (unsigned long long)user, is_dirty(g) ? PICK(&g->rng, dirty_statuses) : status,
                is_dirty(g) ? PICK(&g->rng, dirty_dates) : created_at, (unsigned long long)items);
  for (uint64_t i = 0; i < items && rc == KPI_OK; i++)
    rc = write_item(g, order, user, status, created_at, err);
  return rc;
}

static enum kpi_code write_all(struct generator *g, struct err *err) {
  enum kpi_code rc = make_folder(g->sample->out, err);
  struct part_writer *writers[] = {&g->orders, &g->items, &g->catalogue};
  for (size_t i = 0; i < COUNT_OF(writers) && rc == KPI_OK; i++)
    rc = open_part(writers[i], err);
  if (rc == KPI_OK)
    rc = write_products(g, err);
  for (uint64_t order = 1; order <= g->sample->orders && rc == KPI_OK; order++)
    rc = write_order(g, order, err);
  for (size_t i = 0; i < COUNT_OF(writers); i++) {
    struct err close_err;
    enum kpi_code closed = close_part(writers[i], &close_err);
    if (rc == KPI_OK && closed) {
      *err = close_err;
      rc = closed;
    }
  }
  return rc;
}

enum kpi_code sample_write(const struct sample *s, struct err *err) {
  struct generator g = {.sample = s, .rng = s->seed, .next_item = 1};
  g.products = s->orders < PRODUCTS_MIN ? PRODUCTS_MIN : s->orders > PRODUCTS_MAX ? PRODUCTS_MAX : s->orders;
  g.orders = (struct part_writer){
      s->out, "orders", "order_id,user_id,status,created_at,returned_at,shipped_at,delivered_at,num_of_item",
      NULL,   0,        0};
  g.items = (struct part_writer){
      s->out,
      "order_items",
      "id,order_id,user_id,product_id,status,created_at,shipped_at,delivered_at,returned_at,sale_price",
      NULL,
      0,
      0};
  g.catalogue =
      (struct part_writer){s->out, "products", "id,sku,cost,category,name,retail_price", NULL, 0, 0};
  return write_all(&g, err);
}
