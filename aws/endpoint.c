/* SPDX-License-Identifier: MIT */
#include "aws/endpoint.h"

#include "aws/uri.h"
#include "base/scope.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

enum { BUCKET_MIN = 3, BUCKET_MAX = 63, LABEL_MAX = 63 };

const char *aws_service_name(enum aws_service s) {
  static const char *const names[AWS_SERVICE_COUNT] = {"s3", "dynamodb", "sts", "emr-serverless"};
  return names[s];
}

/* A partition: a group of regions with a domain of its own. The first is the default. */
struct partition {
  const char *prefixes[12]; /* of region names */
  const char *suffix, *dualstack_suffix;
};

static const struct partition partitions[] = {
    {{""}, "amazonaws.com", "api.aws"},
    {{"cn-"}, "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
    {{"us-gov-"}, "amazonaws.com", "api.aws"},
    {{"us-iso-"}, "c2s.ic.gov", "api.aws.ic.gov"},
    {{"us-isob-"}, "sc2s.sgov.gov", "api.aws.scloud"},
    {{"eu-isoe-"}, "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
    {{"us-isof-", "eu-isof-"}, "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
    {{"eusc-"}, "amazonaws.eu", "api.amazonwebservices.eu"},
};

static const struct partition *partition_of(const char *region) {
  for (size_t i = 1; i < sizeof partitions / sizeof partitions[0]; i++)
    for (size_t j = 0; partitions[i].prefixes[j]; j++)
      if (view_starts(view_of(region), partitions[i].prefixes[j]))
        return &partitions[i];
  return &partitions[0];
}

/* Letters, digits and inner hyphens. */
static bool is_host_label(struct view v) {
  if (v.len == 0 || v.len > LABEL_MAX || v.ptr[0] == '-' || v.ptr[v.len - 1] == '-')
    return false;
  for (size_t i = 0; i < v.len; i++)
    if (!isalnum((unsigned char)v.ptr[i]) && v.ptr[i] != '-')
      return false;
  return true;
}

/* ---- custom endpoints ---- */

static bool parse_custom(const char *url, struct endpoint *out) {
  struct view v = view_of(url);
  out->is_https = view_starts(v, "https://");
  if (!out->is_https && !view_starts(v, "http://"))
    return false;
  size_t skip = out->is_https ? strlen("https://") : strlen("http://");
  struct view rest = {v.ptr + skip, v.len - skip};
  size_t host_len = strcspn(rest.ptr, "/");
  struct view path = {rest.ptr + host_len, rest.len - host_len};
  while (path.len && path.ptr[path.len - 1] == '/')
    path.len--;
  return host_len > 0 && strcspn(rest.ptr, "?#@ ") == rest.len &&
         view_to_cstr((struct view){rest.ptr, host_len}, out->host, sizeof out->host) &&
         view_to_cstr(path, out->path, sizeof out->path);
}

static enum kpi_code resolve_custom(const struct endpoint_options *o, struct endpoint *out, struct err *err) {
  if (o->use_dualstack)
    return err_set(err, KPI_CONFIG_INVALID,
                   "AWS_USE_DUALSTACK_ENDPOINT cannot be combined with the endpoint %s", o->custom);
  if (o->use_fips)
    return err_set(err, KPI_CONFIG_INVALID, "AWS_USE_FIPS_ENDPOINT cannot be combined with the endpoint %s",
                   o->custom);
  if (!parse_custom(o->custom, out))
    return err_set(err, KPI_CONFIG_INVALID, "the endpoint %s is not http(s)://host[:port][/path]", o->custom);
  return KPI_OK;
}

/* ---- AWS's own ---- */

/* "aws-global" stands for the one endpoint outside the regions that S3 and STS have. */
static bool write_host(enum aws_service service, const struct endpoint_options *o, const char *region,
                       struct endpoint *out) {
  bool global = strcmp(region, "aws-global") == 0;
  const char *name = aws_service_name(service), *real = global ? "us-east-1" : region;
  const struct partition *p = partition_of(real);
  const char *fips = o->use_fips ? "-fips" : "";
  int n;
  if (global && !o->use_fips && !o->use_dualstack)
    n = snprintf(out->host, sizeof out->host, "%s.%s", name, p->suffix);
  else if (service == AWS_S3)
    n = snprintf(out->host, sizeof out->host, "%s%s%s.%s.%s", name, fips,
                 o->use_dualstack ? ".dualstack" : "", real, p->suffix);
  else
    n = snprintf(out->host, sizeof out->host, "%s%s.%s.%s", name, fips, real,
                 o->use_dualstack ? p->dualstack_suffix : p->suffix);
  return n > 0 && (size_t)n < sizeof out->host;
}

/* FIPS without dual-stack differs in a few places: the GovCloud endpoints of DynamoDB and STS are FIPS
 * already. */
static bool fips_is_plain(enum aws_service service, const struct endpoint_options *o) {
  return o->use_fips && !o->use_dualstack && view_starts(view_of(o->region), "us-gov-") &&
         (service == AWS_DYNAMODB || service == AWS_STS);
}

enum kpi_code endpoint_resolve(enum aws_service service, const struct endpoint_options *o,
                               struct endpoint *out, struct err *err) {
  *out = (struct endpoint){.is_https = true};
  const char *region = o->region && *o->region ? o->region : NULL;
  if (!region)
    return err_set(err, KPI_CONFIG_INVALID, "AWS_REGION is not set: the region of %s",
                   aws_service_name(service));
  if (!is_host_label(view_of(region)))
    return err_set(err, KPI_CONFIG_INVALID, "AWS_REGION=%.64s is not the name of a region", region);
  view_to_cstr(view_of(strcmp(region, "aws-global") == 0 ? "us-east-1" : region), out->region,
               sizeof out->region);
  if (o->custom && *o->custom)
    return resolve_custom(o, out, err);
  if (o->use_fips && service == AWS_S3 && view_starts(view_of(region), "cn-"))
    return err_set(err, KPI_CONFIG_INVALID, "AWS_USE_FIPS_ENDPOINT: S3 has no such endpoint in %s", region);
  struct endpoint_options used = *o;
  used.use_fips = o->use_fips && !fips_is_plain(service, o);
  return write_host(service, &used, region, out)
             ? KPI_OK
             : err_set(err, KPI_CONFIG_INVALID, "the endpoint of %s is too long", region);
}

/* ---- buckets ---- */

static bool is_address(const char *host) {
  char bare[ENDPOINT_HOST_MAX];
  unsigned char parsed[sizeof(struct in6_addr)];
  view_to_cstr((struct view){host, strcspn(host, ":")}, bare, sizeof bare);
  return host[0] == '[' || inet_pton(AF_INET, bare, parsed) == 1 || strcmp(bare, "localhost") == 0;
}

/* A bucket can stand in the host name when it is a name of lower-case labels; with dots only without TLS,
 * since the certificate covers one label. */
static bool fits_host(const struct endpoint *e, struct view bucket) {
  if (bucket.len < BUCKET_MIN || bucket.len > BUCKET_MAX || is_address(e->host))
    return false;
  struct view rest = bucket;
  bool dotted = memchr(bucket.ptr, '.', bucket.len) != NULL;
  for (size_t i = 0; i < bucket.len; i++)
    if (isupper((unsigned char)bucket.ptr[i]))
      return false;
  while (rest.ptr)
    if (!is_host_label(view_split(&rest, '.')))
      return false;
  return !dotted || !e->is_https;
}

enum kpi_code endpoint_add_bucket(struct endpoint *e, const struct endpoint_options *o, struct view bucket,
                                  struct err *err) {
  bool custom = o->custom && *o->custom;
  bool wants_host = o->s3_style == S3_STYLE_VIRTUAL || (o->s3_style == S3_STYLE_AUTO && !custom);
  auto_buf struct buf text;
  buf_init(&text, ENDPOINT_PATH_MAX - 1);
  bool ok = bucket.len > 0;
  if (ok && wants_host && fits_host(e, bucket)) {
    buf_printf(&text, "%.*s.%s", (int)bucket.len, bucket.ptr, e->host);
    ok = view_to_cstr(buf_view(&text), e->host, sizeof e->host);
  } else if (ok) {
    buf_printf(&text, "%s/", e->path);
    uri_encode(bucket, false, &text);
    ok = !buf_failed(&text) && view_to_cstr(buf_view(&text), e->path, sizeof e->path);
  }
  return ok ? KPI_OK
            : err_set(err, KPI_CONFIG_INVALID, "%.*s: not the name of a bucket",
                      (int)(bucket.len < 80 ? bucket.len : 80), bucket.ptr);
}
