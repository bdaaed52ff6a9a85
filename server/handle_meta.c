/* SPDX-License-Identifier: MIT */
#include "server/handle_meta.h"

#include "base/clock.h"
#include "server/assets.h"
#include "server/service.h"
#include "server/version.h"

#include <stdio.h>

#define API_VERSION "1"

enum { ETAG_HEX_DIGITS = 32 };

/* --- health ------------------------------------------------------------------------------------------ */

static void write_checks(struct json_out *j, const struct health *h) {
  int64_t now = clock_wall_ms();
  jout_array(j, "checks");
  for (size_t i = 0; i < h->check_count; i++) {
    const struct health_check *check = &h->checks[i];
    int64_t age = now > check->checked_at ? now - check->checked_at : 0;
    jout_object(j, NULL);
    jout_string(j, "name", check->name);
    jout_bool(j, "ok", check->ok);
    jout_uint(j, "age_ms", (uint64_t)age);
    jout_string(j, "error", check->error[0] ? check->error : NULL);
    jout_object_end(j);
  }
  jout_array_end(j);
}

static void reply_status(struct reply *rp, bool ok, const char *status) {
  struct json_out j = reply_json_begin(rp, ok ? 200 : 503);
  jout_object(&j, NULL);
  jout_string(&j, "status", status);
  jout_object_end(&j);
  reply_json_end(&j);
}

/* The process loops answer and no worker is stalled; a restart would help if not. */
static void get_livez(struct request *rq, struct reply *rp) {
  struct health h = {0};
  service_health(rq->app, &h);
  reply_status(rp, h.alive, h.alive ? "ok" : "stalled");
}

/* For load balancers: take this task in, whatever its sources and its queue are doing. */
static void get_healthz(struct request *rq, struct reply *rp) {
  struct health h = {0};
  service_health(rq->app, &h);
  reply_status(rp, !h.draining, h.draining ? "draining" : "ok");
}

/* Can take a run now, and if not, why. */
static void get_readyz(struct request *rq, struct reply *rp) {
  struct health h = {0};
  service_health(rq->app, &h);
  bool ready = h.ready && !h.draining;
  struct json_out j = reply_json_begin(rp, ready ? 200 : 503);
  jout_object(&j, NULL);
  jout_string(&j, "status", ready ? "ready" : h.draining ? "draining" : "not_ready");
  jout_uint(&j, "queued", h.census.queued);
  jout_uint(&j, "active", h.active);
  write_checks(&j, &h);
  jout_object_end(&j);
  reply_json_end(&j);
}

/* --- self-description -------------------------------------------------------------------------------- */

static void get_version(struct request *rq, struct reply *rp) {
  (void)rq;
  struct library libraries[LIBRARY_COUNT];
  version_libraries(libraries);
  struct json_out j = reply_json_begin(rp, 200);
  jout_object(&j, NULL);
  jout_string(&j, "name", "kpid");
  jout_string(&j, "version", KPID_VERSION);
  jout_string(&j, "commit", kpid_commit);
  jout_string(&j, "api_version", API_VERSION);
  jout_string(&j, "architecture", version_architecture);
  jout_string(&j, "simd", version_simd());
  jout_object(&j, "libraries");
  for (size_t i = 0; i < LIBRARY_COUNT; i++)
    jout_string(&j, libraries[i].name, libraries[i].version);
  jout_object_end(&j);
  jout_object_end(&j);
  reply_json_end(&j);
}

static void reply_document(struct request *rq, struct reply *rp, const char *type, struct view document) {
  char etag[SHA256_HEX_SIZE];
  crypto_sha256_hex(document, etag);
  etag[ETAG_HEX_DIGITS] = '\0';
  if (!reply_etag(rp, rq, etag))
    reply_fixed(rp, 200, type, document);
}

static void get_openapi_yaml(struct request *rq, struct reply *rp) {
  struct view document = {(const char *)asset_openapi_yaml, asset_openapi_yaml_len};
  reply_document(rq, rp, "application/yaml", document);
}

static void get_openapi_json(struct request *rq, struct reply *rp) {
  struct view document = {(const char *)asset_openapi_json, asset_openapi_json_len};
  reply_document(rq, rp, "application/json", document);
}

static void problem_as_json(struct reply *rp, const char *type, const struct err_info *info) {
  struct json_out j = reply_json_begin(rp, 200);
  jout_object(&j, NULL);
  jout_string(&j, "type", type);
  jout_string(&j, "code", info->name);
  jout_string(&j, "title", info->title);
  jout_uint(&j, "status", info->http_status);
  jout_string(&j, "category", err_category_name(info->category));
  jout_bool(&j, "retryable", info->retryable);
  jout_string(&j, "hint", info->hint);
  jout_object_end(&j);
  reply_json_end(&j);
}

static void problem_as_page(struct reply *rp, const struct err_info *info) {
  struct buf *page = reply_html_begin(rp, 200, info->name);
  buf_add_cstr(page, "<p>");
  buf_add_html(page, view_of(info->title));
  buf_add_cstr(page, ".</p>\n<p>");
  buf_add_html(page, view_of(info->hint));
  buf_printf(page, "</p>\n<p>Status %u, category %s, %s.</p>\n", (unsigned)info->http_status,
             err_category_name(info->category),
             info->retryable ? "the same request may succeed later" : "the same request will fail again");
  reply_html_end(rp);
}

/* The codes a reply or a run can carry; those of the command line are none of a client's business. */
static const struct err_info *find_problem(struct view name) {
  char text[64];
  enum kpi_code code = view_to_cstr(name, text, sizeof text) ? err_code_of(text) : KPI_CODE_COUNT;
  return code > KPI_OK && code < KPI_USAGE ? err_info(code) : NULL;
}

static void get_problem(struct request *rq, struct reply *rp) {
  static const char *const types[] = {"application/json", "text/html", NULL};
  const struct err_info *info = find_problem(rq->params[0]);
  int type = request_negotiate(rq, types);
  char name[96];
  reply_header(rp, "Vary", "Accept");
  if (!info)
    reply_error(rp, rq, KPI_ROUTE_NOT_FOUND, "There is no problem type of this name.");
  else if (type < 0)
    reply_error(rp, rq, KPI_NOT_ACCEPTABLE, "This is sent as application/json or text/html.");
  else if (type == 1)
    problem_as_page(rp, info);
  else {
    snprintf(name, sizeof name, "/problems/%s", info->name);
    problem_as_json(rp, name, info);
  }
}

static const struct route health_table[] = {
    {HTTP_GET, "/livez", get_livez, NULL, true},
    {HTTP_GET, "/healthz", get_healthz, NULL, true},
    {HTTP_GET, "/readyz", get_readyz, NULL, true},
};

static const struct route meta_table[] = {
    {HTTP_GET, "/version", get_version, NULL, false},
    {HTTP_GET, "/openapi.yaml", get_openapi_yaml, NULL, false},
    {HTTP_GET, "/openapi.json", get_openapi_json, NULL, false},
    {HTTP_GET, "/problems/{name}", get_problem, NULL, false},
};

const struct route_set health_routes = {health_table, sizeof health_table / sizeof health_table[0]};
const struct route_set meta_routes = {meta_table, sizeof meta_table / sizeof meta_table[0]};
