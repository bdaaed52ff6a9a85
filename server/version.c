/* SPDX-License-Identifier: MIT */
#include "server/version.h"

#include "base/http_client.h"
#include "commit.h"
#include "pipeline/csv_scan.h"
#include "server/http_library.h"

#include <expat.h>
#include <isa-l.h>
#include <jansson.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <string.h>
#include <zlib.h>

#define TEXT_OF(x) #x
#define DIGITS_OF(x) TEXT_OF(x)

const char kpid_commit[] = KPID_COMMIT;

const char version_architecture[] = KPID_ARCHITECTURE;

const char *version_simd(void) {
  return csv_scanner()->name;
}

enum kpi_code version_load_libraries(struct err *err) {
  enum kpi_code rc = http_library_load(err);
  return rc ? rc : http_client_load(err);
}

void version_libraries(struct library out[LIBRARY_COUNT]) {
  const struct library all[LIBRARY_COUNT] = {
      {"libmicrohttpd", http_library_version()},
      {"libcurl", http_client_library_version()},
      {"OpenSSL", OpenSSL_version(OPENSSL_VERSION_STRING)},
      {"jansson", jansson_version_str()},
      {"SQLite", sqlite3_libversion()},
      {"expat", XML_ExpatVersion() + strlen("expat_")},
      {"zlib", zlibVersion()},
      /* has no function for it */
      {"isa-l",
       DIGITS_OF(ISAL_MAJOR_VERSION) "." DIGITS_OF(ISAL_MINOR_VERSION) "." DIGITS_OF(ISAL_PATCH_VERSION)},
  };
  memcpy(out, all, sizeof all);
}

void version_describe(struct buf *out) {
  struct library libraries[LIBRARY_COUNT];
  version_libraries(libraries);
  buf_printf(out, "kpid %s (commit %s)\n", KPID_VERSION, kpid_commit);
  for (size_t i = 0; i < LIBRARY_COUNT; i++)
    buf_printf(out, "%s%s/%s", i ? " " : "", libraries[i].name, libraries[i].version);
  buf_printf(out, "\n%s, CSV by %s\n", version_architecture, version_simd());
}
