// SPDX-License-Identifier: Apache-2.0
//
// libcurl, loaded at the first request: with its thirty libraries it costs a start of the daemon
// 10 ms and 7 MB of memory, and many daemons never speak to a registry. For http_transfer.cc.
#pragma once

#include <curl/curl.h>

#include "base/error.h"

namespace gantry::registry {

struct LibCurl {
  decltype(&::curl_easy_cleanup) easy_cleanup;
  decltype(&::curl_easy_getinfo) easy_getinfo;
  decltype(&::curl_easy_init) easy_init;
  decltype(&::curl_easy_perform) easy_perform;
  decltype(&::curl_easy_reset) easy_reset;
  decltype(&::curl_easy_setopt) easy_setopt;
  decltype(&::curl_easy_strerror) easy_strerror;
  decltype(&::curl_global_init) global_init;
  decltype(&::curl_slist_append) slist_append;
  decltype(&::curl_slist_free_all) slist_free_all;
};

// Any thread. kFailedPrecondition: the library is not there; a later call tries again. What was
// loaded stays for the life of the process.
Result<const LibCurl*> LoadLibCurl();

}  // namespace gantry::registry
