// SPDX-License-Identifier: Apache-2.0
#include "registry/libcurl.h"

#include <dlfcn.h>

#include "base/mutex.h"

namespace gantry::registry {
namespace {

constexpr const char* kLibrary = "libcurl.so.4";

Error LoadError() {
  const char* why = ::dlerror();
  return FailedPrecondition("loading '{}': {}", kLibrary, why != nullptr ? why : "unknown error");
}

template <typename Function>
bool Find(void* library, const char* name, Function* function) {
  *function = reinterpret_cast<Function>(::dlsym(library, name));
  return *function != nullptr;
}

bool FindAll(void* library, LibCurl* curl) {
  return Find(library, "curl_easy_cleanup", &curl->easy_cleanup) &&
         Find(library, "curl_easy_getinfo", &curl->easy_getinfo) &&
         Find(library, "curl_easy_init", &curl->easy_init) &&
         Find(library, "curl_easy_perform", &curl->easy_perform) &&
         Find(library, "curl_easy_reset", &curl->easy_reset) &&
         Find(library, "curl_easy_setopt", &curl->easy_setopt) &&
         Find(library, "curl_easy_strerror", &curl->easy_strerror) &&
         Find(library, "curl_global_init", &curl->global_init) &&
         Find(library, "curl_slist_append", &curl->slist_append) &&
         Find(library, "curl_slist_free_all", &curl->slist_free_all);
}

}  // namespace

Result<const LibCurl*> LoadLibCurl() {
  static Mutex mutex;
  static LibCurl curl;
  static bool loaded = false;
  MutexLock lock(mutex);
  if (loaded) return &curl;
  void* library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr || !FindAll(library, &curl)) return LoadError();
  if (curl.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    return FailedPrecondition("loading '{}': it does not initialize", kLibrary);
  }
  loaded = true;
  return &curl;
}

}  // namespace gantry::registry
