/* SPDX-License-Identifier: MIT */
#include "base/dynlib.h"

#include "base/scope.h"

#include <dlfcn.h>
#include <string.h>

enum kpi_code dynlib_load(struct dynlib *l, struct err *err) {
  static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
  SCOPE_LOCK(&lock);
  if (l->is_loaded)
    return KPI_OK;
  void *handle = dlopen(l->soname, RTLD_NOW);
  if (!handle)
    return err_set(err, KPI_LIBRARY_MISSING, "a library does not load: %s", dlerror());
  for (size_t i = 0; i < l->count; i++) {
    void *function = dlsym(handle, l->names[i]);
    if (!function)
      return err_set(err, KPI_LIBRARY_MISSING, "a library is of another version: %s", dlerror());
    memcpy((char *)l->pointers + i * sizeof function, &function, sizeof function);
  }
  l->is_loaded = true;
  return KPI_OK;
}
