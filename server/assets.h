/* SPDX-License-Identifier: MIT
 * Files that are part of the binary; embed.cmake writes their bytes. */
#ifndef KPID_SERVER_ASSETS_H
#define KPID_SERVER_ASSETS_H

#include <stddef.h>

extern const unsigned char asset_openapi_yaml[];
extern const size_t asset_openapi_yaml_len;
extern const unsigned char asset_openapi_json[]; /* the same document; openapi_json.c makes it */
extern const size_t asset_openapi_json_len;

extern const unsigned char asset_kpi_job_py[];
extern const size_t asset_kpi_job_py_len;

/* One migration; its number is its position, from 1. */
struct asset_migration {
  const char *name; /* file name: 0001_initial.sql */
  const char *sql;
};

extern const struct asset_migration asset_migrations[];
extern const size_t asset_migration_count;

#endif
